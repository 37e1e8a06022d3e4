// The replies of a chat completion, read into blocks: what the answers of /v1/responses and /v1/messages are
// made of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/answer_parser.h"
#include "service/openai/reply.h"

namespace mlc::serve::openai {

struct AnswerBlock {
  AnswerPartKind kind = AnswerPartKind::kText;  // kText, kReasoning or kCall
  std::string text;                             // of a call its arguments: a text of a JSON object
  std::string id, name;                         // of a call; the id is hexadecimal digits
};

class AnswerTranslator {
 public:
  explicit AnswerTranslator(ReplyCallback reply) : reply_(std::move(reply)) {}
  virtual ~AnswerTranslator() = default;
  AnswerTranslator(const AnswerTranslator&) = delete;
  AnswerTranslator& operator=(const AnswerTranslator&) = delete;

  void take(const Reply& reply);

 protected:
  // The JSON of an error that comes instead of an answer.
  virtual std::string error_json(const Reply& error) const = 0;
  // The JSON of a whole answer.
  virtual std::string whole_json() const = 0;
  // A stream. Its blocks come one after another, the last is the one that opens, grows and closes; there is
  // at least one. `end` is not called where it fails.
  virtual void begin() = 0;
  virtual void open() = 0;
  virtual void grow(std::string_view more) = 0;
  virtual void close() = 0;
  virtual void end() = 0;
  virtual void fail(const std::string& message) = 0;

  // An event of the stream, its type in front.
  void send(const char* type, const Json& fields);
  const AnswerBlock& block() const { return blocks_.back(); }
  size_t index() const { return blocks_.size() - 1; }

  // Of the answer so far.
  std::vector<AnswerBlock> blocks_;
  std::string id_;  // hexadecimal digits
  std::string finish_, stop_string_;
  Json model_, created_, usage_ = Json::object();

 private:
  void take_whole(const std::string& text);
  void take_chunk(const std::string& text);
  void finish_stream();
  void set_head(const Json& chat);
  void set_finish(const Json& choice);
  void put(AnswerPartKind kind, const std::string& text);
  void put_call(const Json& call);
  void open_block(AnswerBlock block);

  ReplyCallback reply_;
  bool begun_ = false, open_ = false, failed_ = false;
};

}  // namespace mlc::serve::openai
