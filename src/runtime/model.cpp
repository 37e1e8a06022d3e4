// Loads and steps models.
#include "runtime/model.h"

#include <algorithm>
#include <numeric>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

constexpr int64_t kBindingAlignment =
    256;  // bytes at which any GPU binds a part of a buffer (Vulkan's largest minimum)
constexpr int64_t kDefaultPrefillChunk = 512;  // rows of a step when neither flag nor config says less

// The most of everything that an engine with these limits sees.
Dims largest_dims(const ModelLimits& limits, int64_t pages) {
  const int64_t batch = limits.max_sequences;
  return {.rows = limits.prefill_chunk,
          .batch = batch,
          .wanted = batch,
          .pages = pages,
          .copies = batch,
          .pool_pages = pages};
}

// The functions step() may call of those that the library has, with the most rows and sequences each can see.
std::vector<std::pair<std::string, Dims>> largest_uses(const Plan& plan, const ModelLimits& limits,
                                                       int64_t pages) {
  const Dims rows = largest_dims(limits, pages);
  Dims decode = rows;
  decode.rows = decode.batch;
  std::vector<std::pair<std::string, Dims>> uses = {
      {"embed", rows},        {"batch_prefill", rows},  {"batch_prefill_to_last_hidden_states", rows},
      {"batch_verify", rows}, {"batch_decode", decode}, {"copy_pages", rows},
      {"sample", decode}};
  std::erase_if(uses, [&](const auto& use) { return !plan.find_function(use.first); });
  return uses;
}

// The library's window; manifests say -1 where there is none.
SlidingWindow window_of(const Json& manifest) {
  int64_t tokens = find_int(manifest, "sliding_window_size").value_or(-1);
  if (tokens <= 0) return {};
  return {tokens, std::max<int64_t>(find_int(manifest, "attention_sink_size").value_or(0), 0)};
}

int64_t pages_for(const ModelLimits& limits, const SlidingWindow& window, int64_t page_size) {
  // Each sequence may leave a part of its last page empty. With a window two more may be used in part: one
  // that ends with dropped tokens, after the sinks, and one that begins with them.
  int64_t partly_dropped = window.tokens > 0 ? 2 * limits.max_sequences : 0;
  return (limits.total_tokens + page_size - 1) / page_size + limits.max_sequences - 1 + partly_dropped;
}

Result<ModelLimits> resolve_context(const Json& manifest, const std::string& what, ModelLimits limits) {
  if (window_of(manifest).tokens > 0) {
    limits.context_tokens = INT64_MAX;
    return limits;
  }
  ASSIGN_OR_RETURN(int64_t context, get_int(manifest, "context_window_size", what));
  if (limits.context_tokens == 0) limits.context_tokens = context;
  if (context > 0 && limits.context_tokens > context)
    return Status::error(str("--overrides: context_window_size ", limits.context_tokens, " is more than the ",
                             context, " that ", what,
                             " was compiled for; lower it or compile the model again"));
  if (limits.context_tokens <= 0)
    return Status::error(
        str("--overrides: context_window_size is unlimited (-1) in ", what, "; set a positive one"));
  return limits;
}

Result<ModelLimits> resolve(const Json& manifest, const std::string& what, const ModelLimits& wanted) {
  ASSIGN_OR_RETURN(ModelLimits limits, resolve_context(manifest, what, wanted));
  ASSIGN_OR_RETURN(int64_t chunk, get_int(manifest, "prefill_chunk_size", what));
  ASSIGN_OR_RETURN(int64_t batch, get_int(manifest, "max_batch_size", what));
  if (limits.max_sequences > batch)
    return Status::error(str("max_num_sequence ", limits.max_sequences, " is more than the ", batch, " that ",
                             what, " was compiled for"));
  const bool whole_texts = find_string(manifest, "attention") == "bidirectional";
  if (limits.prefill_chunk == 0)
    limits.prefill_chunk = whole_texts ? chunk : std::min<int64_t>(chunk, kDefaultPrefillChunk);
  limits.prefill_chunk =
      std::clamp<int64_t>(limits.prefill_chunk, limits.max_sequences, std::max(chunk, limits.max_sequences));
  int64_t window = window_of(manifest).tokens;
  if (limits.total_tokens == 0)
    limits.total_tokens = window > 0 ? window + limits.prefill_chunk : limits.context_tokens;
  limits.prefill_chunk = std::min(limits.prefill_chunk, std::max(limits.total_tokens, limits.max_sequences));
  return limits;
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& v) {
  return std::as_bytes(std::span(v));
}

}  // namespace

