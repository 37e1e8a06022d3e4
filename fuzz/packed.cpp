// Weights that others quantized: a safetensors file whose metadata holds the `quantization_config`, as the
// files of tests/data/weights/packed have it; every tensor that comes of it is read.
#include "formats/packing.h"
#include "formats/safetensors.h"
#include "read_all.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto header = parse_safetensors(fuzz::bytes_of(data, size), fuzz::kFile);
  if (!header.is_ok() || header->metadata.empty()) return 0;
  auto config = parse_json(header->metadata[0].second, fuzz::kFile);
  if (!config.is_ok()) return 0;
  auto packing = parse_packing({{"quantization_config", *config}}, fuzz::kFile);
  fuzz::check_status(packing.status());
  if (packing.is_ok() && *packing) fuzz::read_all(data, size, SourceFormat::kSafetensors, &**packing);
  return 0;
}
