// Loads and steps models.
#include "runtime/model.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

constexpr int64_t kBindingAlignment =
    256;  // bytes at which any GPU binds a part of a buffer (Vulkan's largest minimum)

// For kLastAndHidden: the states of all rows, those that are wanted of them, their logits.
constexpr const char* kStates = "batch_prefill_to_last_hidden_states";
constexpr const char* kTreeStates = "batch_verify_to_last_hidden_states";
constexpr const char* kSelect = "batch_select_last_hidden_states";

constexpr const char* kAllLogits = "decode";  // the function that gives the logits of every row

// The most of everything that an engine with these limits sees.
Dims largest_dims(const ModelLimits& limits, const StateMemory& states) {
  Dims dims = states.dims;
  dims.rows = limits.prefill_chunk;
  dims.batch = dims.copies = limits.max_sequences;
  dims.wanted = limits.max_wanted;
  return dims;
}

// The functions step() may call of those that the library has, with the most rows and sequences each can see.
std::vector<std::pair<std::string, Dims>> largest_uses(const Plan& plan, const ModelLimits& limits,
                                                       const StateMemory& states) {
  const Dims rows = largest_dims(limits, states);
  Dims decode = rows;
  decode.rows = decode.wanted;
  std::vector<std::pair<std::string, Dims>> uses = {
      {"embed", rows},      {"batch_prefill", rows}, {"batch_prefill_to_last_hidden_states", rows},
      {kAllLogits, rows},   {"batch_verify", rows},  {"batch_decode", decode},
      {"copy_slots", rows}, {"sample", decode}};
  if (limits.hidden_states)
    uses.insert(uses.end(), {{kTreeStates, rows}, {kSelect, rows}, {"get_logits", decode}});
  for (size_t g = 0; g < states.store.groups.size(); ++g)
    uses.emplace_back(of_group("copy_pages", static_cast<int64_t>(g)), rows);
  std::erase_if(uses, [&](const auto& use) { return !plan.find_function(use.first); });
  return uses;
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& v) {
  return std::as_bytes(std::span(v));
}

}  // namespace

std::string MemoryPlan::text() const {
  auto h = [](int64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  return str("weights ", h(weights), " + ", state_text, " + working memory ", h(arena + inputs + tables),
             " = ", h(total()));
}

std::string Model::lacks_for_hidden_states(const Plan& plan, bool trees) {
  for (const char* name : {kStates, kSelect, "get_logits"})
    if (!plan.find_function(name)) return name;
  const PlanFunction* verify = plan.find_function(kTreeStates);
  const bool verifies =
      verify && std::ranges::find(verify->arguments, "mask", &PlanTensor::name) != verify->arguments.end();
  return trees && !verifies ? kTreeStates : "";
}

Result<MemoryPlan> Model::plan_memory(const Module& module, const ModelLimits& wanted) {
  if (!module.plan().find_function("embed"))
    return Status::error(str(module.path(), " is a draft head of type ",
                             find_string(module.manifest(), "model_type").value_or("?"),
                             " and has no text of its own; serve the model that it was made for with "
                             "--speculative-mode and name the head with --additional-models"));
  ASSIGN_OR_RETURN(ModelLimits limits, complete(wanted, module));
  MemoryPlan plan;
  for (const PlanWeight& w : module.plan().weights) plan.weights += w.bytes;
  ASSIGN_OR_RETURN(plan.state,
                   plan_states(module.plan(), limits, window_of(module.manifest()), module.path()));
  plan.states = plan.state.total_bytes();
  plan.state_text = plan.state.text(module.plan());
  for (const auto& [name, dims] : largest_uses(module.plan(), limits, plan.state)) {
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
                                                         largest_dims(limits, plan.state), module.path()));
  const int64_t rows = limits.prefill_chunk, batch = limits.max_sequences, most = limits.max_wanted;
  plan.inputs = inputs.device_bytes() + 4 * (rows * hidden + 4 * batch + most * vocab);
  if (module.plan().find_function("sample")) plan.inputs += 4 * most * (kDrawSettings + 1);
  if (limits.hidden_states) plan.inputs += 4 * most * hidden;
  plan.tables = inputs.table_bytes(plan.state.longest_text);
  return plan;
}