std::string MemoryPlan::text() const {
  auto h = [](int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  return str("weights ", h(weights), " + kv cache ", h(kv_cache), " (", kv_tokens,
             " tokens) + working memory ", h(arena + inputs + tables), " = ", h(total()));
}

Result<MemoryPlan> Model::plan_memory(const Module& module, const ModelLimits& wanted) {
  ASSIGN_OR_RETURN(ModelLimits limits, resolve(module.manifest(), module.path(), wanted));
  MemoryPlan plan;
  for (const PlanWeight& w : module.plan().weights) plan.weights += w.bytes;
  int64_t pages = 0;
  for (const PlanState& s : module.plan().states) {
    pages = pages_for(limits, window_of(module.manifest()), s.page_size);
    plan.kv_cache += pages * s.layers * s.unit_bytes();
    plan.kv_tokens = pages * s.page_size;
  }
  for (const auto& [name, dims] : largest_uses(module.plan(), limits, pages)) {
    const PlanFunction* f = module.plan().find_function(name);
    std::map<std::string, int64_t> values;
    for (const Symbol& s : kSymbols) values.emplace(s.name, dims.*s.value);
    auto bytes = [&](ExprId e) { return module.plan().expressions[e].evaluate(values).value_or(0); };
    for (const PlanBody& b : f->bodies)  // a shorter step takes another body, which may need more
      plan.arena = std::max(plan.arena, bytes(b.arena_bytes));
  }
  ASSIGN_OR_RETURN(int64_t vocab, get_int(module.manifest(), "vocab_size", module.path()));
  ASSIGN_OR_RETURN(int64_t hidden, get_int(module.manifest(), "hidden_size", module.path()));
  ASSIGN_OR_RETURN(StepInputs inputs, StepInputs::create(module.plan(), module.manifest(),
                                                         largest_dims(limits, pages), module.path()));
  const int64_t rows = limits.prefill_chunk, batch = limits.max_sequences;
  plan.inputs = inputs.device_bytes() + 4 * (rows * hidden + 2 * batch + batch * vocab);
  if (module.plan().find_function("sample")) plan.inputs += 4 * batch * (kDrawSettings + 1);
  plan.tables = inputs.table_bytes(std::min(limits.context_tokens, plan.kv_tokens));
  return plan;
}

Status Model::resolve_limits(const ModelLimits& limits) {
  const Module& module = executor_->module();
  ASSIGN_OR_RETURN(limits_, resolve(module.manifest(), module.path(), limits));
  window_ = window_of(module.manifest());
  ASSIGN_OR_RETURN(memory_, plan_memory(module, limits));
  ASSIGN_OR_RETURN(vocab_size_, get_int(module.manifest(), "vocab_size", module.path()));
  ASSIGN_OR_RETURN(hidden_size_, get_int(module.manifest(), "hidden_size", module.path()));
  RETURN_IF_ERROR(fit_bindings());
  if (memory_.total() > device_->properties.memory_bytes)
    return Status::error(str(module.path(), ": needs ", memory_.text(), ", the ", device_->properties.name,
                             " device has ",
                             human_bytes(static_cast<double>(device_->properties.memory_bytes)),
                             "; lower context_window_size in --overrides"));
  return Status::ok();
}

// Makes steps as small as the largest tensor that the device's kernels can see demands. What cannot be cut is
// refused: the pages of a layer, which all sequences share, and what a step of one row a sequence needs.
Status Model::fit_bindings() {
  const int64_t largest = device_->properties.max_binding_bytes;
  if (largest == 0) return Status::ok();
  auto refuse = [&](const std::string& what, int64_t bytes, const char* flag) {
    return Status::error(
        str(executor_->module().path(), ": ", what, " take ", human_bytes(static_cast<double>(bytes)),
            ", the ", device_->properties.name, " device's driver lets kernels see at most ",
            human_bytes(static_cast<double>(largest)), " of one tensor; lower ", flag, " in --overrides"));
  };
  int64_t pages = 0;
  for (const PlanState& s : executor_->module().plan().states) {
    pages = pages_for(limits_, window_, s.page_size);
    if (int64_t bytes = pages * s.unit_bytes(); bytes > largest)
      return refuse("the keys and values of a layer", bytes, "context_window_size");
  }
  if (int64_t bytes = 4 * limits_.max_sequences * vocab_size_; bytes > largest)
    return refuse("the logits of a step", bytes, "max_batch_size");
  for (int64_t& rows = limits_.prefill_chunk;; rows = std::max(rows / 2, limits_.max_sequences)) {
    int64_t most = 0;
    for (const auto& [name, dims] : largest_uses(executor_->module().plan(), limits_, pages)) {
      if (name == "batch_verify") continue;  // its logits are cut in run_step
      ASSIGN_OR_RETURN(int64_t bytes, executor_->largest_binding(name, dims));
      most = std::max(most, bytes);
    }
    if (most <= largest) break;
    if (rows <= limits_.max_sequences) return refuse("the values of a step", most, "max_batch_size");
  }
  ASSIGN_OR_RETURN(memory_, plan_memory(executor_->module(), limits_));
  return Status::ok();
}

Status Model::allocate() {
  const Plan& plan = executor_->module().plan();
  if (plan.states.size() != 1)
    return Status::error(executor_->module().path() +
                         ": expected a library with one KV cache; compile the model again");
  const PlanState& kv = plan.states[0];
  int64_t pages = pages_for(limits_, window_, kv.page_size);
  if (pages * kv.page_size >= INT32_MAX)
    return Status::error("--overrides: context_window_size is more than a KV cache can index; lower it");
  cache_ = std::make_unique<PagedCache>(pages, kv.page_size, limits_.shuffle_pages);
  if (window_.tokens > 0) RETURN_IF_ERROR(cache_->enable_sliding_windows(window_.tokens, window_.sinks));
  auto pool = OwnedBuffer::allocate(*device_, memory_.kv_cache);
  if (!pool.is_ok())
    return Status::error(str(pool.status().message(), " for the KV cache of ", memory_.kv_tokens,
                             " tokens; lower context_window_size in --overrides"));
  kv_pool_ = std::move(pool).value();
  executor_->set_states({kv_pool_.address()}, pages);
  ASSIGN_OR_RETURN(step_inputs_,
                   StepInputs::create(plan, executor_->module().manifest(), largest_dims(limits_, pages),
                                      executor_->module().path()));
  if (int64_t keys = step_inputs_.window_keys(); keys > 0 && keys < window_.tokens + limits_.prefill_chunk)
    return Status::error(str(executor_->module().path(), ": it has rotations for ", keys, " keys, expected ",
                             window_.tokens, " of the window and ", limits_.prefill_chunk,
                             " of a step; compile the model again"));
  RETURN_IF_ERROR(step_inputs_.allocate(*device_, std::min(limits_.context_tokens, memory_.kv_tokens)));
  RETURN_IF_ERROR(allocate_inputs());
  auto uses = largest_uses(plan, limits_, pages);
  for (size_t i = 0, n = uses.size(); i < n; ++i)
    for (auto [symbol, fewer] : {std::pair{&Dims::rows, int64_t{1}}, {&Dims::rows, 16}, {&Dims::wanted, 1}}) {
      uses.push_back(uses[i]);
      uses.back().second.*symbol = std::min(uses[i].second.*symbol, fewer);
    }
  return executor_->reserve_arena(uses);
}

Status Model::allocate_inputs() {
  const int64_t rows = limits_.prefill_chunk, batch = limits_.max_sequences;
  for (const char* name : {"source_pages", "target_pages"}) {
    ASSIGN_OR_RETURN(inputs_[name], OwnedBuffer::allocate(*device_, 4 * batch));
  }
  ASSIGN_OR_RETURN(embeds_, OwnedBuffer::allocate(*device_, 4 * rows * hidden_size_));
  ASSIGN_OR_RETURN(logits_, OwnedBuffer::allocate(*device_, 4 * batch * vocab_size_));
  if (executor_->module().plan().find_function("sample")) {
    ASSIGN_OR_RETURN(inputs_["draw_settings"], OwnedBuffer::allocate(*device_, 4 * batch * kDrawSettings));
    ASSIGN_OR_RETURN(tokens_, OwnedBuffer::allocate(*device_, 4 * batch));
    samples_ = !device_->properties.host_memory;
  }
  embeds_address_ = embeds_.address();
  logits_address_ = logits_.address();
  tokens_address_ = tokens_.address();
  host_logits_.reserve(static_cast<size_t>(batch * vocab_size_));
  host_tokens_.reserve(static_cast<size_t>(batch));
  stepped_.reserve(static_cast<size_t>(batch));
  return Status::ok();
}

Result<std::unique_ptr<Model>> Model::load(Device& device, std::shared_ptr<Module> module,
                                           const std::string& weights_folder, const ModelLimits& limits,
                                           const LoadProgress& progress) {
  std::unique_ptr<Model> model(new Model);
  model->device_ = &device;
  // Limits are checked before the weights are read: a wrong flag costs no time.
  model->executor_ =
      std::make_unique<Executor>(module, std::vector<DeviceAddress>(module->plan().weights.size()));
  RETURN_IF_ERROR(model->resolve_limits(limits));
  ASSIGN_OR_RETURN(model->weights_, WeightBuffers::load(*module, weights_folder, progress));
  model->executor_ = std::make_unique<Executor>(module, model->weights_->addresses());
  if (limits.deterministic) model->executor_->run_last_bodies();
  RETURN_IF_ERROR(model->allocate());
  return model;
}

Status Model::upload(const char* name, std::span<const std::byte> bytes) {
  auto it = inputs_.find(std::string_view(name));
  internal_check(it != inputs_.end() && static_cast<int64_t>(bytes.size()) <= it->second.bytes(),
                 "a step's input is larger than planned");
  return device_->copy_in(device_->self, it->second.address(), bytes);
}

// The arguments of a function, by name. `input_embeds` is the result of embed, `logits` that of the functions
// that have any.
Result<std::span<const DeviceAddress>> Model::bind(const char* function) {
  if (auto known = bindings_.find(std::string_view(function)); known != bindings_.end())
    return std::span<const DeviceAddress>(known->second);
  const PlanFunction* f = executor_->module().plan().find_function(function);
  if (!f)
    return Status::error(str(executor_->module().path(), ": the library has no function '", function, "'"));
  std::vector<DeviceAddress> addresses;
  for (const PlanTensor& a : f->arguments) {
    if (a.name == "input_embeds" || a.name == "hidden_states" || a.name == "logits") {
      addresses.push_back(a.name == "logits" ? logits_address_ : embeds_address_);
      continue;
    }
    if (DeviceAddress field; step_inputs_.find(a.name, field)) {
      addresses.push_back(field);
      continue;
    }
    auto it = inputs_.find(a.name);
    if (it == inputs_.end())
      return Status::error(str(executor_->module().path(), ": function '", function, "' wants the input '",
                               a.name, "', which this mlc_llm does not know; use a newer mlc_llm"));
    addresses.push_back(it->second.address());
  }
  return std::span<const DeviceAddress>(bindings_[function] = std::move(addresses));
}

// result: null for a function without one.
Status Model::add_call(const char* function, const Dims& dims, const DeviceAddress* result) {
  ASSIGN_OR_RETURN(auto arguments, bind(function));
  calls_.push_back({function, dims, arguments, {result, result ? size_t{1} : size_t{0}}});
  return Status::ok();
}

Status Model::copy_pages(const std::vector<PageCopy>& copies) {
  for (size_t done = 0; done < copies.size();) {
    size_t n = std::min(copies.size() - done, static_cast<size_t>(limits_.max_sequences));
    std::vector<int32_t> sources, targets;
    for (size_t i = done; i < done + n; ++i)
      sources.push_back(copies[i].source), targets.push_back(copies[i].target);
    RETURN_IF_ERROR(upload("source_pages", bytes_of(sources)));
    RETURN_IF_ERROR(upload("target_pages", bytes_of(targets)));
    calls_.clear();
    RETURN_IF_ERROR(add_call("copy_pages", {.copies = static_cast<int64_t>(n)}, nullptr));
    RETURN_IF_ERROR(executor_->run(calls_));
    RETURN_IF_ERROR(device_->sync(device_->self));
    done += n;
  }
  return Status::ok();
}

Status Model::fork_sequence(SequenceId parent, SequenceId child, int64_t position) {
  ASSIGN_OR_RETURN(auto copies, cache_->fork_sequence(parent, child, position));
  return copy_pages(copies);
}

// Room for all new tokens, or for none: a sequence that finds no page takes back what the others got.
Status Model::make_room(std::span<const StepSequence> sequences) {
  std::vector<PageCopy> copies;
  for (size_t i = 0; i < sequences.size(); ++i) {
    auto more = cache_->append(sequences[i].id, static_cast<int64_t>(sequences[i].tokens.size()));
    if (!more.is_ok()) {
      for (size_t j = 0; j < i; ++j) {
        Status undone = cache_->popn(sequences[j].id, static_cast<int64_t>(sequences[j].tokens.size()));
        internal_check(undone.is_ok(), undone.message());
      }
      return more.status();
    }
    copies.insert(copies.end(), more->begin(), more->end());
  }
  return copy_pages(copies);
}

// The logits of all rows of embeds_, as calls whose logits the device can bind.
Status Model::add_logits(int64_t rows) {
  const int64_t largest = device_->properties.max_binding_bytes, elements = kBindingAlignment / 4;
  const int64_t step =
      elements /
      std::gcd(elements, std::gcd(hidden_size_, vocab_size_));  // rows: the next ones are aligned too
  const int64_t block = largest / (4 * vocab_size_) / step * step;
  if (block == 0)
    return Status::error(str(executor_->module().path(), ": the logits of ", step, " rows take ",
                             human_bytes(static_cast<double>(4 * step * vocab_size_)), ", the ",
                             device_->properties.name, " device's driver lets kernels see at most ",
                             human_bytes(static_cast<double>(largest)), " of one tensor; use --device cpu"));
  ASSIGN_OR_RETURN(auto arguments, bind("get_logits"));
  pieces_.clear();
  pieces_.reserve(static_cast<size_t>(2 * ((rows + block - 1) / block)));  // calls_ points into it
  for (int64_t done = 0; done < rows; done += block) {
    const Dims dims{.rows = std::min(block, rows - done)};
    RETURN_IF_ERROR(executor_->reserve_arena({{"get_logits", dims}}));
    std::vector<DeviceAddress>& inputs = pieces_.emplace_back(arguments.begin(), arguments.end());
    inputs[0].offset += 4 * done * hidden_size_;
    const auto& results = pieces_.emplace_back(1, logits_.address(4 * done * vocab_size_));
    calls_.push_back({"get_logits", dims, inputs, results});
  }
  return Status::ok();
}

// Of `rows` rows; more than a step of one row a sequence gives are asked for by measurements only.
Status Model::make_room_for_logits(int64_t rows) {
  const int64_t bytes = 4 * rows * vocab_size_;
  if (bytes <= logits_.bytes()) return Status::ok();
  executor_->forget_recordings();
  bindings_.clear();
  ASSIGN_OR_RETURN(logits_, OwnedBuffer::allocate(*device_, bytes));
  logits_address_ = logits_.address();
  return Status::ok();
}

// Submits everything of a step as one: embed, the transformer and, with settings, sample.
Status Model::run_step(std::span<const StepSequence> sequences, WantLogits want,
                       std::span<const DrawSettings> settings) {
  int64_t rows = 0, batch = static_cast<int64_t>(sequences.size());
  for (const StepSequence& s : sequences) {
    internal_check(!s.tokens.empty(), "a step's sequence without tokens");
    for (int32_t token : s.tokens)
      internal_check(token >= 0 && token < vocab_size_, "a token outside of the vocabulary");
    rows += static_cast<int64_t>(s.tokens.size());
  }
  internal_check(rows <= limits_.prefill_chunk && batch <= limits_.max_sequences,
                 "a step larger than the model's limits");
  for (const StepSequence& s : sequences)
    if (step_inputs_.bidirectional() && cache_->length(s.id) > 0)
      return Status::error(
          str(executor_->module().path(),
              ": an encoder reads a text in one step; remove the sequence and begin it anew"));
  RETURN_IF_ERROR(make_room(sequences));
  step_inputs_.fill(*cache_, sequences);
  RETURN_IF_ERROR(step_inputs_.upload());
  const Dims dims = step_inputs_.dims();
  const int64_t largest = device_->properties.max_binding_bytes;
  const bool hidden = want == WantLogits::kNone || want == WantLogits::kHiddenStates;
  const bool apart = want == WantLogits::kAll && largest > 0 && 4 * rows * vocab_size_ > largest;
  const char* function = hidden || apart            ? "batch_prefill_to_last_hidden_states"
                         : want == WantLogits::kAll ? "batch_verify"
                         : rows == dims.wanted      ? "batch_decode"
                                                    : "batch_prefill";
  const int64_t results = hidden ? 0 : want == WantLogits::kAll ? rows : dims.wanted;
  RETURN_IF_ERROR(make_room_for_logits(results));
  calls_.clear();
  RETURN_IF_ERROR(add_call("embed", dims, &embeds_address_));
  RETURN_IF_ERROR(add_call(function, dims, results == 0 || apart ? &embeds_address_ : &logits_address_));
  if (apart) RETURN_IF_ERROR(add_logits(rows));
  if (!settings.empty()) {
    RETURN_IF_ERROR(upload("draw_settings", std::as_bytes(settings)));
    RETURN_IF_ERROR(add_call("sample", dims, &tokens_address_));
  }
  if (settings.empty())
    host_logits_.resize(
        static_cast<size_t>(want == WantLogits::kHiddenStates ? rows * hidden_size_ : results * vocab_size_));
  else
    host_tokens_.resize(settings.size());
  RETURN_IF_ERROR(executor_->run(calls_));
  return settings.empty()
             ? device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_logits_)),
                                   want == WantLogits::kHiddenStates ? embeds_address_ : logits_address_)
             : device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_tokens_)),
                                   tokens_.address());
}

