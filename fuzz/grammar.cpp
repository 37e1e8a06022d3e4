// Schemas, regular expressions, Lark and GBNF grammars: compiled, and followed for a few tokens.
#include "chat/grammar/grammar.h"

#include "byte_tokenizer.h"
#include "fuzz.h"

namespace {

using namespace mlc;

void follow(const Grammar& grammar) {
  auto matcher = grammar.start();
  if (!matcher.is_ok()) return;
  for (int step = 0; step < 8 && !matcher->complete(); ++step) {
    auto mask = matcher->mask();
    if (!mask.is_ok()) return;                // more work than its limits allow
    int32_t token = step % 2 == 0 ? 1 : 256;  // the lowest byte, then the highest
    while (token >= 1 && token <= 256 && !mask->allows(token)) token += step % 2 == 0 ? 1 : -1;
    if (token < 1 || token > 256) return;
    if (!matcher->forced().is_ok()) return;
    internal_check(matcher->accept(token).is_ok(), "a token of the mask may come");
  }
}

}  // namespace

// The first byte chooses the kind.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const GrammarCompiler compiler(fuzz::byte_tokenizer());
  const auto kind = static_cast<GrammarKind>(data[0] % 4);
  auto grammar = compiler.compile(kind, fuzz::text_of(data + 1, size - 1), {}, fuzz::kFile);
  fuzz::check_status(grammar.status());
  if (grammar.is_ok()) follow(**grammar);
  return 0;
}
