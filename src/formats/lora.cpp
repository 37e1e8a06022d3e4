// Reads PEFT adapters.
#include "formats/lora.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/checkpoint.h"
#include "formats/module_pattern.h"
#include "formats/quant/plain.h"

namespace mlc {
namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kPrefix = "base_model.model.";

bool is_set(const Json& config, const char* key) {
  const Json* value = find(config, key);
  if (!value) return false;
  if (value->is_boolean()) return value->get<bool>();
  return !(value->is_structured() || value->is_string()) || !value->empty();
}

Status check_kind(const Json& config, const std::string& path) {
  const std::string kind = find_string(config, "peft_type").value_or("LORA");
  if (kind != "LORA")
    return Status::error(str(path, ": key 'peft_type' is ", shown_name(kind), ", expected LORA"));
  if (const std::string bias = find_string(config, "bias").value_or("none"); bias != "none")
    return Status::error(str(path, ": key 'bias' is ", shown_name(bias),
                             ", expected none: an adapter with biases is not supported"));
  if (is_set(config, "use_dora"))
    return Status::error(
        path +
        ": key 'use_dora' is true: DoRA adapters are not supported; merge this one with PEFT "
        "and convert the merged model");
  for (const char* key : {"modules_to_save", "layer_replication", "lora_bias", "trainable_token_indices",
                          "target_parameters", "alora_invocation_tokens", "use_qalora", "use_bdlora"})
    if (is_set(config, key))
      return Status::error(str(path, ": key '", key, "' is set, and what it changes beside linears is not ",
                               "supported; merge the adapter with PEFT and convert the merged model"));
  const std::string init = find_string(config, "init_lora_weights").value_or("");
  for (const char* known : {"pissa", "olora", "corda", "loftq"})
    if (init.starts_with(known))
      return Status::error(str(path, ": key 'init_lora_weights' is ", shown_name(init),
                               ": such an adapter fits a changed base only; save it with PEFT's ",
                               "path_initial_model_for_weight_conversion"));
  return Status::ok();
}

// What the config says of a module: the value of the first pattern of `key` that is its name or end.
Result<std::optional<double>> of_pattern(const Json& config, const char* key, const std::string& module,
                                         const std::string& path) {
  const Json* patterns = find(config, key);
  if (!patterns) return std::optional<double>();
  if (!patterns->is_object())
    return Status::error(str(path, ": key '", key, "' is no object of modules and numbers"));
  for (const auto& [pattern, value] : patterns->items()) {
    ASSIGN_OR_RETURN(bool fits, matches_module(pattern, module, str(path, ": key '", key, "'")));
    if (!fits) continue;
    if (!value.is_number() || !(value.get<double>() > 0))
      return Status::error(str(path, ": key '", key, "' has ", json_text(value), " for ", shown_name(pattern),
                               ", expected a number above 0"));
    return std::optional<double>(value.get<double>());
  }
  return std::optional<double>();
}

// A tensor's module and which of its matrices it is; 0: neither.
struct MatrixName {
  std::string module;
  char which = 0;
};

MatrixName matrix_name(std::string_view tensor) {
  if (tensor.starts_with(kPrefix)) tensor.remove_prefix(std::string_view(kPrefix).size());
  for (const char which : {'A', 'B'})
    for (const char* ending : {".weight", ".default.weight"}) {
      const std::string end = str(".lora_", which, ending);
      if (tensor.ends_with(end)) return {std::string(tensor.substr(0, tensor.size() - end.size())), which};
    }
  return {};
}

Status refuse_tensor(const std::string& path, const std::string& name) {
  const bool dora = name.find("lora_magnitude") != name.npos;
  const bool embedding = name.find("lora_embedding") != name.npos;
  return Status::error(str(path, ": tensor ", shown_name(name), " is ",
                           dora        ? "of a DoRA adapter, which is not supported"
                           : embedding ? "of an adapter of an embedding, which is not supported"
                                       : "no matrix lora_A or lora_B of a linear",
                           "; merge the adapter with PEFT and convert the merged model"));
}

class Reader {
 public:
  explicit Reader(const std::string& folder) { adapter_.folder = folder; }

  Result<LoraAdapter> run() {
    const std::string path = path_join(adapter_.folder, kConfigFile);
    if (!file_exists(path))
      return Status::error(str(adapter_.folder, ": no adapter: it has no ", kConfigFile));
    ASSIGN_OR_RETURN(config_, read_json_file(path));
    RETURN_IF_ERROR(check_kind(config_, path));
    adapter_.base = find_string(config_, "base_model_name_or_path").value_or("");
    adapter_.fan_in_fan_out = find_bool(config_, "fan_in_fan_out").value_or(false);
    rs_ = find_bool(config_, "use_rslora").value_or(false);
    ASSIGN_OR_RETURN(rank_, get_int(config_, "r", path));
    ASSIGN_OR_RETURN(alpha_, get_number(config_, "lora_alpha", path));
    adapter_.files.push_back(path);
    RETURN_IF_ERROR(read_matrices());
    for (LoraModule& m : adapter_.modules) RETURN_IF_ERROR(finish(m, path));
    return std::move(adapter_);
  }

