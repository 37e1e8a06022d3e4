// Writes a GGUF file again in Q4_0, every matrix of it: llama_quantize FROM.gguf TO.gguf
#include <cstdio>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: llama_quantize FROM.gguf TO.gguf\n"), 1;
  llama_backend_init();
  llama_model_quantize_params options = llama_model_quantize_default_params();
  options.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
  options.allow_requantize = options.pure = true;
  return static_cast<int>(llama_model_quantize(argv[1], argv[2], &options));
}
