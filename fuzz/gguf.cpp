// GGUF metadata and tensors, their translation to Hugging Face's names, config and tokenizer, and dequantized
// values.
#include "formats/gguf.h"

#include "formats/gguf_keys.h"
#include "formats/gguf_names.h"
#include "read_all.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto bytes = fuzz::bytes_of(data, size);
  auto gguf = parse_gguf(bytes, fuzz::kFile);
  fuzz::check_status(gguf.status());
  if (!gguf.is_ok()) return 0;
  for (const GgufTensor& tensor : gguf->tensors) {
    internal_check(tensor.offset + tensor.size <= size, "tensors lie in the file");
    fuzz::check_status(translate_gguf_tensor(*gguf, tensor, fuzz::kFile).status());
  }
  auto config = gguf_config(*gguf, bytes, fuzz::kFile);
  fuzz::check_status(config.status());
  std::vector<std::string> notes;
  if (config.is_ok()) fuzz::check_status(check_gguf_keys(*gguf, *config, fuzz::kFile, notes));
  fuzz::check_status(gguf_tokenizer(*gguf, fuzz::kFile).status());
  fuzz::read_all(data, size, SourceFormat::kGguf);
  return 0;
}
