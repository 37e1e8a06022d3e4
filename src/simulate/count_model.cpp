// Counting a model's steps.
#include "simulate/count_model.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>

#include "base/check.h"
#include "base/strings.h"

namespace mlc {
namespace {

using Values = std::map<std::string, int64_t>;

int64_t evaluate(const Plan& plan, ExprId e, const Values& dims) {
  auto value = plan.expressions[e].evaluate(dims);
  internal_check(value.has_value(), "a plan's expression has no value");
  return *value;
}

// What the runtime would pass for the integer argument `name`, of whichever group of block tables.
std::vector<int32_t> argument(std::string name, int64_t count, const Values& dims, int64_t tokens) {
  if (name.size() > 2 && name[name.size() - 2] == '_') name.resize(name.size() - 2);
  std::vector<int32_t> values(static_cast<size_t>(count));
  auto first = static_cast<int32_t>(tokens - dims.at("rows"));
  if (name == "positions" || name == "row_slots") std::iota(values.begin(), values.end(), first);
  if (name == "limits") std::iota(values.begin(), values.end(), first + 1);
  if (name == "page_ids") std::iota(values.begin(), values.end(), 0);
  if (name == "page_indptr" && count > 1) values[1] = static_cast<int32_t>(dims.at("pages"));
  if (name == "row_indptr" && count > 1) values[1] = static_cast<int32_t>(dims.at("rows"));
  return values;
}

class StepCounter {
 public:
  StepCounter(const BuiltPlan& built, int64_t rows, int64_t tokens, int64_t most_groups)
      : plan_(built.plan), kernels_(built.kernels), tokens_(tokens), most_groups_(most_groups) {
    int64_t pages = (tokens + 15) / 16;
    dims_ = {{"rows", rows}, {"batch", 1}, {"wanted", 1}, {"copies", 1}, {kPoolSlots, 2}};
    for (const PlanState& s : plan_.states)
      dims_[of_group("pages", s.group)] = dims_[of_group(kPoolPages, s.group)] = pages;
  }

  CountedStep count(const PlanFunction& f) {
    int64_t rows = dims_.at("rows");
    CountedStep step{.function = f.name, .rows = rows, .tokens = tokens_};
    for (const PlanState& s : plan_.states) step.layers += s.layers;
    auto body = std::find_if(f.bodies.begin(), f.bodies.end(), [&](const PlanBody& b) {
      return std::all_of(b.guards.begin(), b.guards.end(),
                         [&](const PlanGuard& g) { return g.holds(dims_.at(plan_.symbols[g.symbol])); });
    });
    std::map<uint32_t, size_t> known;  // kernel -> its place in the step
    for (const PlanCall& call : body->calls) {
      ++step.dispatches;
      auto [at, added] = known.try_emplace(call.kernel, step.kernels.size());
      if (added) step.kernels.push_back(count(f, call));
      ++step.kernels[at->second].calls;
    }
    return step;
  }

 private:
  CountedKernel count(const PlanFunction& f, const PlanCall& call) {
    const kernel::Function& k = kernels_[call.kernel];
    std::vector<int64_t> dims;
    for (ExprId e : call.dims) dims.push_back(evaluate(plan_, e, dims_));
    std::vector<std::vector<int32_t>> memory;
    std::vector<kernel::HostBuffer> buffers;
    for (size_t i = 0; i < call.buffers.size(); ++i) {
      auto words = k.buffers[i]->size.evaluate(dims_);
      internal_check(words.has_value(), "a buffer's size has no value");
      *words *= k.buffers[i]->element.lanes;
      const PlanBuffer& b = call.buffers[i];
      if (b.space == PlanBuffer::Space::kArgument && k.buffers[i]->element.dtype == DType::kI32)
        memory.push_back(argument(f.arguments[b.index].name, *words, dims_, tokens_));
      else
        memory.emplace_back(static_cast<size_t>(*words));
      if (k.buffers[i]->name == "slot_rows") slots_ = *words;
      if (k.buffers[i]->name == "indptr") spread(memory.back());
    }
    for (auto& m : memory) buffers.push_back({m.data(), static_cast<int64_t>(m.size() * 4)});
    CountedKernel out{.count = kernel::count(k, buffers, dims, most_groups_)};
    for (size_t i = 0; i < call.buffers.size(); ++i) {
      if (call.buffers[i].space != PlanBuffer::Space::kWeight) continue;
      const PlanWeight& weight = plan_.weights[call.buffers[i].index];
      if (weight.sources.empty() || weight.source_shapes[0].size() < 2) continue;
      out.weight_bytes += weight.bytes;
      out.weight_fetched += out.count.buffers[i].fetched;
      out.weight_used += out.count.buffers[i].fetched_used;
    }
    return out;
  }

