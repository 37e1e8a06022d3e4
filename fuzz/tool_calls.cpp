// Answers cut into texts, thoughts and calls: however they are cut, the parts are those of the whole.
#include "chat/tools/answer_parser.h"
#include "fuzz.h"

namespace {

using namespace mlc;

std::string joined(const std::vector<AnswerPart>& parts) {
  std::string result;
  AnswerPartKind last = AnswerPartKind::kCall;
  for (const AnswerPart& part : parts) {
    if (part.kind != last || part.kind == AnswerPartKind::kCall)
      result += std::string(1, '\0') + static_cast<char>('0' + static_cast<int>(part.kind));
    result += part.text;
    last = part.kind;
  }
  return result;
}

}  // namespace

// The first byte chooses the format and thinking, the second where cuts lie; the rest is the answer.
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const AnswerForm form{static_cast<ToolFormat>(data[0] % 7), (data[0] & 64) != 0, (data[0] & 192) == 192};
  const std::string_view text = fuzz::text_of(data + 2, size - 2);
  AnswerParser whole(form), cut(form);
  std::vector<AnswerPart> parts, cut_parts;
  whole.put(text, parts);
  whole.finish(parts);
  uint32_t random = data[1] + 1u;
  for (size_t at = 0; at < text.size();) {
    random = random * 1664525 + 1013904223;
    const size_t length = std::min<size_t>(text.size() - at, 1 + (random >> 24) % 12);
    cut.put(text.substr(at, length), cut_parts);
    at += length;
  }
  cut.finish(cut_parts);
  internal_check(joined(parts) == joined(cut_parts), "the parts depend on the cuts");
  return 0;
}
