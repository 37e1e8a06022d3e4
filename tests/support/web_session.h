// The runtime in WebAssembly, driven in Node by tests/web/session.mjs.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace mlc::testing {

inline constexpr const char* kWebRuntime = MLC_SOURCE_DIR "/build/wasm/runtime.wasm";

// For a test's SetUp.
inline void check_web_runtime_is_here() {
  ASSERT_TRUE(file_exists(kWebRuntime)) << "the runtime in WebAssembly is not built; run scripts/wasm";
}

// Runs the steps (session.mjs) in one process, whose files are those below the folder `root`, where it leaves
// two of its own: an outcome for each step, {"value"} or {"error"}. `environment`: "NAME=VALUE ..." for a
// shell.
inline Json run_web_session(const std::string& root, const Json& steps, const std::string& environment = "") {
  const std::string input = path_join(root, "steps.json"), output = path_join(root, "outcomes.json");
  EXPECT_TRUE(write_file(input, steps.dump()).is_ok());
  const std::string command =
      str(environment, " '", MLC_NODE, "' '", MLC_SOURCE_DIR, "/tests/web/session.mjs' '", kWebRuntime, "' '",
          root, "' <'", input, "' >'", output, "'");
  EXPECT_EQ(std::system(command.c_str()), 0);
  auto outcomes = read_json_file(output);
  EXPECT_TRUE(outcomes.is_ok()) << outcomes.status().message();
  Json all = outcomes.is_ok() ? std::move(*outcomes) : Json::array();
  while (all.size() < steps.size()) all.push_back({{"error", "Node has ended"}});
  return all;
}

inline Json web_value(const Json& outcome) {
  EXPECT_FALSE(outcome.contains("error")) << outcome.dump();
  return outcome.contains("value") ? outcome["value"] : Json();
}

// The bytes of a base64 text as floats.
inline std::vector<float> floats_of(const std::string& text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) < 8) continue;
    bytes += static_cast<char>(bits >> (count -= 8) & 255);
  }
  std::vector<float> floats(bytes.size() / 4);
  std::memcpy(floats.data(), bytes.data(), 4 * floats.size());
  return floats;
}

}  // namespace mlc::testing