Status Model::resolve_limits(const ModelLimits& limits) {
  const Module& module = executor_->module();
  ASSIGN_OR_RETURN(limits_, complete(limits, module));
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
  const std::vector<PlanState>& states = executor_->module().plan().states;
  for (size_t i = 0; i < states.size(); ++i) {
    const int64_t bytes = memory_.state.layer_bytes[i];
    if (bytes <= largest) continue;
    if (states[i].kind == PlanState::Kind::kSlots)
      return refuse("the slots of a recurrent layer", bytes, "max_batch_size");
    return refuse("the keys and values of a layer", bytes, "context_window_size");
  }
  if (int64_t bytes = 4 * limits_.max_wanted * vocab_size_; bytes > largest)
    return refuse("the logits of a step", bytes, "max_batch_size");
  for (int64_t& rows = limits_.prefill_chunk;; rows = std::max(rows / 2, limits_.max_wanted)) {
    int64_t most = 0;
    for (const auto& [name, dims] : largest_uses(executor_->module().plan(), limits_, memory_.state)) {
      if (name == kAllLogits) continue;  // they are cut in run_step
      ASSIGN_OR_RETURN(int64_t bytes, executor_->largest_binding(name, dims));
      most = std::max(most, bytes);
    }
    if (most <= largest) break;
    if (rows <= limits_.max_wanted) return refuse("the values of a step", most, "max_batch_size");
  }
  ASSIGN_OR_RETURN(memory_, plan_memory(executor_->module(), limits_));
  return Status::ok();
}

Status Model::allocate_states() {
  const std::vector<PlanState>& states = executor_->module().plan().states;
  sequences_ = std::make_unique<SequenceStore>(memory_.state.store);
  std::vector<DeviceAddress> addresses;
  for (size_t i = 0; i < states.size(); ++i) {
    auto buffer = OwnedBuffer::allocate(*device_, memory_.state.bytes[i]);
    if (!buffer.is_ok())
      return Status::error(str(buffer.status().message(), " for state '", states[i].name, "' of ",
                               memory_.state_text,
                               "; lower context_window_size or max_batch_size in --overrides"));
    states_.push_back(std::move(buffer).value());
    addresses.push_back(states_.back().address());
    RETURN_IF_ERROR(clear_empty_slot(states[i], memory_.state.layer_bytes[i], addresses.back()));
  }
  executor_->set_states(std::move(addresses), memory_.state.dims);
  return Status::ok();
}

// Slot 0, the first of each layer, is the empty text's: zeros.
Status Model::clear_empty_slot(const PlanState& state, int64_t layer_bytes, DeviceAddress slots) {
  if (state.kind != PlanState::Kind::kSlots) return Status::ok();
  const std::vector<std::byte> zeros(static_cast<size_t>(state.unit_bytes()));
  for (int64_t layer = 0; layer < state.layers; ++layer, slots.offset += layer_bytes)
    RETURN_IF_ERROR(device_->copy_in(device_->self, slots, zeros));
  return Status::ok();
}

Status Model::allocate() {
  const Plan& plan = executor_->module().plan();
  RETURN_IF_ERROR(allocate_states());
  ASSIGN_OR_RETURN(step_inputs_,
                   StepInputs::create(plan, executor_->module().manifest(),
                                      largest_dims(limits_, memory_.state), executor_->module().path()));
  if (int64_t keys = step_inputs_.window_keys(); keys > 0 && keys < window_.tokens + limits_.prefill_chunk)
    return Status::error(str(executor_->module().path(), ": it has rotations for ", keys, " keys, expected ",
                             window_.tokens, " of the window and ", limits_.prefill_chunk,
                             " of a step; compile the model again"));
  RETURN_IF_ERROR(step_inputs_.allocate(*device_, memory_.state.longest_text));
  RETURN_IF_ERROR(allocate_inputs());
  auto uses = largest_uses(plan, limits_, memory_.state);
  for (size_t i = 0, n = uses.size(); i < n; ++i)
    for (auto [symbol, fewer] : {std::pair{&Dims::rows, int64_t{1}}, {&Dims::rows, 16}, {&Dims::wanted, 1}}) {
      uses.push_back(uses[i]);
      uses.back().second.*symbol = std::min(uses[i].second.*symbol, fewer);
    }
  return executor_->reserve_arena(uses);
}

Status Model::allocate_inputs() {
  const int64_t rows = limits_.prefill_chunk, batch = limits_.max_sequences, wanted = limits_.max_wanted;
  for (const char* name : {"source_pages", "target_pages", "source_slots", "target_slots"}) {
    ASSIGN_OR_RETURN(inputs_[name], OwnedBuffer::allocate(*device_, 4 * batch));
  }
  ASSIGN_OR_RETURN(embeds_, OwnedBuffer::allocate(*device_, 4 * rows * hidden_size_));
  ASSIGN_OR_RETURN(logits_, OwnedBuffer::allocate(*device_, 4 * wanted * vocab_size_));
  if (executor_->module().plan().find_function("sample")) {
    ASSIGN_OR_RETURN(inputs_["draw_settings"], OwnedBuffer::allocate(*device_, 4 * wanted * kDrawSettings));
    ASSIGN_OR_RETURN(tokens_, OwnedBuffer::allocate(*device_, 4 * wanted));
    samples_ = !device_->properties.host_memory;
  }
  if (limits_.hidden_states) {
    ASSIGN_OR_RETURN(selected_, OwnedBuffer::allocate(*device_, 4 * wanted * hidden_size_));
    selected_address_ = selected_.address();
  }
  embeds_address_ = embeds_.address();
  logits_address_ = logits_.address();
  tokens_address_ = tokens_.address();
  host_logits_.reserve(static_cast<size_t>(wanted * vocab_size_));
  host_tokens_.reserve(static_cast<size_t>(wanted));
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
  ASSIGN_OR_RETURN(model->adapters_, Adapters::create(*module, model->weights_->addresses()));
  model->executor_ = std::make_unique<Executor>(module, model->weights_->addresses());
  if (limits.deterministic) model->executor_->run_last_bodies();
  RETURN_IF_ERROR(model->allocate());
  return model;
}