Status Model::begin_step(std::span<const StepSequence> sequences, WantLogits want,
                         std::span<const DrawSettings> settings) {
  internal_check(!stepping_, "begin_step: a step is running");
  internal_check(
      settings.empty() ||
          (samples_ && want == WantLogits::kLast &&
           std::ranges::count_if(sequences, &StepSequence::wanted) == static_cast<int64_t>(settings.size())),
      "begin_step: no library that samples, or not one setting for each sequence that wants logits");
  RETURN_IF_ERROR(run_step(sequences, want, settings));
  stepped_.clear();
  for (const StepSequence& s : sequences) stepped_.push_back(s.id);
  drawing_ = !settings.empty();
  stepping_ = true;
  return Status::ok();
}

Result<bool> Model::poll_step() {
  internal_check(stepping_, "poll_step: no step is running");
  auto arrived = device_->poll(device_->self);
  if (arrived.is_ok() && !*arrived) return false;
  stepping_ = false;
  RETURN_IF_ERROR(arrived.status());
  RETURN_IF_ERROR(finish_step());
  return true;
}

Status Model::finish_step() {
  if (drawing_) {
    for (int32_t token : host_tokens_)
      if (token < 0 || token >= vocab_size_)
        return Status::error(str("the ", device_->properties.name, " device drew token ", token, " of ",
                                 vocab_size_, "; its driver is broken, update it or use --device cpu"));
    result_ = {.logits = {}, .tokens = host_tokens_};
  } else {
    result_ = {.logits = host_logits_, .tokens = {}};
  }
  for (SequenceId id : stepped_) cache_->slide(id);
  return Status::ok();
}

Status Model::wait() {
  Status waited = device_->sync(device_->self);
  if (!waited.is_ok()) stepping_ = false;
  return waited;
}

Result<const StepResult*> Model::wait_for_step() {
  for (;;) {
    ASSIGN_OR_RETURN(bool done, poll_step());
    if (done) return &result_;
    RETURN_IF_ERROR(wait());
  }
}

Result<std::span<const float>> Model::step(std::span<const StepSequence> sequences, WantLogits want) {
  RETURN_IF_ERROR(begin_step(sequences, want));
  ASSIGN_OR_RETURN(const StepResult* result, wait_for_step());
  return result->logits;
}

Result<std::span<const int32_t>> Model::step_and_sample(std::span<const StepSequence> sequences,
                                                        std::span<const DrawSettings> settings) {
  RETURN_IF_ERROR(begin_step(sequences, WantLogits::kLast, settings));
  ASSIGN_OR_RETURN(const StepResult* result, wait_for_step());
  return result->tokens;
}

}  // namespace mlc::runtime
