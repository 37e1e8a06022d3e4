// PyTorch zips, and the tensors and views of those that hold.
#include "formats/torch_zip.h"

#include "read_all.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto tensors = parse_torch_zip(fuzz::bytes_of(data, size), fuzz::kFile);
  fuzz::check_status(tensors.status());
  if (!tensors.is_ok()) return 0;
  for (const TorchTensor& tensor : *tensors)
    internal_check(tensor.offset + tensor.size <= size, "tensors lie in the file");
  fuzz::read_all(data, size, SourceFormat::kTorch);
  return 0;
}
