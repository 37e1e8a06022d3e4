// What the runtime in WebAssembly leaves out, to be small: grammars of answers (chat/grammar/grammar.cpp) and
// LoRA adapters (formats/lora.cpp). Asking for either is one sentence.
#include "chat/grammar/grammar.h"
#include "formats/lora.h"

namespace mlc {
namespace {

constexpr const char* kNoGrammars = "this runtime was built without grammars; leave response_format out";

}  // namespace

Result<std::shared_ptr<const Grammar>> GrammarCompiler::compile(GrammarKind, std::string_view,
                                                                const GrammarLimits&,
                                                                const std::string&) const {
  return Status::error(kNoGrammars);
}
Grammar::~Grammar() = default;
Result<GrammarMatcher> Grammar::start() const { return Status::error(kNoGrammars); }
GrammarVocabulary::~GrammarVocabulary() = default;

// No matcher is ever made.
GrammarMatcher::GrammarMatcher(GrammarMatcher&& other) noexcept
    : handle_(other.handle_), vocab_size_(other.vocab_size_) {}
GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher&&) noexcept = default;
GrammarMatcher::~GrammarMatcher() = default;
Result<TokenMask> GrammarMatcher::mask() { return Status::error(kNoGrammars); }
Status GrammarMatcher::accept(int32_t) { return Status::error(kNoGrammars); }
Result<size_t> GrammarMatcher::valid(std::span<const int32_t>) { return Status::error(kNoGrammars); }
Result<std::vector<int32_t>> GrammarMatcher::forced() { return Status::error(kNoGrammars); }
bool GrammarMatcher::complete() const { return true; }

Result<LoraAdapter> read_lora_adapter(const std::string& folder) {
  return Status::error(folder +
                       ": this runtime was built without LoRA adapters; merge it with --lora-adapter");
}
int64_t LoraAdapter::rank() const { return 0; }
std::string LoraAdapter::made_for() const { return ""; }
bool same_module(std::string_view a, std::string_view b) { return a == b; }

}  // namespace mlc
