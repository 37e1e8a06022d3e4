// Models converted and compiled in this process, into a folder that is gone after the test.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "compile.h"
#include "frontend/model.h"
#include "runtime/devices/registry.h"
#include "runtime/model.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/convert.h"
#include "weights/source.h"

namespace mlc::testing {

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

inline void must(const Status& status) {
  if (!status.is_ok()) throw std::runtime_error(status.message());
}

// What convert_weight writes for a folder or GGUF file; `raw_f32`: float32 is stored as it is, not as
// bfloat16; `lora_adapter`: a folder to merge, "": none.
inline void convert_checkpoint(const std::string& source_path, const std::string& scheme_name,
                               const std::string& folder, bool raw_f32 = false,
                               const std::string& lora_adapter = "") {
  const weights::ModelSource source =
      must(weights::open_source({.config = source_path, .lora_adapter = lora_adapter}));
  const QuantScheme scheme = must(find_quant_scheme(scheme_name));
  const frontend::BuiltModel model = frontend::build_model(source.config, scheme);
  weights::Plan plan = must(weights::make_plan(model.parameters, model.unused_sources, scheme,
                                               source.checkpoint.get(), source_path, {.raw_f32 = raw_f32}));
  must(weights::convert(plan, *source.checkpoint, folder, {.threads = 2}));
}

// The mlc-chat-config.json of a toy, with this scheme, as far as a compiler reads it. The context has at
// least the 64 tokens of the tests.
inline Json toy_config(const std::string& toy, const std::string& scheme) {
  frontend::ModelConfig config =
      must(frontend::parse_hf_config(must(read_json_file(toy_file(toy, "config.json"))), "auto", toy));
  must(frontend::apply_overrides(config, {.max_batch_size = 128}));
  if (const int64_t context = config.has("context_window_size") ? config.get_int("context_window_size") : -1;
      context >= 0 && context < 64)
    must(frontend::apply_overrides(config, {.context_window_size = 64, .prefill_chunk_size = 64}));
  if (config.get_int("prefill_chunk_size") < 64)
    must(frontend::apply_overrides(config, {.prefill_chunk_size = 64}));
  return {{"model_type", config.model_type},
          {"quantization", scheme},
          {"model_config", config.fields},
          {"source_config", frontend::source_config(config)}};
}

// Compiles for the targets and writes the library, which holds so many LoRA adapters.
inline void compile_to(const std::string& path, const Json& config, int opt_level,
                       const std::vector<Target>& targets, bool tree_verify = false,
                       int64_t lora_adapters = 0, int64_t lora_rank = 0) {
  CompileOptions options;
  options.tree_verify = tree_verify;
  options.lora_adapters = lora_adapters, options.lora_rank = lora_rank;
  options.opt_level = opt_level;
  options.targets = targets;
  must(write_file(path, must(compile_model(config, "mlc-chat-config.json", options)).library));
}

// A device, a library and a model that runs on them.
struct LoadedModel {
  runtime::DevicePtr device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<runtime::Model> model;
  runtime::Model* operator->() const { return model.get(); }

  LoadedModel() = default;
  LoadedModel(LoadedModel&&) = default;
  // The old model goes before the device that its memory belongs to.
  LoadedModel& operator=(LoadedModel&& other) {
    model = std::move(other.model);
    module = std::move(other.module);
    device = std::move(other.device);
    return *this;
  }

  static LoadedModel load(runtime::DevicePtr device, const std::string& library, const std::string& weights,
                          const runtime::ModelLimits& limits) {
    LoadedModel loaded;
    loaded.device = std::move(device);
    loaded.module = must(runtime::Module::load(*loaded.device, library));
    loaded.model = must(runtime::Model::load(*loaded.device, loaded.module, weights, limits));
    return loaded;
  }
  // Logits of a step as a vector of its own.
  std::vector<float> step(const std::vector<runtime::StepSequence>& sequences,
                          runtime::WantLogits want) const {
    std::span<const float> logits = must(model->step(sequences, want));
    return {logits.begin(), logits.end()};
  }
};

}  // namespace mlc::testing
