// Bodies of the API's requests: read as a chat's and as a completion's, over a vocabulary of single bytes.
#include "byte_tokenizer.h"
#include "fuzz.h"
#include "service/openai/request.h"

namespace {

using namespace mlc;

void check_error(const serve::openai::ApiError& error) {
  if (!error.is_error()) return;
  internal_check(error.status == 400 && !error.message.empty() && error.message.size() < 4096,
                 "one sentence");
  for (char c : error.message)
    internal_check(static_cast<unsigned char>(c) >= 32 && c != 127, "a message has no control bytes");
  internal_check(parse_json(error.json(), "error").is_ok(), "an error is JSON");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<const Tokenizer> tokenizer = fuzz::byte_tokenizer();
  static const ChatTemplate chat_template = *ChatTemplate::create(*find_preset("chatml"), "messages");
  static const serve::GenerationConfig defaults;
  static const serve::openai::ApiLimits limits{.debug = true};
  static const GrammarCompiler grammars(tokenizer);
  const serve::openai::RequestContext context{*tokenizer, chat_template, defaults, limits, grammars};
  Json object;
  serve::openai::ApiError error = serve::openai::parse_body(fuzz::text_of(data, size), object);
  check_error(error);
  if (error.is_error()) return 0;
  for (auto parse : {serve::openai::parse_chat, serve::openai::parse_completion}) {
    serve::openai::CompletionCall call;
    error = parse(object, context, call);
    check_error(error);
    if (error.is_error()) continue;
    internal_check(!call.prompts.empty() && call.n >= 1, "a request that is fine asks for something");
    internal_check(call.config.validate().is_ok(), call.config.validate().message());
  }
  return 0;
}
