// Everything that chat and bench need of a model, opened from what the user named.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/checkpoint.h"
#include "base/json.h"
#include "chat/end_tokens.h"
#include "chat/template/chat_template.h"
#include "runtime/devices/registry.h"
#include "runtime/head_model.h"
#include "runtime/model.h"
#include "serve/engine.h"

namespace CLI {
class App;
}

namespace mlc::cli {

// The LoRA adapters that a session opens with, and what its library holds where it is compiled first.
struct LoraFlags {
  struct Adapter {
    std::string name, folder;  // of PEFT
  };
  std::vector<Adapter> adapters;
  int64_t slots = 0, rank = 0;  // at least; 0: as many, and as large, as `adapters` need
};

struct SessionFlags {
  CheckpointFlags checkpoint;  // MODEL, and how it is converted and changed
  std::string device = "auto", model_lib, overrides, opt;
  LoraFlags lora;
  bool deterministic = false;
  // Set by commands, not by flags: sequences at once, and tokens of all of them (0 = one sequence's context).
  int64_t sequences = 1, total_tokens = 0;
  // Where set: an open device that the model is to share with others that are stepped in turn with it.
  std::shared_ptr<runtime::Device> shared_device;
  // Where set: makes limits of what config and flags say, before any memory is taken.
  std::function<Result<runtime::ModelLimits>(const runtime::Module&, const runtime::Device&,
                                             runtime::ModelLimits)>
      infer_limits;
};

// MODEL and the flags of `command` that say what to open.
void add_session_flags(CLI::App& command, SessionFlags& flags);
// --lora-adapter FOLDER, for commands of which all answers come from one adapter.
void add_lora_flag(CLI::App& command, LoraFlags& flags);

struct Session {
  std::string folder;  // of the converted weights and config
  std::string name;    // what errors about the config start with: its file, or the checkpoint it was made of
  Json config;         // mlc-chat-config.json
  std::shared_ptr<runtime::Device> device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<runtime::Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
  std::unique_ptr<serve::Engine> engine;
  std::string adapter;      // name of the first LoRA adapter, or ""
  double load_seconds = 0;  // of library, tokenizer and weights; not of converting or compiling

  std::vector<EndToken> end_tokens;

  // Defaults of the config with the template's stop strings and the end tokens.
  serve::GenerationConfig generation_defaults() const;
};

// The chat template that an mlc-chat-config.json states; errors start with `what`.
Result<ChatTemplate> open_template(const Json& config, const std::string& what);

// MODEL may be a Hugging Face folder, a GGUF file or a converted folder: what is missing is converted and
// compiled first and kept under MLC_LLM_HOME. Errors: one sentence, naming the file or flag.
Result<std::unique_ptr<Session>> open_session(const SessionFlags& flags);

// A draft head: no text of its own, so neither tokenizer nor template.
struct HeadSession {
  std::shared_ptr<runtime::Device> device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<runtime::HeadModel> heads;
};

// As open_session; of the flags that a text needs none is applied. `max_rows`: HeadModel::load; 0: as many as
// the config's max_batch_size. Errors: also a model that is no draft head.
Result<std::unique_ptr<HeadSession>> open_heads(const SessionFlags& flags, int64_t max_rows);

}  // namespace mlc::cli
