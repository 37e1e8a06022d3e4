// safetensors header, and the tensors of files whose header holds.
#include "formats/safetensors.h"

#include "read_all.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto header = parse_safetensors(fuzz::bytes_of(data, size), fuzz::kFile);
  fuzz::check_status(header.status());
  if (!header.is_ok()) return 0;
  uint64_t end = 0;
  for (const SafetensorsEntry& entry : header->entries) {
    internal_check(end == 0 || entry.offset == end, "tensors tile the data");
    end = entry.offset + entry.size;
    internal_check(end <= size, "tensors lie in the file");
  }
  fuzz::read_all(data, size, SourceFormat::kSafetensors);
  return 0;
}
