// mlc-chat-config.json and the tokenizer files beside it (mlc-facts 1.2, 4.1 to 4.4).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "frontend/config.h"
#include "weights/source.h"

namespace mlc::weights {

struct GenConfigOptions {
  std::string quantization;
  std::string conv_template;  // --conv-template: a preset; "": the checkpoint's own Jinja template
  frontend::ConfigOverrides overrides;
};

struct GeneratedConfig {
  Json config;                     // keys in MLC's order
  std::vector<std::string> notes;  // for the user, one sentence each
};

// Writes the tokenizer files and mlc-chat-config.json (indent 2, no newline at the end) into `folder`,
// created. A checkpoint's own template is kept as conv_template.jinja_template with its variables. A
// generation_config.json with "do_sample": false gives temperature 0.
Result<GeneratedConfig> generate_config(ModelSource& source, const GenConfigOptions& options,
                                        const std::string& folder);

}  // namespace mlc::weights
