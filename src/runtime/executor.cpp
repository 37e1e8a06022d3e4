// Runs functions of a plan.
#include "runtime/executor.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

// Steps of some batch sizes and lengths alternate in a server; a recording holds a few hundred launches.
constexpr size_t kMostRecordings = 16;

}  // namespace

Executor::Executor(std::shared_ptr<Module> module, std::vector<DeviceAddress> weights)
    : module_(std::move(module)), weights_(std::move(weights)) {
  internal_check(weights_.size() == module_->plan().weights.size(),
                 "executor: one address per weight of the plan");
  for (const std::string& name : module_->plan().symbols) {
    const Symbol* symbol = find_symbol(name);
    internal_check(symbol != nullptr, "a library with unknown dimensions is not loaded");
    symbols_.push_back(symbol->value);
  }
  for (const Dim& e : module_->plan().expressions) {
    flatten(e);
    tokens_.back().last = true;
  }
}

Executor::~Executor() { forget_recordings(); }

void Executor::forget_recordings() {
  Device& device = module_->device();
  for (const Recorded& r : recordings_) device.release_recording(device.self, r.recording);
  recordings_.clear();
}

void Executor::flatten(const Dim& e) {
  if (e.is_const()) {
    tokens_.push_back({DimOp::kConst, e.constant(), false});
  } else if (e.op() == DimOp::kSymbol) {
    const std::vector<std::string>& names = module_->plan().symbols;
    tokens_.push_back({DimOp::kSymbol, std::ranges::find(names, e.name()) - names.begin(), false});
  } else {
    flatten(e.lhs());
    flatten(e.rhs());
    tokens_.push_back({e.op(), 0, false});
  }
}

void Executor::set_states(std::vector<DeviceAddress> states, const Dims& pools) {
  internal_check(states.size() == module_->plan().states.size(),
                 "executor: one address per state of the plan");
  forget_recordings();
  states_ = std::move(states);
  pools_ = pools;
}

Result<const PlanBody*> Executor::choose_body(std::string_view function, const Dims& dims) const {
  const PlanFunction* f = module_->plan().find_function(function);
  if (!f) {
    std::vector<std::string> names;
    for (const PlanFunction& g : module_->plan().functions) names.push_back(g.name);
    return Status::error(str(module_->path(), ": the library has no function '", function, "'",
                             did_you_mean(std::string(function), names)));
  }
  if (last_bodies_) return &f->bodies.back();
  auto holds = [&](const PlanGuard& g) { return g.holds(dims.*symbols_[g.symbol]); };
  return &*std::ranges::find_if(f->bodies,
                                [&](const PlanBody& b) { return std::ranges::all_of(b.guards, holds); });
}

// The value of every expression of the plan; those that use dimensions a function lacks stay 0. While one is
// computed its operands lie behind the values that are known.
Status Executor::evaluate(const Dims& dims, std::vector<int64_t>& values) const {
  values.clear();
  size_t known = 0;
  for (const Token& t : tokens_) {
    if (t.op == DimOp::kConst) {
      values.push_back(t.operand);
    } else if (t.op == DimOp::kSymbol) {
      values.push_back(dims.*symbols_[static_cast<size_t>(t.operand)]);
    } else {
      std::optional<int64_t> value = apply(t.op, values[values.size() - 2], values.back());
      if (!value)
        return Status::error(str(module_->path(), ": the plan's expression ",
                                 module_->plan().expressions[known].text(), " has no value for ", dims.rows,
                                 " rows; the library is damaged, compile the model again"));
      values.pop_back();
      values.back() = *value;
    }
    if (t.last) ++known;
  }
  return Status::ok();
}

Result<int64_t> Executor::arena_bytes(const std::string& function, const Dims& dims) const {
  ASSIGN_OR_RETURN(const PlanBody* body, choose_body(function, dims));
  std::vector<int64_t> values;
  RETURN_IF_ERROR(evaluate(dims, values));
  return values[body->arena_bytes];
}

Result<int64_t> Executor::largest_binding(const std::string& function, const Dims& dims) const {
  ASSIGN_OR_RETURN(const PlanBody* body, choose_body(function, dims));
  std::vector<int64_t> values;
  RETURN_IF_ERROR(evaluate(dims, values));
  int64_t most = 0;
  for (const PlanCall& call : body->calls)
    for (const PlanBuffer& b : call.buffers)
      if (b.space != PlanBuffer::Space::kWeight) most = std::max(most, values[b.bytes]);
  return most;
}

Status Executor::reserve_arena(const std::vector<std::pair<std::string, Dims>>& uses) {
  int64_t bytes = arena_.bytes();
  for (const auto& [function, dims] : uses) {
    ASSIGN_OR_RETURN(int64_t need, arena_bytes(function, dims));
    bytes = std::max(bytes, need);
    for (auto pages : kPagesOf) most_.*pages = std::max(most_.*pages, dims.*pages);
  }
  if (bytes == arena_.bytes()) return Status::ok();
  forget_recordings();
  arena_ = OwnedBuffer();
  ASSIGN_OR_RETURN(arena_, OwnedBuffer::allocate(module_->device(), bytes));
  return Status::ok();
}