Status Model::upload(std::string_view name, std::span<const std::byte> bytes) {
  auto it = inputs_.find(name);
  internal_check(it != inputs_.end() && static_cast<int64_t>(bytes.size()) <= it->second.bytes(),
                 "a step's input is larger than planned");
  return device_->copy_in(device_->self, it->second.address(), bytes);
}

// The arguments of a function, by name. `input_embeds` is the result of embed, `logits` that of the functions
// that have any.
Result<std::span<const DeviceAddress>> Model::bind(std::string_view function) {
  if (auto known = bindings_.find(function); known != bindings_.end())
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
  return std::span<const DeviceAddress>(bindings_[std::string(function)] = std::move(addresses));
}

// result: null for a function without one.
Status Model::add_call(std::string_view function, const Dims& dims, const DeviceAddress* result) {
  ASSIGN_OR_RETURN(auto arguments, bind(function));
  calls_.push_back({function, dims, arguments, {result, result ? size_t{1} : size_t{0}}});
  return Status::ok();
}

// Makes the copies of pages or slots, as many at once as a call takes.
Status Model::copy(const std::string& function, const char* of, std::vector<StateCopy>& copies) {
  for (std::span<const StateCopy> left = copies; !left.empty();) {
    const size_t n = std::min(independent_copies(left), static_cast<size_t>(limits_.max_sequences));
    std::vector<int32_t> sources, targets;
    for (const StateCopy& c : left.first(n)) sources.push_back(c.source), targets.push_back(c.target);
    RETURN_IF_ERROR(upload(str("source_", of), bytes_of(sources)));
    RETURN_IF_ERROR(upload(str("target_", of), bytes_of(targets)));
    calls_.clear();
    RETURN_IF_ERROR(add_call(function, {.copies = static_cast<int64_t>(n)}, nullptr));
    RETURN_IF_ERROR(executor_->run(calls_));
    RETURN_IF_ERROR(device_->sync(device_->self));
    left = left.subspan(n);
  }
  copies.clear();
  return Status::ok();
}

