// Names of folders and files may be any bytes but / and NUL: every command takes them, and what it prints
// stays text.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "support/command.h"
#include "support/scripted_model.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;
using Names = std::vector<std::string>;

class Paths : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() { place_ = new testing::Workplace; }
  static void TearDownTestSuite() { delete place_; }

  static Outcome well(const Names& arguments) {
    Outcome o =
        run_mlc_llm(arguments, {.input = "hi\n", .environment = {{"MLC_LLM_HOME", place_->path("home")}}});
    EXPECT_EQ(o.exit_code, 0) << ::testing::PrintToString(arguments) << o.err;
    EXPECT_TRUE(is_valid_utf8(o.err)) << o.err;
    return o;
  }

  static inline testing::Workplace* place_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Names, Paths,
                         ::testing::Values("caf\xe9", "a 'b' \"c\" $d", "two\nlines\x1b[1m", "-q", "ünï→🙂",
                                           "x.gguf", "long"));

TEST_P(Paths, EveryCommandTakesThem) {
  std::string name = GetParam();
  if (name == "long") name = std::string(248, 'n') + "\xe9\xe9";
  std::string folder = testing::write_folder(place_->path("in/" + name), testing::hi()),
              out = place_->path("out/" + name);
  EXPECT_EQ(well({"chat", folder, "--quantization", "q0f32"}).out, "Hi\n");
  Outcome bench = well({"bench", folder, "--quantization", "q0f32", "--prefill", "4", "--decode", "4",
                        "--repeat", "1", "--no-bandwidth", "--json"});
  EXPECT_TRUE(parse_json(bench.out, "bench").is_ok()) << bench.out;
  well({"gen_config", folder, "--quantization", "q0f32", "-o", out});
  well({"convert_weight", folder, "--quantization", "q0f32", "-o", out});
  EXPECT_EQ(well({"chat", out}).out, "Hi\n");
  std::string library = out + "/model.so";
  well({"compile", out, "-o", library});
  well({"info", out});
  well({"info", library});
  EXPECT_EQ(well({"chat", out + "/mlc-chat-config.json", "--model-lib", library}).out, "Hi\n");
}

TEST_P(Paths, ErrorsAboutThemAreOneLineOfText) {
  std::string absent = place_->path(std::string("absent ") + GetParam());
  for (const Names& arguments :
       {Names{"chat", absent},
        {"bench", absent},
        {"compile", absent, "-o", place_->path("a.so")},
        {"info", absent},
        {"convert_weight", absent, "--quantization", "q0f32", "-o", place_->path("o")},
        {"gen_config", absent, "--quantization", "q0f32", "-o", place_->path("o")}}) {
    Outcome o = run_mlc_llm(arguments);
    testing::expect_error(o, {"absent "});
    EXPECT_TRUE(is_valid_utf8(o.err)) << o.err;
    EXPECT_EQ(o.err.find('\x1b'), std::string::npos) << o.err;
  }
}

}  // namespace
}  // namespace mlc
