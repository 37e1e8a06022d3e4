// Models opened for the API: what serve and the Python package stand on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/serve_limits.h"
#include "apps/cli/session.h"
#include "service/openai/service.h"

namespace mlc::cli {

struct ServedOptions {
  SessionFlags session;  // of the first model; of the others all but their names, libraries and adapters
  std::vector<std::string>
      additional_models;  // MODEL or MODEL,LIBRARY; with small_draft or medusa the one that drafts
  // A further model, that gives embeddings, and its library; "": none.
  std::string embedding_model, embedding_model_lib;
  std::string pooling;  // cls, mean or last instead of what configs say; "": as they say
  ServeLimits limits;
  serve::openai::ApiLimits api;
  // Told a line about each model once it is open: its requests together and its memory. May be null.
  std::function<void(const std::string& line)> opened;
};

struct ServedModels {
  std::unique_ptr<Session> draft;      // of small_draft; on the device of the first session
  std::unique_ptr<HeadSession> heads;  // of medusa; likewise
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<runtime::ModelLimits> limits;         // inferred, of each session
  std::unique_ptr<serve::openai::Service> service;  // last: it uses the sessions
};

// Of a library that is compiled for the session: `slots` adapters of rank `rank`; 0: as the adapters that are
// given need, or rank 16 where there are more slots. Error: fewer slots than adapters; starts with
// --max-loras.
Status make_lora_room(LoraFlags& lora, int64_t slots, int64_t rank);

// Converts and compiles what is missing, as open_session. MODEL may write text or give embeddings. Errors:
// one sentence, naming the file or flag; an --embedding-model that writes text.
Result<std::unique_ptr<ServedModels>> open_models(ServedOptions options);

}  // namespace mlc::cli
