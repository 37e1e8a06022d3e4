// The plan of a model library.
#include "formats/plan.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mlc::fuzz::check_status(mlc::decode_plan(mlc::fuzz::text_of(data, size), mlc::fuzz::kFile).status());
  return 0;
}
