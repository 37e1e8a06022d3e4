// One function for each method's settings.
#include "formats/packing.h"

#include <algorithm>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

using Method = Packing::Method;

constexpr const char* kSupported =
    "AWQ (version gemm), GPTQ, compressed-tensors (pack-quantized, float- and int-quantized), fp8, mxfp4, "
    "bitsandbytes (4 bits) and MLX (2, 4 and 8 bits)";

// Reads one method's settings out of its object; `problem` becomes what is wrong with them.
class Settings {
 public:
  Settings(const Json& json, Packing& packing) : json_(json), packing_(packing) {}
  std::string problem;

  void read(const std::string& method) {
    packing_.name = method;
    if (method == "awq") return awq();
    if (method == "gptq") return gptq();
    if (method == "auto-round" || method == "intel/auto-round") return auto_round();
    if (method == "compressed-tensors") return compressed();
    if (method == "fp8" || method == "fbgemm_fp8" || method == "modelopt") return fp8();
    if (method == "mxfp4") return (void)(packing_.method = Method::kMxFp4);
    if (method == "bitsandbytes") return bitsandbytes();
    if (method == "mlx") return mlx();
    problem = ", a method that nobody here reads";
  }

 private:
  std::string text(const char* key) const { return find_string(json_, key).value_or(""); }

  // bits in `allowed`, and groups of whole words or none.
  void codes(std::initializer_list<int> allowed) {
    const int64_t bits = find_int(json_, "bits").value_or(0),
                  group = find_int(json_, "group_size").value_or(-1);
    if (std::ranges::find(allowed, bits) == allowed.end()) {
      problem = str(" with ", bits, " bits");
      return;
    }
    packing_.bits = static_cast<int>(bits);
    set_group(group);
  }

  void set_group(int64_t group) {
    if (group != -1 && (group < 16 || group > 4096 || group % 16 != 0))
      problem = str(" with groups of ", group);
    else
      packing_.group = group == -1 ? 0 : static_cast<int>(group);
  }

  void awq() {
    packing_.method = Method::kAwq;
    const std::string version = find_string(json_, "version").value_or("gemm");
    if (version != "gemm" && version != "GEMM") problem = str(" with version ", shown_name(version));
    if (find_bool(json_, "zero_point") == false) problem = " without zero_point";
    if (problem.empty()) codes({4});
  }

  void gptq() {
    packing_.method = Method::kGptq;
    packing_.act_order = find_bool(json_, "desc_act").value_or(false);
    packing_.zero_plus = text("checkpoint_format") == "gptq_v2" ? 0 : 1;
    if (const std::string format = text("checkpoint_format");
        !format.empty() && format != "gptq" && format != "gptq_v2")
      problem = str(" with checkpoint_format ", shown_name(format));
    else
      codes({2, 4, 8});
  }

  void auto_round() {
    const std::string packed = text("packing_format");
    if (packed.find("awq") != std::string::npos) return awq();
    if (packed.find("gptq") != std::string::npos) return gptq();
    problem = str(" with packing_format ", shown_name(packed));
  }

  void compressed() {
    packing_.method = Method::kCompressed;
    const Json* groups = find(json_, "config_groups");
    if (!groups || !groups->is_object() || groups->empty()) {
      problem = " without config_groups";
      return;
    }
    for (const auto& [name, group] : groups->items()) {
      const Json* weights = find(group, "weights");
      if (!weights || !weights->is_object()) continue;
      const int64_t bits = find_int(*weights, "num_bits").value_or(0);
      const std::string type = find_string(*weights, "type").value_or("int");
      const bool packed = type == "int" && (bits == 4 || bits == 8), eight = type == "float" && bits == 8;
      if (!packed && !eight) problem = str(" with weights of ", bits, " bits and type ", shown_name(type));
      if (packed) take_packed(*weights, static_cast<int>(bits));
      read_block(find(*weights, "block_structure"));
    }
  }

  void take_packed(const Json& weights, int bits) {
    if (packing_.bits != 0 && packing_.bits != bits) problem = " with groups of different bits";
    packing_.bits = bits;
    packing_.symmetric = find_bool(weights, "symmetric").value_or(true);
    const std::string strategy = find_string(weights, "strategy").value_or("group");
    set_group(strategy == "group" ? find_int(weights, "group_size").value_or(-1) : -1);
  }

  void read_block(const Json* block) {
    if (!block || block->is_null()) return;
    auto whole = [](const Json& v) { return v.is_number_integer() && v > 0 && v <= 32767; };
    if (!block->is_array() || block->size() != 2 || !whole((*block)[0]) || !whole((*block)[1])) {
      problem = str(" with blocks of ", shown_name(json_text(*block)));
      return;
    }
    packing_.block_n = (*block)[0].get<int64_t>(), packing_.block_k = (*block)[1].get<int64_t>();
  }

  void fp8() {
    packing_.method = Method::kFp8;
    if (const std::string algorithm = text("quant_algo"); !algorithm.empty() && algorithm != "FP8")
      problem = str(" with quant_algo ", shown_name(algorithm));
    if (const std::string fmt = text("fmt"); !fmt.empty() && fmt != "e4m3" && fmt != "e5m2")
      problem = str(" with fmt ", shown_name(fmt));
    read_block(find(json_, "weight_block_size"));
  }

  void bitsandbytes() {
    packing_.method = Method::kBitsandbytes;
    if (find_bool(json_, "load_in_4bit") != true) problem = " without load_in_4bit";
  }

  void mlx() {
    packing_.method = Method::kMlx;
    if (const std::string mode = text("mode"); !mode.empty() && mode != "affine")
      problem = str(" with mode ", shown_name(mode));
    else
      codes({2, 4, 8});
    for (const auto& [name, value] : json_.items())
      if (value.is_object()) packing_.modules[name] = value;
  }

  const Json& json_;
  Packing& packing_;
};

}  // namespace

std::string Packing::kept_by() const {
  const bool codes = method == Method::kAwq || (method == Method::kGptq && !act_order) ||
                     (method == Method::kCompressed && !symmetric);
  if (!codes || bits != 4) return "";
  if (group == 128) return "q4f16_autoawq";
  return group == 32 || group == 64 ? str("q4f16_autoawq_g", group) : "";
}

Result<std::optional<Packing>> parse_packing(const Json& config, const std::string& what) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    const Json* said = config.is_object() ? find(config, key) : nullptr;
    if (!said || said->empty() || *said == false) continue;
    if (find_bool(*said, "load_in_4bit") == false && find_bool(*said, "load_in_8bit") == false) continue;
    const bool is_mlx = !find_string(*said, "quant_method") && find_int(*said, "group_size") &&
                        find_int(*said, "bits");  // MLX writes the same under two keys
    const std::string method = find_string(*said, "quant_method").value_or(is_mlx ? "mlx" : "no method");
    Packing packing;
    Settings settings(*said, packing);
    if (said->is_object()) settings.read(method);
    if (said->is_object() && settings.problem.empty()) return std::optional<Packing>(std::move(packing));
    return Status::error(str(what, ": key '", key, "' says that the weights are already quantized by ",
                             shown_name(method), settings.problem,
                             ", expected plain weights (F16, BF16 or F32) or one of ", kSupported,
                             "; convert the checkpoint it was made from, or a GGUF file of it"));
  }
  return std::optional<Packing>();
}

}  // namespace mlc
