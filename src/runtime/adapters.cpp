// Loads adapters into the stacks of a model.
#include "runtime/adapters.h"

#include <algorithm>
#include <numeric>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc::runtime {
namespace {

Status damaged(const Module& module) {
  return Status::error(module.path() +
                       ": the manifest's key 'lora' does not fit the plan; compile the model again");
}

// The stack of that name, of as many bytes.
Result<DeviceAddress> find_stack(const Module& module, const std::vector<DeviceAddress>& weights,
                                 const std::string& name, int64_t elements) {
  const std::vector<PlanWeight>& all = module.plan().weights;
  const auto found = std::ranges::find(all, name, &PlanWeight::name);
  if (found == all.end() || !found->sources.empty() || found->bytes != 4 * elements) return damaged(module);
  return weights[static_cast<size_t>(found - all.begin())];
}

Result<std::vector<int64_t>> integers(const Json& object, const char* key, const Module& module) {
  std::vector<int64_t> values;
  if (const Json* list = find(object, key))
    for (const Json& value : *list) {
      if (!value.is_number_integer()) return damaged(module);
      values.push_back(value.get<int64_t>());
    }
  return values;
}

// Of each place of an axis that SourceExpr::permute reorders, where it comes from.
std::vector<int64_t> permuted(const std::vector<int64_t>& dims, const std::vector<int64_t>& order,
                              int64_t n) {
  std::vector<int64_t> sources(static_cast<size_t>(n));
  std::vector<int64_t> stride(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) stride[d - 1] = stride[d] * dims[d];
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i, place = 0;
    for (size_t k = order.size(); k-- > 0;) {
      const auto d = static_cast<size_t>(order[k]);
      place += rest % dims[d] * stride[d];
      rest /= dims[d];
    }
    sources[static_cast<size_t>(i)] = place;
  }
  return sources;
}

bool is_order(const std::vector<int64_t>& dims, std::vector<int64_t> order, int64_t n) {
  int64_t product = 1;
  for (int64_t d : dims) {
    if (d < 1 || d > n) return false;
    product *= d;
  }
  std::ranges::sort(order);
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int64_t>(i)) return false;
  return dims.size() == order.size() && product == n;
}

}  // namespace

Result<Adapters::Target> Adapters::read_target(const Json& json, const Module& module,
                                               const std::vector<DeviceAddress>& weights) const {
  Target t;
  ASSIGN_OR_RETURN(t.name, get_string(json, "name", module.path()));
  ASSIGN_OR_RETURN(t.in, get_int(json, "in", module.path()));
  ASSIGN_OR_RETURN(const Json* parts, get_array(json, "parts", module.path()));
  for (const Json& part : *parts) {
    Part& p = t.parts.emplace_back();
    ASSIGN_OR_RETURN(p.module, get_string(part, "module", module.path()));
    ASSIGN_OR_RETURN(p.columns, get_int(part, "columns", module.path()));
    if (p.columns < 1 || p.columns > (int64_t{1} << 32)) return damaged(module);
    t.out += p.columns;
  }
  if (t.in < 1 || t.in > (int64_t{1} << 32) || t.parts.empty() || t.parts.size() > 64) return damaged(module);
  t.scale = find_number(json, "scale").value_or(1);
  ASSIGN_OR_RETURN(const std::vector<int64_t> dims, integers(json, "output_dims", module));
  ASSIGN_OR_RETURN(const std::vector<int64_t> order, integers(json, "output_order", module));
  t.column_sources.resize(static_cast<size_t>(t.out));
  std::iota(t.column_sources.begin(), t.column_sources.end(), 0);
  if (!order.empty()) {
    if (!is_order(dims, order, t.out)) return damaged(module);
    t.column_sources = permuted(dims, order, t.out);
  }
  const int64_t inner = static_cast<int64_t>(t.parts.size()) * rank_;
  ASSIGN_OR_RETURN(t.a, find_stack(module, weights, t.name + ".lora_A", capacity() * t.in * inner));
  ASSIGN_OR_RETURN(t.b, find_stack(module, weights, t.name + ".lora_B", capacity() * rank_ * t.out));
  return t;
}

Result<Adapters> Adapters::create(const Module& module, const std::vector<DeviceAddress>& weights) {
  Adapters adapters;
  adapters.device_ = &module.device();
  adapters.library_ = module.path();
  const Json* lora = mlc::find(module.manifest(), "lora");
  if (!lora) return adapters;
  ASSIGN_OR_RETURN(const int64_t count, get_int(*lora, "adapters", module.path()));
  ASSIGN_OR_RETURN(adapters.rank_, get_int(*lora, "rank", module.path()));
  if (count < 1 || count > (1 << 16) || adapters.rank_ < 1 || adapters.rank_ > (1 << 16))
    return damaged(module);
  adapters.names_.resize(static_cast<size_t>(count));
  ASSIGN_OR_RETURN(const Json* targets, get_array(*lora, "targets", module.path()));
  for (const Json& target : *targets) {
    ASSIGN_OR_RETURN(Target t, adapters.read_target(target, module, weights));
    adapters.targets_.push_back(std::move(t));
  }
  return adapters;
}