  // As many slots for each expert.
  void spread(std::vector<int32_t>& indptr) const {
    const auto experts = static_cast<int64_t>(indptr.size()) - 1;
    for (int64_t e = 0; e <= experts; ++e) indptr[size_t(e)] = static_cast<int32_t>(e * slots_ / experts);
  }

  const Plan& plan_;
  const std::vector<kernel::Function>& kernels_;
  int64_t tokens_, most_groups_;
  int64_t slots_ = 0;  // of experts, as the last call that sorted them says
  Values dims_;
};

std::string line(const char* format, auto... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

double megabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e6; }

std::string kernel_line(const CountedKernel& k) {
  const kernel::KernelCount& c = k.count;
  int64_t fetched = 0, used = 0;
  for (const auto& b : c.buffers) fetched += b.fetched + b.written, used += b.fetched_used + b.written_used;
  double of_ideal = k.weight_bytes ? double(k.weight_fetched) / double(k.weight_bytes) : 0;
  double weight_used = k.weight_fetched ? double(k.weight_used) / double(k.weight_fetched) : 0;
  return line("  %-22s %5lld %8lld x %-3lld %10.3f %6.1f %8.3f %6.1f %9lld %9lld %9lld\n", c.name.c_str(),
              static_cast<long long>(k.calls), static_cast<long long>(c.groups),
              static_cast<long long>(c.threads), megabytes(fetched),
              fetched ? 100.0 * double(used) / double(fetched) : 0.0, of_ideal, 100 * weight_used,
              static_cast<long long>(c.conflicts()), static_cast<long long>(c.barriers),
              static_cast<long long>(c.divergent));
}

}  // namespace

std::vector<CountedStep> count_model(const BuiltPlan& built, int64_t rows, int64_t tokens,
                                     int64_t most_groups) {
  std::vector<CountedStep> steps;
  for (auto [name, count] : {std::pair{"decode", int64_t{1}}, {"prefill", rows}}) {
    const PlanFunction* f = built.plan.find_function(name);
    internal_check(f != nullptr, "the model has no function ", name);
    steps.push_back(StepCounter(built, count, std::max(tokens, count), most_groups).count(*f));
  }
  return steps;
}

std::string count_table(const std::vector<CountedStep>& steps) {
  std::string out;
  for (const CountedStep& s : steps) {
    out += str(s.function, ", ", s.rows, s.rows == 1 ? " row" : " rows", ", ", s.tokens,
               " tokens in the cache\n");
    out += line("  %-22s %5s %14s %10s %6s %8s %6s %9s %9s %9s\n", "kernel", "calls", "groups x thr.",
                "MB moved", "used %", "weights", "used %", "conflicts", "barriers", "divergent");
    int64_t moved = 0;
    for (const CountedKernel& k : s.kernels) {
      out += kernel_line(k);
      moved += k.calls * k.count.moved();
    }
    out += line("  %.1f MB moved in %lld dispatches", megabytes(moved), static_cast<long long>(s.dispatches));
    if (s.layers) out += line(", %lld a layer", static_cast<long long>(s.dispatches / s.layers));
    out += "\n";
  }
  return out +
         "  figures are of one call; weights: bytes moved / bytes of the weights, of all experts; used: of "
         "the 32-byte "
         "sectors moved\n";
}

}  // namespace mlc
