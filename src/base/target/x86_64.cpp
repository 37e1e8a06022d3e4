// What x86-64 CPUs can do, as six levels.
#include "base/target/target.h"

namespace mlc {

std::vector<Target> x86_64_targets() {
  Target generic{.kind = "cpu",
                 .name = "x86_64-generic",
                 .triple = "x86_64-unknown-linux-gnu",
                 .cpu = "x86-64",
                 .vector_bytes = 16,
                 .vector_registers = 16,
                 .dot2_i16 = true};  // pmaddwd is SSE2

  Target avx2 = generic;
  avx2.name = "x86_64-avx2";
  avx2.cpu = "x86-64-v3";
  avx2.required = {"avx2", "fma", "f16c"};
  avx2.vector_bytes = 32;
  avx2.fma = avx2.f16_convert = avx2.dot2_u8s8 = true;

  Target avx512 = avx2;
  avx512.name = "x86_64-avx512";
  avx512.cpu = "x86-64-v4";
  // LLVM prefers 256-bit vectors for this CPU; our kernels say their width themselves.
  avx512.features = "-prefer-256-bit";
  avx512.required = {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"};
  avx512.vector_bytes = 64;
  avx512.vector_registers = 32;

  Target vnni = avx512;
  vnni.name = "x86_64-avx512vnni";
  vnni.features = "-prefer-256-bit,+avx512vnni";
  vnni.required.push_back("avx512vnni");
  vnni.dot4_u8s8 = true;

  Target amx = vnni;  // matrix tiles of 16 rows of 64 bytes
  amx.name = "x86_64-amx";
  amx.features = "-prefer-256-bit,+avx512vnni,+avx512bf16,+amx-tile,+amx-bf16";
  amx.required.insert(amx.required.end(), {"avx512bf16", "amx_bf16"});
  amx.bf16_convert = true;
  amx.matrix_unit = {.rows = 16, .columns = 16, .depth = 32};

  Target avxvnni = avx2;  // the same dot product for CPUs without 512-bit vectors
  avxvnni.name = "x86_64-avxvnni";
  avxvnni.features = "+avxvnni";
  avxvnni.required.push_back("avxvnni");
  avxvnni.dot4_u8s8 = true;

  return {amx, vnni, avx512, avxvnni, avx2, generic};
}

}  // namespace mlc
