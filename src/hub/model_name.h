// What the user may write instead of a folder: HF://user/repo and addresses of a hub's pages.
//
//   HF://user/repo   hf://user/repo@revision   HF://user/repo/file.gguf
//   https://huggingface.co/user/repo[/tree/revision]   .../resolve/revision/file.gguf
//   .../blob/revision/file.gguf https://another.hub:8443/user/repo...              a hub that answers as
//   Hugging Face's does
#pragma once

#include <string>

#include "base/status.h"

namespace mlc::hub {

struct ModelName {
  std::string shown;           // as the user wrote it; starts errors
  std::string endpoint;        // "https://huggingface.co", no slash at its end
  bool is_default_hub = true;  // the hub of HF_ENDPOINT, which alone may see HF_TOKEN
  std::string repo;            // "user/repo", or "repo" where the hub has such
  std::string revision = "main";
  std::string file;   // the one file of the repository that is meant; "": the model in it
  std::string cache;  // folder below model_weights/: "hf/user/repo", as MLC LLM has it
};

// Whether the text is meant as such a name rather than as a path.
bool is_model_name(const std::string& text);

// `endpoint`: the hub of HF:// names and of huggingface.co (env::hub_endpoint()). Errors: what is no user,
// repository, revision or file of a hub.
Result<ModelName> parse_model_name(const std::string& text, const std::string& endpoint);

}  // namespace mlc::hub
