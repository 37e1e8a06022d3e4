// What WebAssembly with SIMD can do (the specification's version 2.0): vectors of 16 bytes, products of i16
// in pairs (i32x4.dot_i16x8_s), rounding of vectors; neither fma nor halves.
#include "base/target/wasm.h"

namespace mlc {

// Engines compile for the machine they run on, which has at least 16 vector registers of 16 bytes on x86-64.
std::vector<Target> wasm_targets() {
  return {{.kind = "cpu",
           .name = "wasm32-simd128",
           .triple = "wasm32-unknown-unknown",
           .cpu = "mvp",
           .features = "+simd128,+bulk-memory,+mutable-globals,+nontrapping-fptoint,+sign-ext",
           .vector_bytes = 16,
           .vector_registers = 16,
           .dot2_i16 = true}};
}

}  // namespace mlc
