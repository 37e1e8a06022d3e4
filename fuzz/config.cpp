// config.json of Hugging Face, and mlc-chat-config.json, as models read them; what is accepted is overridden
// too.
#include "frontend/config.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto json = parse_json(fuzz::text_of(data, size), fuzz::kFile);
  fuzz::check_status(json.status());
  if (!json.is_ok()) return 0;
  for (auto parse : {frontend::parse_hf_config, frontend::parse_mlc_config}) {
    auto config = parse(*json, "auto", fuzz::kFile);
    fuzz::check_status(config.status());
    if (!config.is_ok()) continue;
    frontend::ConfigOverrides overrides;
    overrides.context_window_size = 64;
    overrides.tensor_parallel_shards = 2;
    (void)frontend::apply_overrides(*config, overrides).is_ok();
  }
  return 0;
}