 private:
  Status read_matrices() {
    std::string path = path_join(adapter_.folder, "adapter_model.safetensors");
    if (!file_exists(path)) path = path_join(adapter_.folder, "adapter_model.bin");
    if (!file_exists(path))
      return Status::error(
          str(adapter_.folder, ": it has no adapter_model.safetensors or adapter_model.bin"));
    ASSIGN_OR_RETURN(auto file, Checkpoint::open(path));
    adapter_.files.push_back(path);
    struct Found {
      int a = -1, b = -1;
    };
    std::map<std::string, Found> modules;
    for (int i = 0; i < static_cast<int>(file->tensors().size()); ++i) {
      const SourceTensor& t = file->tensors()[static_cast<size_t>(i)];
      const MatrixName name = matrix_name(t.name);
      if (!name.which) return refuse_tensor(path, t.name);
      if (!t.unread.empty()) return Status::error(str(path, ": tensor ", shown_name(t.name), " ", t.unread));
      if (t.shape.size() != 2 || t.byte_size == 0 || !is_float(t.dtype))
        return Status::error(str(path, ": tensor ", shown_name(t.name), " is ", long_name(t.dtype), " ",
                                 shown_shape(t.shape), ", expected a matrix of floats"));
      (name.which == 'A' ? modules[name.module].a : modules[name.module].b) = i;
    }
    if (modules.empty()) return Status::error(path + ": it has no tensors");
    for (const auto& [module, found] : modules) {
      if (found.a < 0 || found.b < 0)
        return Status::error(str(path, ": module ", shown_name(module), " has no ",
                                 found.a < 0 ? "lora_A" : "lora_B", ".weight beside its other matrix"));
      RETURN_IF_ERROR(add(module, *file, found.a, found.b, path));
    }
    return Status::ok();
  }

  Status add(const std::string& name, const Checkpoint& file, int a, int b, const std::string& path) {
    const auto& shape_a = file.tensors()[static_cast<size_t>(a)].shape;
    const auto& shape_b = file.tensors()[static_cast<size_t>(b)].shape;
    if (shape_a[0] != shape_b[1])
      return Status::error(str(path, ": module ", shown_name(name), " has lora_A ", shown_shape(shape_a),
                               " and lora_B ", shown_shape(shape_b), ", expected one rank"));
    LoraModule& m = adapter_.modules.emplace_back();
    m.name = name, m.rank = shape_a[0], m.in = shape_a[1], m.out = shape_b[0];
    auto read = [&](int index, std::vector<float>& values) {
      std::vector<std::byte> buffer;
      const SourceTensor& t = file.tensors()[static_cast<size_t>(index)];
      values.resize(static_cast<size_t>(t.shape[0] * t.shape[1]));
      decode_floats(t.dtype, file.read(index, buffer).data(), values);
    };
    read(a, m.a);
    read(b, m.b);
    return Status::ok();
  }

  Status finish(LoraModule& m, const std::string& path) {
    ASSIGN_OR_RETURN(std::optional<double> rank, of_pattern(config_, "rank_pattern", m.name, path));
    ASSIGN_OR_RETURN(std::optional<double> alpha, of_pattern(config_, "alpha_pattern", m.name, path));
    const double stated = rank.value_or(static_cast<double>(rank_));
    if (stated != static_cast<double>(m.rank))
      return Status::error(str(path, ": module ", shown_name(m.name), " has matrices of rank ", m.rank,
                               ", the config says ", stated));
    const auto r = static_cast<double>(m.rank);
    m.scale = alpha.value_or(alpha_) / (rs_ ? std::sqrt(r) : r);
    return Status::ok();
  }

  LoraAdapter adapter_;
  Json config_;
  bool rs_ = false;
  int64_t rank_ = 0;
  double alpha_ = 0;
};

}  // namespace

int64_t LoraAdapter::rank() const {
  int64_t most = 0;
  for (const LoraModule& m : modules) most = std::max(most, m.rank);
  return most;
}

std::string LoraAdapter::made_for() const {
  return base.empty() ? "; it was made for another base" : "; it was made for " + shown_name(base);
}

Result<LoraAdapter> read_lora_adapter(const std::string& folder) { return Reader(folder).run(); }

bool same_module(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  return a.ends_with(b) && (a.size() == b.size() || a[a.size() - b.size() - 1] == '.');
}

}  // namespace mlc
