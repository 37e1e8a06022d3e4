// Builds and runs the two models that --verify compares.
#include "apps/cli/verify.h"

#include <algorithm>

#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "base/temp_folder.h"
#include "compile.h"
#include "frontend/model.h"
#include "runtime/devices/registry.h"
#include "runtime/model.h"
#include "weights/convert.h"
#include "weights/quantize/calibration.h"
#include "weights/verify.h"

namespace mlc::cli {
namespace {

constexpr int64_t kContext = 2048, kChunk = 64;  // tokens of a window, and of a step

// The unquantized scheme that keeps every value of the checkpoint.
QuantScheme exact_scheme(const Checkpoint& checkpoint) {
  auto all = [&](DType dtype) {
    return std::all_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                       [&](const SourceTensor& t) { return t.dtype == dtype; });
  };
  return *find_quant_scheme(all(DType::kF16) ? "q0f16" : all(DType::kBF16) ? "q0bf16" : "q0f32");
}

Status convert_exactly(const weights::ModelSource& source, const QuantScheme& scheme,
                       const std::string& folder, int threads) {
  frontend::BuiltModel model = frontend::build_model(source.config, scheme);
  ASSIGN_OR_RETURN(
      weights::Plan plan,
      weights::make_plan(model.parameters, model.unused_sources, scheme, source.checkpoint.get(),
                         source.config_path, {.threads = threads, .raw_f32 = true, .ignore_extra = true}));
  Progress progress("writing the source's weights", plan.output_bytes());
  return weights::convert(plan, *source.checkpoint, folder,
                          {.threads = threads, .progress = [&](int64_t n) { progress.add(n); }})
      .status();
}

// A library for `scheme` at O0, and the model of `folder` on it.
Result<std::unique_ptr<runtime::Model>> load_model(const weights::ModelSource& source,
                                                   const QuantScheme& scheme, const std::string& folder,
                                                   const std::string& library, runtime::Device& device) {
  frontend::ModelConfig config = source.config;
  int64_t context = std::min(
      kContext, config.get_int("context_window_size") > 0 ? config.get_int("context_window_size") : kContext);
  RETURN_IF_ERROR(frontend::apply_overrides(config, {.context_window_size = context,
                                                     .prefill_chunk_size = std::min(kChunk, context),
                                                     .max_batch_size = 1}));
  Json mlc = {{"version", "0.1.0"},
              {"model_type", config.model_type},
              {"quantization", scheme.name},
              {"model_config", config.fields},
              {"vocab_size", frontend::model_shape(config).vocab},
              {"context_window_size", context},
              {"prefill_chunk_size", config.get_int("prefill_chunk_size")}};
  CompileOptions options;
  options.opt_level = 0;
  ASSIGN_OR_RETURN(options.targets, targets_for_host("auto"));
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(mlc, source.config_path, options));
  RETURN_IF_ERROR(write_file(library, compiled.library));
  ASSIGN_OR_RETURN(auto module, runtime::Module::load(device, library));
  runtime::ModelLimits limits;
  limits.context_tokens = context;
  return runtime::Model::load(device, std::move(module), folder, limits);
}

}  // namespace

Result<weights::VerifyReport> verify(const weights::ModelSource& source, const QuantScheme& scheme,
                                     const std::string& folder, int threads) {
  if (frontend::gives_embeddings(source.config))
    return Status::error(
        str("--verify: ", source.config_path,
            " is of a model that gives embeddings, and logits are compared; leave the flag out"));
  ASSIGN_OR_RETURN(TempFolder temp, TempFolder::create());
  auto tokenizer = weights::source_tokenizer(source);
  if (!tokenizer.is_ok())
    return Status::error("--verify: needs the model's tokenizer: " + tokenizer.status().message());
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, (*tokenizer)->encode(weights::verify_sample()));
  QuantScheme exact = exact_scheme(*source.checkpoint);
  RETURN_IF_ERROR(convert_exactly(source, exact, temp.path(), threads));
  ASSIGN_OR_RETURN(auto device, runtime::open_device("cpu", {.threads = threads}));
  ASSIGN_OR_RETURN(auto reference, load_model(source, exact, temp.path(), temp.file("source.so"), *device));
  ASSIGN_OR_RETURN(auto converted, load_model(source, scheme, folder, temp.file("converted.so"), *device));
  Progress progress("verifying", static_cast<int64_t>(tokens.size()));
  ASSIGN_OR_RETURN(
      weights::VerifyReport report,
      weights::compare_models(*reference, *converted, tokens, [&](int64_t n) { progress.add(n); }));
  RETURN_IF_ERROR(weights::write_verify_report(folder, report));
  return report;
}

}  // namespace mlc::cli
