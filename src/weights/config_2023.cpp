// Completes configs of 2023.
#include "weights/config_2023.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "formats/params_2023.h"
#include "frontend/config.h"

namespace mlc::weights {
namespace {

// What the weights of a model do not tell: config.json on the hub of the models that build.py's document
// lists.
struct KnownModel {
  const char* model_type;
  int64_t hidden, inner, layers, heads;
  double rotary_share = 1;  // gpt_neox
  bool parallel = false;
  int64_t context = 2048;
};
constexpr KnownModel kModels[] = {
    {"gpt_neox", 2560, 10240, 32, 32},                    // RedPajama-INCITE 3B; Dolly 3B: see below
    {"gpt_neox", 4096, 16384, 32, 32},                    // RedPajama-INCITE 7B; Dolly 7B: see below
    {"gpt_neox", 5120, 20480, 36, 40, 0.25, true},        // Dolly 12B
    {"gpt_neox", 4096, 16384, 16, 32, 0.25, true, 4096},  // StableLM 3B
    {"gpt_neox", 6144, 24576, 16, 48, 0.25, true, 4096},  // StableLM 7B
    {"llama", 3200, 8640, 26, 32},                        // OpenLLaMA 3B
    {"llama", 4096, 11008, 32, 32},                       // 7B: LLaMA, Vicuna, Gorilla, OpenLLaMA, Llama 2
    {"llama", 5120, 13824, 40, 40},                       // 13B
    {"llama", 6656, 17920, 60, 52},                       // 30B
    {"llama", 8192, 22016, 80, 64},                       // 65B
    {"llama", 8192, 28672, 80, 64, 1, false, 4096},       // Llama 2 70B
};
constexpr int64_t kDollyVocab = 50280;  // of Pythia's sizes, which RedPajama shares: its vocabulary is 50432

// Whether the names in a config of 2023 say what model it is.
bool is_named(const Json& config, const char* word) {
  for (const char* key : {"local_id", "model_lib", "conv_template"}) {
    std::string name = find_string(config, key).value_or("");
    for (char& c : name) c = c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (name.find(word) != name.npos) return true;
  }
  return false;
}

// As config.json of the checkpoint has it.
Result<Json> guess_config(const Json& config, const Params2023& params, const std::string& path) {
  const auto known = std::ranges::find_if(kModels, [&](const KnownModel& m) {
    return params.model_type == m.model_type && params.hidden == m.hidden && params.inner == m.inner &&
           params.layers == m.layers && (params.head_dim == 0 || params.head_dim == m.hidden / m.heads);
  });
  if (known == std::end(kModels))
    return Status::error(str(path, ": the weights beside it are of 2023 and tell no heads, and no ",
                             params.model_type, " with ", params.layers, " layers of ", params.hidden,
                             " and ", params.inner,
                             " is known; put the checkpoint's config.json beside them"));
  Json hf = {{"model_type", params.model_type},           {"hidden_size", params.hidden},
             {"intermediate_size", params.inner},         {"num_hidden_layers", params.layers},
             {"num_attention_heads", known->heads},       {"vocab_size", params.vocab},
             {"max_position_embeddings", known->context}, {"tie_word_embeddings", false}};
  if (params.model_type == "gpt_neox") {
    const bool dolly = params.vocab == kDollyVocab;
    hf["rotary_pct"] = dolly ? 0.25 : known->rotary_share;
    hf["use_parallel_residual"] = dolly || known->parallel;
    hf["layer_norm_eps"] = 1e-5, hf["rotary_emb_base"] = 10000, hf["hidden_act"] = "gelu";
    return hf;
  }
  // Models after Llama 2 differ in what no weight shows.
  const bool second = known->context == 4096 || is_named(config, "llama-2") || is_named(config, "llama2"),
             code = is_named(config, "codellama");
  hf["num_key_value_heads"] = params.key_rows * known->heads / params.hidden;
  hf["rms_norm_eps"] = second || code ? 1e-5 : 1e-6;
  if (second) hf["max_position_embeddings"] = 4096;
  if (code) hf["max_position_embeddings"] = 16384, hf["rope_theta"] = 1e6;
  return hf;
}

Result<Json> complete(Json config, const Params2023& params, const std::string& folder,
                      const std::string& path) {
  const std::string beside = path_join(folder, "config.json");
  Json hf;
  if (file_exists(beside)) {
    ASSIGN_OR_RETURN(hf, read_json_file(beside));
  } else {
    ASSIGN_OR_RETURN(hf, guess_config(config, params, path));
  }
  ASSIGN_OR_RETURN(frontend::ModelConfig model,
                   frontend::parse_hf_config(hf, "auto", file_exists(beside) ? beside : path));
  if (model.model_type != params.model_type)
    return Status::error(
        str(beside, ": is of a ", model.model_type, ", the weights beside it are of a ", params.model_type));
  if (auto window = find_int(config, "max_window_size"); window && *window > 0)
    RETURN_IF_ERROR(frontend::apply_overrides(model, {.context_window_size = *window}));
  else
    RETURN_IF_ERROR(frontend::apply_overrides(model, {}));
  config["model_type"] = model.model_type, config["quantization"] = params.quantization;
  config["model_config"] = model.fields;
  config["vocab_size"] = frontend::model_shape(model).vocab;
  for (const char* key : {"context_window_size", "prefill_chunk_size"})
    if (model.has(key)) config[key] = model.get_int(key);
  const bool llama = model.model_type == "llama";
  config["bos_token_id"] = llama ? 1 : 0;
  if (!config.contains("eos_token_id")) config["eos_token_id"] = llama ? 2 : 0;
  if (Json source = frontend::source_config(model); !source.empty())
    config["source_config"] = std::move(source);
  return config;
}

}  // namespace

Result<Json> read_chat_config(const std::string& path) {
  ASSIGN_OR_RETURN(Json config, read_json_file(path));
  if (!config.is_object())
    return Status::error(path + ": expected a JSON object written by `mlc_llm gen_config`");
  if (config.contains("model_config")) return config;
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  auto place = find_shard_index(folder);
  if (!place.is_ok()) return config;
  ASSIGN_OR_RETURN(const std::string text, read_file(*place));
  ASSIGN_OR_RETURN(const ShardIndex index, parse_shard_index(text, *place));
  if (!is_2023(index)) return config;
  ASSIGN_OR_RETURN(const Params2023 params, read_params_2023(index, *place));
  return complete(std::move(config), params, folder, path);
}

}  // namespace mlc::weights
