// Advice that works: every flag that a message names exists in the commands that print it, and the flags of a
// conversion do in chat what they do in the commands it runs.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "support/command.h"
#include "support/scripted_model.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;
using Names = std::vector<std::string>;

const Names kChats = {"chat", "bench"};

// Which commands print the messages of sources whose path begins so; the longest wins.
const std::map<std::string, Names>& printers() {
  static const std::map<std::string, Names> by_path = {
      {"apps/cli/bench", {"bench"}},
      {"apps/cli/build", {"build"}},
      {"apps/cli/c", {"chat"}},
      {"apps/cli/calibrate", {"calibrate"}},
      {"apps/cli/compile", {"compile"}},
      {"apps/cli/convert_weight", {"convert_weight"}},
      {"apps/cli/device_flag", {"compile"}},
      {"apps/cli/gen_config", {"gen_config"}},
      {"apps/cli/info", {"info"}},
      {"apps/cli/library_info", {"info"}},
      {"apps/cli/mlc_chat_cli", {"mlc_chat_cli"}},
      {"apps/cli/model_metadata", {"model_metadata"}},
      {"apps/cli/knobs", {"compile", "chat", "bench"}},
      {"apps/cli/prepare", kChats},
      {"apps/cli/serve", {"serve"}},
      {"apps/http/", {"serve"}},
      {"apps/cli/sampling", {"chat"}},
      {"apps/cli/session", kChats},
      {"apps/cli/verify", {"convert_weight", "verify"}},
      {"src/chat/", kChats},
      {"src/formats/", {"convert_weight", "chat", "bench"}},
      {"src/formats/quant/", {"convert_weight", "gen_config", "compile", "chat", "bench"}},
      {"src/frontend/", {"gen_config", "chat", "bench"}},
      {"src/runtime/", kChats},
      {"src/serve/", kChats},
      {"src/service/", {"serve"}},
      {"src/weights/", {"convert_weight", "chat", "bench"}},
      {"src/weights/gen_config", {"gen_config", "chat", "bench"}},
      {"src/weights/quantize/dataset", {"calibrate"}},
      {"src/weights/quantize/input_scales", {"calibrate"}},
      {"src/weights/tokenizer", {"gen_config", "chat", "bench"}},
      {"src/weights/verify", {"convert_weight", "verify"}},
      {"src/", {"compile", "chat", "bench"}},
  };
  return by_path;
}

const Names& printers_of(const std::string& path) {
  static const Names none;
  const Names* best = &none;
  size_t length = 0;
  for (const auto& [head, commands] : printers())
    if (path.starts_with(head) && head.size() >= length) best = &commands, length = head.size();
  return *best;
}

std::string help_of(const std::string& command) {
  static std::map<std::string, std::string> texts;
  auto [it, fresh] = texts.emplace(command, "");
  if (fresh) it->second = run_mlc_llm({command, "--help"}).out;
  return it->second;
}

bool has_flag(const std::string& command, const std::string& flag) {
  return std::regex_search(help_of(command), std::regex(flag + "([^a-z-]|$)"));
}

