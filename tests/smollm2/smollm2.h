// SmolLM2-135M-Instruct converted and compiled for a test. The file comes by scripts/model.
#pragma once

#include <gtest/gtest.h>

#include "base/target/target.h"
#include "chat/template/chat_template.h"
#include "chat/tokenizer/tokenizer.h"
#include "support/compiled_model.h"
#include "weights/gen_config.h"

namespace mlc::testing {

inline std::string smollm2_file() {
  return std::string(MLC_SOURCE_DIR) + "/.cache/model/SmolLM2-135M-Instruct.Q4_1.gguf";
}

// For a test's SetUp.
inline void check_smollm2_is_here() {
  ASSERT_TRUE(file_exists(smollm2_file())) << "SmolLM2 is not here; run scripts/model";
}

// Weights of one quantization in a temporary folder, libraries of several levels beside them.
class SmolLM2 {
 public:
  explicit SmolLM2(const std::string& scheme) {
    convert_checkpoint(smollm2_file(), scheme, folder_.path());
    weights::ModelSource source = must(weights::open_source({.config = smollm2_file()}));
    config_ = must(weights::generate_config(source, {.quantization = scheme}, folder_.path())).config;
  }

  LoadedModel load(int opt_level, const runtime::ModelLimits& limits) const {
    const std::string library = folder_.file("O" + std::to_string(opt_level) + ".so");
    if (!file_exists(library)) compile_to(library, config_, opt_level, must(targets_for_host("auto")));
    return LoadedModel::load(must(runtime::open_device("cpu")), library, folder_.path(), limits);
  }

  // On another device, with these variants.
  LoadedModel load_on(const std::string& device, const std::vector<Target>& targets, int opt_level,
                      const runtime::ModelLimits& limits) const {
    return LoadedModel::load(must(runtime::open_device(device)), library_for(targets, opt_level),
                             folder_.path(), limits);
  }

  std::string library_for(const std::vector<Target>& targets, int opt_level) const {
    const std::string library = folder_.file(targets.front().name + "-O" + std::to_string(opt_level) + ".so");
    if (!file_exists(library)) compile_to(library, config_, opt_level, targets);
    return library;
  }
  const std::string& folder() const { return folder_.path(); }

  std::shared_ptr<const Tokenizer> tokenizer() const { return must(Tokenizer::load(folder_.path())); }

  // The tokens of a chat's first question, up to the answer.
  std::vector<int32_t> chat_prompt(const std::string& question) const {
    const Conversation conversation =
        must(Conversation::from_json(config_.at("conv_template"), "mlc-chat-config.json"));
    const ChatTemplate chat = must(ChatTemplate::create(conversation, "mlc-chat-config.json"));
    return must(chat.encode(Json::array({{{"role", "user"}, {"content", question}}}), *tokenizer()));
  }

 private:
  TempFolder folder_;
  Json config_;
};

}  // namespace mlc::testing
