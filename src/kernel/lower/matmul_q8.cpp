// matmul with int8 activations.
#include "base/user_error.h"
#include "kernel/lower/matmul.h"

namespace mlc::kernel {

Function lower_matmul_q8(Lowering& low) {
  throw UserError(low.node.op + ": int8 activations");
}

}  // namespace mlc::kernel
