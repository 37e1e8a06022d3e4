// Conversations with scripted models, whose right answers are known: what is sent, what is kept, and when an
// answer ends.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "base/strings.h"
#include "support/command.h"
#include "support/scripted_model.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;
using Names = std::vector<std::string>;

int count(const std::string& text, const std::string& word) {
  int n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

std::string times(int n, const std::string& text) {
  std::string all;
  while (n-- > 0) all += text;
  return all;
}

class Chats : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    place_ = new testing::Workplace;
    testing::Changes small{.config = {{"max_position_embeddings", 64}}};
    small_ = testing::write_folder(place_->path("small"),
                                   testing::scripted({.answer = {"A", "B", "C", "D", "E", "F"}}), small);
    hi_ = testing::write_folder(place_->path("hi"), testing::hi());
  }
  static void TearDownTestSuite() { delete place_; }

  static Outcome chat(const std::string& model, const std::string& input, const Names& flags = {}) {
    Names arguments = {"chat", model, "--quantization", "q0f32"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_mlc_llm(arguments, {.input = input, .environment = {{"MLC_LLM_HOME", place_->path("home")}}});
  }
  // Of a conversation that goes well; what is converted and compiled first is no part of it.
  static Outcome well(const std::string& model, const std::string& input, const Names& flags = {}) {
    static std::set<std::pair<std::string, Names>> warm;
    if (warm.emplace(model, flags).second) chat(model, "", flags);
    Outcome o = chat(model, input, flags);
    EXPECT_EQ(o.exit_code, 0) << o.err;
    return o;
  }
  static int64_t metric(const Outcome& o, const std::string& name) {
    size_t at = o.out.rfind(name + "\t");
    return at == std::string::npos ? -1 : std::strtoll(o.out.c_str() + at + name.size() + 1, nullptr, 10);
  }

  static inline testing::Workplace* place_ = nullptr;
  static inline std::string small_, hi_;
};

TEST_F(Chats, OldTurnsGoWhenTheContextIsFull) {
  Outcome o = well(small_, "one\ntwo\nthree\nx\n");
  EXPECT_EQ(o.out, times(4, "ABCDEF\n"));
  EXPECT_EQ(count(o.err, "\n"), 1) << o.err;
  EXPECT_NE(o.err.find("note: the conversation no longer fits into the context of 64 tokens"),
            std::string::npos)
      << o.err;
  EXPECT_NE(o.err.find("/reset"), std::string::npos);
}

TEST_F(Chats, OldTurnsGoOnEveryPath) {
  std::string questions = times(9, "a question\n");
  EXPECT_EQ(well(small_, questions, {"--max-tokens", "2"}).out, times(9, "AB\n"));
  EXPECT_EQ(well(small_, questions, {"--overrides", "prefill_chunk_size=8"}).out, times(9, "ABCDEF\n"));
  EXPECT_EQ(well(small_, "/set max_tokens=63\n" + questions).out, times(9, "ABCDEF\n"));
  EXPECT_EQ(well(small_, times(5, "q\n"), {"--system-prompt", "Be brief."}).out, times(5, "ABCDEF\n"));
}

TEST_F(Chats, AMessageThatNeverFitsIsRefusedAndTheNextAnswered) {
  Outcome o = chat(small_, "one\n" + std::string(90, 'x') + "\ntwo\n/metrics\n");
  EXPECT_EQ(o.exit_code, 1);
  EXPECT_EQ(o.out.substr(0, 14), times(2, "ABCDEF\n"));
  EXPECT_EQ(count(o.err, "error: "), 1) << o.err;
  // <|im_start|>user, a break, the text, <|im_end|>, a break, and <|im_start|>assistant with a break, a byte
  // a token.
  for (const char* word :
       {"error: prompt: this message does not fit", "109 tokens", "limit 63", "--context-window-size"})
    EXPECT_NE(o.err.find(word), std::string::npos) << word << " in " << o.err;
  EXPECT_EQ(metric(o, "last_prompt_tokens"), 11 + 19 + 11 + 11) << "the first turn is still there";
}

TEST_F(Chats, AnAnswerThatFillsTheContextIsCutAndTheNextAnswered) {
  std::vector<std::string> letters;
  for (char c = '0'; c <= 'z'; ++c) letters.push_back(std::string(1, c));  // 75 of them
  std::string model = testing::write_folder(place_->path("long"), testing::scripted({.answer = letters}),
                                            {.config = {{"max_position_embeddings", 64}}});
  Outcome o = well(model, "x\nx\n/stats\n");
  EXPECT_EQ(count(o.out, "0123456789:;"), 2) << o.out;
  EXPECT_NE(o.out.find("finish reason: length"), std::string::npos);
  EXPECT_EQ(count(o.err, "the context is full"), 2) << o.err;
  EXPECT_EQ(count(o.err, "\n"), 2) << o.err;
}

TEST_F(Chats, SystemPromptsStay) {
  // <|im_start|>system, a break, SYS, <|im_end|>, a break: 13 tokens; a question of one letter with all
  // around it: 20.
  Names flags = {"--system-prompt", "SYS"};
  EXPECT_EQ(metric(well(small_, "x\n/metrics\n", flags), "last_prompt_tokens"), 33);
  EXPECT_EQ(metric(well(small_, "x\nx\n/reset\nx\n/metrics\n", flags), "last_prompt_tokens"), 33);
  EXPECT_EQ(metric(well(small_, "x\nx\nx\n/metrics\n", flags), "last_prompt_tokens"), 33)
      << "the history went, it stayed";
  EXPECT_EQ(metric(well(hi_, "x\n/metrics\n", {"--conv-template", "chatml", "--system-prompt", "SYS"}),
                   "last_prompt_tokens"),
            33);
  std::string refuses = testing::write_folder(
      place_->path("refuses"), testing::hi(),
      {.chat_template =
           "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x\n"});
  testing::expect_error(chat(refuses, "x\n", flags), {"--system-prompt", "no system role"});
  testing::expect_error(chat(hi_, "x\n", {"--system-prompt", "caf\xe9"}), {"UTF-8"});
}