// String literals of C++ code, neighbours joined, comments left out.
Names literals(const std::string& code) {
  Names found;
  static const std::regex token(R"re(//[^\n]*|"((?:\\.|[^"\\\n])*)"|[^\s])re");
  bool joins = false;
  for (std::sregex_iterator it(code.begin(), code.end(), token), end; it != end; ++it) {
    std::string text = it->str();
    if (text.starts_with("//")) continue;
    bool literal = text.size() >= 2 && text[0] == '"';
    if (literal && joins)
      found.back() += (*it)[1].str();
    else if (literal)
      found.push_back((*it)[1].str());
    joins = literal;
  }
  return found;
}

const Names kCommands = {"convert_weight", "gen_config", "compile", "chat",         "bench",     "info",
                         "model_metadata", "serve",      "build",   "mlc_chat_cli", "calibrate", "verify"};

// What is wrong with the flags of one message.
Names unknown_flags(const std::string& message, const Names& commands) {
  static const std::regex flag_pattern("--[a-z][a-z0-9-]*[a-z0-9]");
  Names problems;
  for (std::sregex_iterator it(message.begin(), message.end(), flag_pattern), end; it != end; ++it) {
    std::string flag = it->str(), before = message.substr(0, static_cast<size_t>(it->position()));
    if (flag == "--help" || message.size() == flag.size() || message.find(flag + ",") == 0)
      continue;  // a declaration
    Names asked = commands;
    if (before.ends_with("llama-gguf-split ")) continue;  // another program's
    std::string sentence = before;
    for (const char* end : {";", ", or "})
      if (size_t at = sentence.rfind(end); at != std::string::npos) sentence.erase(0, at);
    for (const std::string& command : kCommands)
      if (sentence.find(command + " ") != std::string::npos)
        asked = {command};  // "compile the model again with --host"
    if (before.empty()) {   // about a flag that was given, so that it exists
      bool any = false;
      for (const std::string& command : kCommands) any |= has_flag(command, flag);
      if (!any) problems.push_back(flag + " exists nowhere: " + message);
      continue;
    }
    for (const std::string& command : asked)
      if (!has_flag(command, flag)) problems.push_back(command + " has no " + flag + ": " + message);
  }
  return problems;
}

TEST(FlagsInMessages, ExistInTheCommandsThatPrintThem) {
  EXPECT_EQ(unknown_flags("take --overrides, or --ovrides", {"chat"}).size(),
            1u);  // the test itself can fail
  EXPECT_EQ(unknown_flags("--nowhere: found", {"chat"}).size(), 1u);
  EXPECT_EQ(unknown_flags("; compile it again with --temperature", {"chat"}).size(), 1u);
  int messages = 0;
  for (const char* top : {"apps/cli", "src"}) {
    std::string root = std::string(MLC_SOURCE_DIR) + "/";
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root + top)) {
      std::string path = entry.path().string().substr(root.size());
      if (!path.ends_with(".cpp") || path.ends_with("_test.cpp")) continue;
      const std::string code = read_file(entry.path().string()).value();
      if (code.find("#include \"link/lld.h\"") != std::string::npos) continue;  // its flags are lld's
      for (const std::string& message : literals(code)) {
        if (message.find("--") == std::string::npos) continue;
        ++messages;
        for (const std::string& problem : unknown_flags(message, printers_of(path)))
          ADD_FAILURE() << path << ": " << problem;
      }
    }
  }
  EXPECT_GT(messages, 100);
}

class ChatFlags : public ::testing::Test {
 protected:
  Outcome chat(const std::string& model, const Names& flags, const std::string& input = "hi\n") {
    Names arguments = {"chat", model, "--quantization", "q0f32"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_mlc_llm(arguments, {.input = input, .environment = {{"MLC_LLM_HOME", place_.path("home")}}});
  }
  testing::Workplace place_;
};

TEST_F(ChatFlags, OfTheCheckpointReachItsConversion) {
  std::string weights = testing::write_folder(place_.path("weights"), testing::hi());
  std::string bare =
      testing::write_folder(place_.path("bare"), testing::hi(), {.without = {"model.safetensors"}});
  testing::expect_error(chat(bare, {}), {bare});
  Outcome o = chat(bare, {"--source", weights, "--source-format", "huggingface-safetensor", "--ignore-extra",
                          "--model-type", "llama"});
  EXPECT_EQ(o.out, "Hi\n") << o.err;
  std::string other = testing::write_folder(place_.path("other"), testing::scripted({.answer = {"N", "o"}}));
  EXPECT_EQ(chat(bare, {"--source", other}).out, "No\n")
      << "--source is part of what a conversion is known by";
  testing::expect_error(chat(weights, {"--model-type", "lama"}), {"--model-type", "did you mean 'llama'"});
  testing::expect_error(chat(weights, {"--source-format", "tape"}), {"--source-format"});
  std::string untyped = testing::write_folder(place_.path("untyped"), testing::hi(),
                                              {.config = {{"model_type", testing::dropped()}}});
  EXPECT_EQ(chat(untyped, {"--model-type", "llama"}).out, "Hi\n");
}

TEST_F(ChatFlags, OfTheConfigNeedNoOtherConversion) {
  std::string folder = testing::write_folder(place_.path("m"), testing::hi());
  EXPECT_EQ(chat(folder, {}).out, "Hi\n");
  std::string text(300, 'x');
  testing::expect_error(chat(folder, {"--context-window-size", "128"}, text + "\n"), {"limit 127"});
  testing::expect_error(chat(folder, {"--overrides", "context_window_size=100"}, text + "\n"), {"limit 99"});
  EXPECT_EQ(
      chat(folder, {"--overrides", "context_window_size=-1;sliding_window=64;prefill_chunk_size=64"}).out,
      "Hi\n");
  EXPECT_EQ(chat(folder, {"--tensor-parallel-shard", "1", "--opt", "cutlass_attn=1;cutlass_norm=1"}).out,
            "Hi\n");
  int conversions = 0;
  for (const std::string& name : place_.list("home")) conversions += name.ends_with("tensor-cache.json");
  EXPECT_EQ(conversions, 1);
  testing::expect_error(chat(folder, {"--context-window-size", "0"}), {"--context-window-size is 0"});
  testing::expect_error(chat(folder, {"--context-window-size", "8", "--overrides", "context_window_size=9"}),
                        {"--context-window-size is 8", "context_window_size=9", "leave one"});
  testing::expect_error(chat(folder, {"--tensor-parallel-shards", "2"}),
                        {"--tensor-parallel-shards=2", "not built yet"});
  testing::expect_error(chat(folder, {"--opt", "O9"}), {"--opt", "O9"});
  Outcome o = chat(folder, {"--overrides", "context_window_size=-1"});
  testing::expect_error(o, {"--overrides: context_window_size is -1", "sliding window"});
  EXPECT_EQ(o.err.find("damaged"), std::string::npos);
}

TEST_F(ChatFlags, ThatAConvertedFolderCannotTakeAreRefused) {
  std::string folder =
      testing::converted(place_, testing::write_folder(place_.path("m"), testing::hi()), "q0f32", "c");
  EXPECT_EQ(chat(folder, {"--conv-template", "chatml", "--opt", "O0"}).out, "Hi\n");
  testing::expect_error(chat(folder, {"--conv-template", "chatmll"}),
                        {"--conv-template", "did you mean 'chatml'"});
  for (const char* flag : {"--source", "--source-format"})
    testing::expect_error(chat(folder, {flag, "gguf"}), {flag, "converted already", "mlc-chat-config.json"});
  testing::expect_error(chat(folder, {"--ignore-extra"}), {"--ignore-extra", "converted already"});
  testing::expect_error(run_mlc_llm({"chat", folder, "--quantization", "q4f16_1"}),
                        {"--quantization", "q4f16_1", "q0f32"});
}

TEST_F(ChatFlags, ATokenizerBesideAGgufFileIsTakenAsAdvised) {
  testing::ScriptedModel model =
      testing::scripted({.answer = {"H", "i"}, .merges = {{"z", "q"}}, .gpt2_order = true});
  place_.make_folder("a");
  std::string file = testing::write_gguf(place_.path("a/m.gguf"), model, {.pre = "brand-new"});
  testing::expect_error(chat(file, {}), {file, "brand-new", "tokenizer.json", "beside"});
  place_.write("a/tokenizer.json", model.tokenizer.dump());
  Outcome o = chat(file, {"--temperature", "0"});
  EXPECT_EQ(o.out, "Hi\n");
  EXPECT_NE(o.err.find("'brand-new', which is not known; " + place_.path("a/tokenizer.json") + " is used\n"),
            std::string::npos)
      << o.err;
  testing::ScriptedModel larger = testing::scripted({.answer = {"H"}, .merges = {{"a", "b"}, {"b", "c"}}});
  place_.write("a/tokenizer.json", larger.tokenizer.dump());
  testing::expect_error(chat(file, {}), {"a/tokenizer.json", "token 0", "of the same model"});
}

TEST_F(ChatFlags, NeedsAreToldBeforeTheWorkAndNameTheUsersFolder) {
  auto expect = [&](const std::string& model, const Names& flags, const Names& words) {
    Outcome o = chat(model, flags);
    EXPECT_EQ(o.exit_code, 1);
    EXPECT_EQ(o.err.rfind("error: ", 0), 0u) << o.err;
    EXPECT_NE(o.err.find(model), std::string::npos) << o.err;
    for (const std::string& word : words) EXPECT_NE(o.err.find(word), std::string::npos) << o.err;
    EXPECT_EQ(o.err.find(place_.path("home")), std::string::npos) << o.err;
    EXPECT_EQ(o.err.find("converting"), std::string::npos) << o.err;
    for (const std::string& name : place_.list("home"))
      EXPECT_EQ(name.find("params_shard"), std::string::npos) << name;
  };
  std::string speechless =
      testing::write_folder(place_.path("speechless"), testing::hi(), {.without = {"tokenizer.json"}});
  expect(speechless, {"--conv-template", "chatml"}, {"tokenizer"});
  std::string plain = testing::write_folder(place_.path("plain"), testing::hi(), {.chat_template = ""});
  expect(plain, {}, {plain, "--conv-template"});
  std::string broken =
      testing::write_folder(place_.path("broken"), testing::hi(), {.chat_template = "{% if %}"});
  expect(broken, {}, {"syntax error"});
}

}  // namespace
}  // namespace mlc