// What must be copied before the kernels of a step see the states.
Status Model::copy_states() {
  for (size_t g = 0; g < sequences_->groups(); ++g)
    if (std::vector<StateCopy>& copies = sequences_->page_copies(g); !copies.empty())
      RETURN_IF_ERROR(copy(of_group("copy_pages", static_cast<int64_t>(g)), "pages", copies));
  return copy("copy_slots", "slots", sequences_->slot_copies());
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

// Those of the wanted rows of embeds_, whose states are kept beside.
Status Model::add_selected_logits(const Dims& dims) {
  RETURN_IF_ERROR(add_call(kSelect, dims, &selected_address_));
  ASSIGN_OR_RETURN(auto arguments, bind("get_logits"));
  pieces_.clear();
  std::vector<DeviceAddress>& inputs = pieces_.emplace_back(arguments.begin(), arguments.end());
  inputs[0] = selected_address_;
  calls_.push_back({"get_logits", {.rows = dims.wanted}, inputs, {&logits_address_, 1}});
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

// The rows of a step, and whether some of them are a tree.
Model::StepShape Model::check_step(std::span<const StepSequence> sequences) const {
  StepShape shape;
  for (const StepSequence& s : sequences) {
    const auto n = static_cast<int64_t>(s.tokens.size());
    internal_check(n > 0 && s.wanted <= n,
                   "a step's sequence without tokens, or that wants more than it has");
    for (int32_t token : s.tokens)
      internal_check(token >= 0 && token < vocab_size_, "a token outside of the vocabulary");
    internal_check(s.adapter >= -1 && s.adapter < adapters_.capacity(), "an adapter that is not loaded");
    shape.rows += n;
    shape.wanted += s.wanted;
    if (s.parents.empty()) continue;
    internal_check(
        verifies_trees() && s.proposed && s.parents.size() == s.tokens.size() && n <= kMostTreeTokens,
        "a tree that is not proposed, too large, or of a model that verifies none");
    for (int64_t i = 0; i < n; ++i) {
      const int64_t parent = s.parents[static_cast<size_t>(i)];
      internal_check(parent >= -1 && parent < i, "a tree's token before the one that it follows");
      shape.tree |= parent != i - 1;
    }
  }
  internal_check(shape.rows <= limits_.prefill_chunk && shape.wanted <= limits_.max_wanted &&
                     static_cast<int64_t>(sequences.size()) <= limits_.max_sequences,
                 "a step larger than the model's limits");
  return shape;
}

// Submits everything of a step as one: embed, the transformer and, with settings, sample.
Status Model::run_step(std::span<const StepSequence> sequences, WantLogits want,
                       std::span<const DrawSettings> settings) {
  const auto [rows, wanted, tree] = check_step(sequences);
  const bool both = want == WantLogits::kLastAndHidden;
  internal_check(!both || limits_.hidden_states, "a step's hidden states, for which no room was made");
  internal_check(!tree || both || want == WantLogits::kLast,
                 "a step of trees gives the logits of wanted rows");
  for (const StepSequence& s : sequences)
    if (step_inputs_.bidirectional() && sequences_->length(s.id) > 0)
      return Status::error(
          str(executor_->module().path(),
              ": an encoder reads a text in one step; remove the sequence and begin it anew"));
  RETURN_IF_ERROR(sequences_->reserve(sequences));
  RETURN_IF_ERROR(copy_states());
  step_inputs_.fill(*sequences_, sequences);
  RETURN_IF_ERROR(step_inputs_.upload());
  const Dims dims = step_inputs_.dims();
  const int64_t largest = device_->properties.max_binding_bytes;
  const bool hidden = want == WantLogits::kNone || want == WantLogits::kHiddenStates;
  const bool apart = want == WantLogits::kAll && largest > 0 && 4 * rows * vocab_size_ > largest;
  const char* function = tree                       ? both ? kTreeStates : "batch_verify"
                         : hidden || apart || both  ? kStates
                         : want == WantLogits::kAll ? kAllLogits
                         : rows == wanted           ? "batch_decode"
                                                    : "batch_prefill";
  const int64_t results = hidden ? 0 : want == WantLogits::kAll ? rows : wanted;
  RETURN_IF_ERROR(make_room_for_logits(results));
  calls_.clear();
  RETURN_IF_ERROR(add_call("embed", dims, &embeds_address_));
  RETURN_IF_ERROR(
      add_call(function, dims, results == 0 || apart || both ? &embeds_address_ : &logits_address_));
  if (apart) RETURN_IF_ERROR(add_logits(rows));
  if (both) RETURN_IF_ERROR(add_selected_logits(dims));
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
  host_hidden_.resize(both ? static_cast<size_t>(wanted * hidden_size_) : 0);
  reads_hidden_ = both;
  return settings.empty()
             ? device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_logits_)),
                                   want == WantLogits::kHiddenStates ? embeds_address_ : logits_address_)
             : device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_tokens_)),
                                   tokens_.address());
}

Status Model::begin_step(std::span<const StepSequence> sequences, WantLogits want,
                         std::span<const DrawSettings> settings) {
  internal_check(!stepping_, "begin_step: a step is running");
  internal_check(settings.empty() ||
                     (samples_ && (want == WantLogits::kLast || want == WantLogits::kLastAndHidden) &&
                      std::transform_reduce(sequences.begin(), sequences.end(), int64_t{0}, std::plus<>(),
                                            [](const StepSequence& s) { return s.wanted; }) ==
                          static_cast<int64_t>(settings.size())),
                 "begin_step: no library that samples, or not one setting for each row that wants logits");
  RETURN_IF_ERROR(run_step(sequences, want, settings));
  stepped_.clear();
  for (const StepSequence& s : sequences)
    if (!s.proposed) stepped_.push_back(s.id);
  drawing_ = !settings.empty();
  stepping_ = true;
  return Status::ok();
}

Result<bool> Model::poll_step() {
  internal_check(stepping_, "poll_step: no step is running");
  auto arrived = device_->poll(device_->self);
  if (arrived.is_ok() && *arrived && std::exchange(reads_hidden_, false)) {  // one read at a time
    const Status begun = device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_hidden_)),
                                             selected_address_);
    arrived = begun.is_ok() ? device_->poll(device_->self) : Result<bool>(begun);
  }
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
    result_ = {.logits = {}, .hidden = host_hidden_, .tokens = host_tokens_};
  } else {
    result_ = {.logits = host_logits_, .hidden = host_hidden_, .tokens = {}};
  }
  for (SequenceId id : stepped_) sequences_->commit(id);
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
