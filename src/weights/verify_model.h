// Opens what `mlc_llm verify` compares: a Hugging Face folder, a GGUF file or a folder of converted weights.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "chat/tokenizer/tokenizer.h"
#include "weights/source.h"
#include "weights/verify.h"

namespace mlc::weights {

class OpenedModel {
 public:
  // `path` exists on this machine. A folder with an index of shards is a converted one. Errors name the file.
  static Result<std::unique_ptr<OpenedModel>> open(const std::string& path, int threads);
  // A checkpoint that is open already; it must outlive the result.
  static Result<std::unique_ptr<OpenedModel>> of_source(const ModelSource& source, int threads);
  // A folder converted by this config and scheme, with or without an mlc-chat-config.json.
  static Result<std::unique_ptr<OpenedModel>> of_folder(const std::string& folder,
                                                        const frontend::ModelConfig& config,
                                                        const QuantScheme& scheme, int threads);

  const std::string& name() const { return name_; }
  VerifyModel model() const { return {name_, config_, *weights_}; }
  // The error says what is missing or damaged.
  const Result<std::shared_ptr<const Tokenizer>>& tokenizer() const { return tokenizer_; }
  // What the config and the weights hold that is not applied.
  const std::vector<std::string>& notes() const { return config_.notes; }

 private:
  explicit OpenedModel(std::string name) : name_(std::move(name)) {}
  std::string name_;
  frontend::ModelConfig config_;
  std::unique_ptr<ModelSource> source_;
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<ModelWeights> weights_;
  Result<std::shared_ptr<const Tokenizer>> tokenizer_ = Status::error("no tokenizer");
};

// The tokens of a text that both models read it as. Errors: neither has a tokenizer; they cut the text
// otherwise.
Result<std::vector<int32_t>> common_tokens(const OpenedModel& a, const OpenedModel& b, std::string_view text);

}  // namespace mlc::weights
