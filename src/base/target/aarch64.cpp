// What 64-bit Arm CPUs can do, as three levels.
#include "base/target/target.h"

namespace mlc {

std::vector<Target> aarch64_targets() {
  Target generic{.kind = "cpu",
                 .name = "aarch64-generic",
                 .triple = "aarch64-unknown-linux-gnu",
                 .cpu = "generic",
                 .features = "+neon",
                 .vector_bytes = 16,
                 .vector_registers = 32,
                 .fma = true,
                 .f16_convert = true};  // fcvt between half and single is ARMv8.0

  Target dotprod = generic;
  dotprod.name = "aarch64-dotprod";
  dotprod.features = "+neon,+dotprod";
  dotprod.required = {"dotprod"};
  dotprod.dot4_s8s8 = true;

  Target i8mm = dotprod;
  i8mm.name = "aarch64-i8mm";
  i8mm.features = "+neon,+dotprod,+i8mm";
  i8mm.required = {"dotprod", "i8mm"};
  i8mm.dot4_u8s8 = true;

  return {i8mm, dotprod, generic};
}

}  // namespace mlc
