// The container of a model library: trailer and manifest.
#include "formats/library.h"

#include "formats/library_sections.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mlc::fuzz::check_status(
      mlc::check_library_bytes(mlc::fuzz::text_of(data, size), mlc::fuzz::kFile).status());
  // The same bytes as a manifest in a sound container, past the checksum.
  std::string sealed = mlc::seal_library("object", mlc::fuzz::text_of(data, size));
  mlc::fuzz::check_status(mlc::check_library_bytes(sealed, mlc::fuzz::kFile).status());
  std::string module = std::string("\0asm\1\0\0\0", 8) + mlc::wasm_section_header(size);
  sealed = mlc::seal_library(module, mlc::fuzz::text_of(data, size));
  mlc::fuzz::check_status(mlc::check_library_bytes(sealed, mlc::fuzz::kFile).status());
  return 0;
}
