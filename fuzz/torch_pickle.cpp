// The pickle machine alone, so that inputs need no zip around them.
#include "formats/torch_pickle.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto tensors = mlc::parse_torch_pickle(mlc::fuzz::bytes_of(data, size), mlc::fuzz::kFile);
  mlc::fuzz::check_status(tensors.status());
  if (!tensors.is_ok()) return 0;
  for (const auto& tensor : *tensors)
    mlc::internal_check(tensor.shape.size() == tensor.strides.size(), "each dimension has a stride");
  return 0;
}
