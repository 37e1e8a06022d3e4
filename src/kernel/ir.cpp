// Text of kernel IR types.
#include "kernel/ir.h"

#include "base/strings.h"

namespace mlc::kernel {

std::string Type::text() const {
  std::string name(short_name(dtype));
  return lanes == 1 ? name : str(name, "x", lanes);
}

}  // namespace mlc::kernel
