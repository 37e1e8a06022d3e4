// One request of /v1/chat/completions or /v1/completions at work: its choices in the engine, and what of
// their updates goes back.
//
// A choice is a request of the engine. Of choices with one prompt the first goes ahead; the others follow
// when its prompt is computed, and take it from the prefix cache.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "service/openai/answer.h"
#include "service/openai/reply.h"
#include "service/openai/request.h"
#include "service/openai/served_model.h"

namespace mlc::serve::openai {

class Call : public std::enable_shared_from_this<Call> {
 public:
  // `on_end` is called before the last reply.
  Call(ServedModel& model, CompletionCall asked, ReplyCallback reply, std::function<void()> on_end);

  // What the engine refuses of it, before anything is queued.
  ApiError check() const;
  void start();
  // Ends what still runs; the last reply comes nonetheless. Any thread.
  void cancel();

 private:
  struct Choice {
    RequestId id = -1;
    Clock::time_point begun;
    std::vector<Logprobs> held;   // of tokens whose text has not come out
    std::vector<Logprobs> shown;  // of a whole answer
    std::string text, finish;     // of a whole answer
    std::string stop_string;      // of the caller\'s, that ended it
    int64_t offset = 0;           // of the next token's text, in characters
    bool opened = false, said = false;
    std::string reasoning;  // of a whole answer
    Json tool_calls = nullptr;
    std::unique_ptr<AnswerParser> parser;  // of a chat
  };

  Request request_of(size_t choice);
  void submit(std::vector<size_t> choices);
  void add_to(Engine& engine, size_t choice);
  void follow(size_t leader);
  void on_update(size_t choice, const StreamUpdate& update);
  void add_text(size_t choice, const std::string& text, const std::string& finish);
  void add_parts(size_t choice, const std::vector<AnswerPart>& parts);
  void add_part(size_t choice, const AnswerPart& part);
  void say(size_t choice, ChunkChoice chunk);
  void begin_echo(size_t choice, const StreamUpdate& update);
  void finish_choice(size_t choice, const StreamUpdate& update);
  void fail(const std::string& why, int status = 503);
  void end();
  Json logprobs_json(Choice& choice, const std::vector<Logprobs>& tokens) const;
  size_t prompt_of(size_t choice) const { return choice / static_cast<size_t>(asked_.n); }

  ServedModel& model_;
  CompletionCall asked_;
  AnswerHead head_;
  ReplyCallback reply_;
  std::function<void()> on_end_;
  std::atomic<bool> cancelled_{false};
  // The rest belongs to the engine's thread once start() was called.
  std::vector<Choice> choices_;
  size_t finished_ = 0;
  Usage usage_;
  bool said_ = false, ended_ = false;
};

}  // namespace mlc::serve::openai