void Executor::resolve(const PlanBody& body, const FunctionCall& call, const std::vector<int64_t>& values) {
  const DeviceAddress arena = arena_.address();
  const DeviceAddress* bases[] = {call.arguments.data(), call.results.data(), weights_.data(), states_.data(),
                                  &arena};
  for (const PlanCall& c : body.calls) {
    size_t first_buffer = addresses_.size(), first_dim = dim_values_.size();
    for (const PlanBuffer& b : c.buffers) {
      DeviceAddress a = bases[static_cast<size_t>(b.space)][b.index];
      a.offset += values[b.offset];
      a.bytes = values[b.bytes];
      addresses_.push_back(a);
    }
    for (ExprId e : c.dims) dim_values_.push_back(values[e]);
    launches_.push_back({.kernel = c.kernel,
                         .buffers = {addresses_.data() + first_buffer, c.buffers.size()},
                         .dims = {dim_values_.data() + first_dim, c.dims.size()},
                         .tiles = values[c.tiles],
                         .scratch_bytes = c.scratch_bytes});
  }
}

Status Executor::resolve_all(std::span<const FunctionCall> calls) {
  bodies_.clear();
  size_t buffer_count = 0, dim_count = 0;
  for (const FunctionCall& call : calls) {
    ASSIGN_OR_RETURN(const PlanBody* body, choose_body(call.function, call.dims));
    const PlanFunction& f = *module_->plan().find_function(call.function);
    internal_check(call.arguments.size() == f.arguments.size() && call.results.size() == f.results.size(),
                   "executor: arguments and results must match the function");
    for (const PlanCall& c : body->calls) buffer_count += c.buffers.size(), dim_count += c.dims.size();
    bodies_.push_back(body);
  }
  addresses_.clear();
  dim_values_.clear();
  launches_.clear();
  addresses_.reserve(buffer_count);  // the launches' spans point into these, so they must not move
  dim_values_.reserve(dim_count);
  for (size_t i = 0; i < calls.size(); ++i) {
    Dims dims = calls[i].dims;
    for (auto pages : kPoolPagesOf) dims.*pages = pools_.*pages;
    dims.pool_slots = pools_.pool_slots;
    RETURN_IF_ERROR(evaluate(dims, values_));
    internal_check(values_[bodies_[i]->arena_bytes] <= arena_.bytes(),
                   "executor: no arena reserved for these dims");
    resolve(*bodies_[i], calls[i], values_);
  }
  return Status::ok();
}

// The dims that the launches are recorded for: `pages`, which are only the sizes of buffers, rounded up.
Dims Executor::bucket(Dims dims) const {
  for (auto pages : kPagesOf) {
    auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(dims.*pages)));
    dims.*pages = std::max(dims.*pages, std::min(rounded, most_.*pages));
  }
  return dims;
}

Status Executor::run_recorded(std::span<const FunctionCall> calls) {
  key_.clear();
  auto add_address = [&](const DeviceAddress& a) {
    key_.push_back(static_cast<int64_t>(reinterpret_cast<intptr_t>(a.handle)));
    key_.push_back(a.offset);
  };
  for (const FunctionCall& c : calls) {
    Dims d = bucket(c.dims);
    key_.push_back(module_->plan().find_function(c.function) - module_->plan().functions.data());
    for (const Symbol& s : kSymbols) key_.push_back(d.*s.value);
    for (const DeviceAddress& a : c.arguments) add_address(a);
    for (const DeviceAddress& a : c.results) add_address(a);
  }
  auto found =
      std::find_if(recordings_.begin(), recordings_.end(), [&](const Recorded& r) { return r.key == key_; });
  Device& device = module_->device();
  if (found == recordings_.end()) {
    std::vector<FunctionCall> rounded(calls.begin(), calls.end());
    for (FunctionCall& c : rounded) c.dims = bucket(c.dims);
    RETURN_IF_ERROR(resolve_all(rounded));
    ASSIGN_OR_RETURN(Recording recording, device.record(device.self, module_->kernels(), launches_));
    if (recordings_.size() == kMostRecordings) {
      device.release_recording(device.self, recordings_.back().recording);
      recordings_.pop_back();
    }
    found = recordings_.insert(recordings_.end(), {key_, recording});
  }
  std::rotate(recordings_.begin(), found, found + 1);
  return device.replay(device.self, recordings_.front().recording);
}

Status Executor::run(std::span<const FunctionCall> calls) {
  Device& device = module_->device();
  for (const FunctionCall& c : calls) {  // names the function that is not there
    auto body = choose_body(c.function, c.dims);
    if (!body.is_ok()) return body.status();
  }
  if (device.record) return run_recorded(calls);
  RETURN_IF_ERROR(resolve_all(calls));
  return device.submit(device.self, module_->kernels(), launches_);
}

int Executor::argument_index(const std::string& function, const std::string& argument) const {
  const PlanFunction* f = module_->plan().find_function(function);
  if (f)
    for (size_t i = 0; i < f->arguments.size(); ++i)
      if (f->arguments[i].name == argument) return static_cast<int>(i);
  return -1;
}

}  // namespace mlc::runtime
