// Reads environment variables.
#include "base/env.h"

#include <cstdlib>

#include "base/platform/platform.h"

namespace mlc::env {

std::string get(const char* name, const std::string& fallback) {
  const char* value = std::getenv(name);
  return value && *value ? value : fallback;
}

std::string home() {
  std::string set = get("MLC_LLM_HOME");
  if (!set.empty()) return set;
  std::string cache = get("XDG_CACHE_HOME");
  return (cache.empty() ? get("HOME", get("USERPROFILE", ".")) + "/.cache" : cache) + "/mlc_llm";
}

std::string temp_dir() { return get("MLC_TEMP_DIR", get("TMPDIR", platform::temporary_folder())); }

}  // namespace mlc::env
