// The index JSON of a checkpoint in several files.
#include "formats/weight_index.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto index = mlc::parse_weight_index(mlc::fuzz::text_of(data, size), mlc::fuzz::kFile);
  mlc::fuzz::check_status(index.status());
  if (!index.is_ok()) return 0;
  for (const auto& [name, file] : index->tensors)
    mlc::internal_check(file >= 0 && static_cast<size_t>(file) < index->files.size(),
                        "each tensor has a file");
  for (const std::string& file : index->files)
    mlc::internal_check(file.find('/') == std::string::npos && file != "..",
                        "no file lies outside the folder");
  return 0;
}