std::vector<std::string> Adapters::names() const {
  std::vector<std::string> names;
  std::ranges::copy_if(names_, std::back_inserter(names), [](const std::string& n) { return !n.empty(); });
  return names;
}

int32_t Adapters::find(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  return name.empty() || found == names_.end() ? -1 : static_cast<int32_t>(found - names_.begin());
}

std::string Adapters::listed() const {
  const std::vector<std::string> loaded = names();
  return loaded.empty() ? "there is none" : "there are: " + join(loaded, ", ");
}

// The adapter's modules by target and part; nullptr: it leaves a part alone.
Status Adapters::match(const LoraAdapter& adapter,
                       std::vector<std::vector<const LoraModule*>>& matched) const {
  for (const Target& t : targets_) matched.emplace_back(t.parts.size(), nullptr);
  for (const LoraModule& m : adapter.modules) {
    bool found = false;
    for (size_t t = 0; t < targets_.size() && !found; ++t)
      for (size_t p = 0; p < targets_[t].parts.size() && !found; ++p) {
        const Part& part = targets_[t].parts[p];
        if (!same_module(part.module, m.name)) continue;
        found = true;
        if (m.in != targets_[t].in || m.out != part.columns)
          return Status::error(str(adapter.folder, ": the adapter changes ", shown_name(m.name), " of ",
                                   m.out, " outputs and ", m.in, " inputs, ", library_, " has ", part.columns,
                                   " and ", targets_[t].in, adapter.made_for()));
        if (matched[t][p])
          return Status::error(str(adapter.folder, ": two of the adapter's modules are ",
                                   shown_name(part.module), " of ", library_));
        matched[t][p] = &m;
      }
    if (!found)
      return Status::error(str(adapter.folder, ": the adapter changes ", shown_name(m.name),
                               ", which is no linear that ", library_, " can change", adapter.made_for()));
  }
  return Status::ok();
}

Status Adapters::fill(const Target& t, const std::vector<const LoraModule*>& modules, int32_t slot) const {
  const auto inner = t.parts.size() * static_cast<size_t>(rank_), out = static_cast<size_t>(t.out);
  std::vector<float> a(static_cast<size_t>(t.in) * inner), b(static_cast<size_t>(rank_) * out);
  std::vector<float> in_order(b.size());
  int64_t first = 0;
  for (size_t p = 0; p < modules.size(); first += t.parts[p++].columns) {
    if (!modules[p]) continue;
    const LoraModule& m = *modules[p];
    const double scale = m.scale * t.scale;
    for (int64_t j = 0; j < m.rank; ++j) {
      for (int64_t i = 0; i < m.in; ++i)
        a[static_cast<size_t>(i) * inner + p * static_cast<size_t>(rank_) + static_cast<size_t>(j)] =
            m.a[static_cast<size_t>(j * m.in + i)];
      for (int64_t c = 0; c < m.out; ++c)
        in_order[static_cast<size_t>(j * t.out + first + c)] =
            static_cast<float>(scale * m.b[static_cast<size_t>(c * m.rank + j)]);
    }
  }
  for (size_t j = 0; j < static_cast<size_t>(rank_); ++j)
    for (size_t c = 0; c < out; ++c)
      b[j * out + c] = in_order[j * out + static_cast<size_t>(t.column_sources[c])];
  auto put = [&](DeviceAddress stack, const std::vector<float>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    stack.offset += slot * static_cast<int64_t>(bytes.size());
    stack.bytes = static_cast<int64_t>(bytes.size());
    return device_->copy_in(device_->self, stack, bytes);
  };
  RETURN_IF_ERROR(put(t.a, a));
  return put(t.b, b);
}

Result<int32_t> Adapters::load(const std::string& name, const std::string& folder) {
  if (capacity() == 0)
    return Status::error(str("adapter: ", library_,
                             " was compiled for none; compile the model again with --lora-adapters 4 "
                             "--lora-rank 16, or as many as there shall be"));
  if (name.empty()) return Status::error("adapter: its name is empty");
  if (find(name) >= 0) return Status::error(str("adapter: ", shown_name(name), " is loaded already"));
  const auto free = std::ranges::find(names_, "");
  if (free == names_.end())
    return Status::error(str("adapter: ", library_, " holds ", capacity(), " at once and ", listed(),
                             "; unload one, or compile the model again with a larger --lora-adapters"));
  ASSIGN_OR_RETURN(const LoraAdapter adapter, read_lora_adapter(folder));
  if (adapter.rank() > rank_)
    return Status::error(str(folder, ": the adapter has rank ", adapter.rank(), ", ", library_, " holds ",
                             rank_, " at most; compile the model again with --lora-rank ", adapter.rank()));
  std::vector<std::vector<const LoraModule*>> matched;
  RETURN_IF_ERROR(match(adapter, matched));
  const auto slot = static_cast<int32_t>(free - names_.begin());
  for (size_t t = 0; t < targets_.size(); ++t) RETURN_IF_ERROR(fill(targets_[t], matched[t], slot));
  *free = name;
  return slot;
}

Status Adapters::unload(std::string_view name) {
  const int32_t slot = find(name);
  if (slot < 0) return Status::error(str("adapter: ", shown_name(name), " is not loaded; ", listed()));
  names_[static_cast<size_t>(slot)].clear();
  return Status::ok();
}

}  // namespace mlc::runtime