TEST_F(Chats, TextThatBeginsWithASlashIsText) {
  const Names texts = {"/etc/hosts: what is this file?",
                       "// what does this comment mean?",
                       "/",
                       "//",
                       "/* a comment */",
                       "/help me",
                       "/set the table",
                       "/exit the building",
                       "//exit",
                       "//set seed=1",
                       "//exti",
                       "/usr",
                       "/no_think say hi"};
  EXPECT_EQ(well(hi_, "/set max_tokens=1\n" + join(texts, "\n/reset\n")).out,
            times(static_cast<int>(texts.size()), "H\n"));
  for (const char* text : {"/etc/hosts: what is this file?", "//exit"})
    EXPECT_EQ(chat(hi_, "", {"--prompt", text}).out, "Hi\n");
  // // loses a slash only before a command.
  EXPECT_EQ(metric(well(hi_, "//exit\n/metrics\n"), "last_prompt_tokens"), 19 + 5);
  EXPECT_EQ(metric(well(hi_, "// hi\n/metrics\n"), "last_prompt_tokens"), 19 + 5);
  for (const auto& [typed, meant] :
       {std::pair{"/exti", "/exit"}, {"/stat", "/stats"}, {"/rset", "/reset"}, {"/helpp", "/help"}})
    EXPECT_NE(well(hi_, "/set max_tokens=1\n" + std::string(typed))
                  .err.find(str(typed, ": unknown command, did you mean '", meant)),
              std::string::npos);
}

TEST_F(Chats, CommandsMayHaveSpaceAround) { EXPECT_EQ(well(hi_, "hi\n/exit \nhi\n").out, "Hi\n"); }

TEST_F(Chats, LinesOfAllSystems) {
  EXPECT_EQ(well(hi_, "a\r\n\r\n\n/set max_tokens=1\r\nb\r\n/exit\r\nnever\r\n").out, "Hi\nH\n");
  EXPECT_EQ(well(hi_, "a\nb").out, "Hi\nHi\n") << "no line break at the end";
  EXPECT_EQ(metric(well(hi_, "\xEF\xBB\xBFx\r\n/metrics\r\n"), "last_prompt_tokens"), 20)
      << "neither mark nor CR is sent";
}

TEST_F(Chats, BytesThatAreNoTextAreRefusedAndTheNextLineAnswered) {
  for (const std::string& bad :
       {std::string("caf\xe9"), std::string("a\0b", 3), std::string("\xff\xfeh\0i\0", 6)}) {
    Outcome o = chat(hi_, bad + "\nhi\n");
    EXPECT_EQ(o.exit_code, 1);
    EXPECT_EQ(o.out, "Hi\n");
    EXPECT_NE(o.err.find("error: prompt: "), std::string::npos) << o.err;
  }
}

TEST_F(Chats, AnAnswerThatOnlyRepeatsItselfEnds) {
  std::string model = testing::write_folder(place_->path("loop"),
                                            testing::scripted({.answer = {"a", "b", "c"}, .loop = true}),
                                            {.config = {{"max_position_embeddings", 1024}}});
  Outcome o = well(model, "x\n/stats\nx\n");
  EXPECT_EQ(o.out.find("abcabc"), 0u);
  EXPECT_EQ(o.out.find('\n'), 256u);
  EXPECT_NE(o.out.find("finish reason: cycle\n"), std::string::npos);
  EXPECT_EQ(count(o.err, "note: the answer was ended: its last 256 tokens only repeat themselves\n"), 2)
      << o.err;
  EXPECT_EQ(well(model, "x\n", {"--max-tokens", "255"}).err, "");
}

TEST_F(Chats, SamplingFlagsAreTheSettings) {
  EXPECT_EQ(well(small_, "x\n", {"--max-tokens", "3"}).out, "ABC\n");
  EXPECT_EQ(well(small_, "x\n", {"--stop", "D"}).out, "ABC\n");
  auto hot = [](const std::string& seed) {
    return well(small_, "x\n", {"--temperature", "1000", "--top-p", "1", "--max-tokens", "8", "--seed", seed})
        .out;
  };
  EXPECT_EQ(hot("3"), hot("3"));
  EXPECT_NE(hot("3"), hot("4"));
  EXPECT_EQ(hot("3"), well(small_, "/set temperature=1000;top_p=1;max_tokens=8;seed=3\nx\n").out);
  for (const auto& [flag, bad] : {std::pair{"--temperature", "-1"},
                                  {"--temperature", "hot"},
                                  {"--top-p", "1.5"},
                                  {"--max-tokens", "-2"},
                                  {"--max-tokens", "99999999999999999999"},
                                  {"--seed", "x"},
                                  {"--frequency-penalty", "3"},
                                  {"--presence-penalty", "-3"},
                                  {"--repetition-penalty", "0"},
                                  {"--temperature", "nan"}}) {
    Outcome o = run_mlc_llm({"chat", place_->path("absent"), flag, bad});
    EXPECT_TRUE(o.err.starts_with(std::string("error: ") + flag) && o.err.find(bad) != std::string::npos)
        << o.err;
  }
}

}  // namespace
}  // namespace mlc
