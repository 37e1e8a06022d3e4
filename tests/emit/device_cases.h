// Device functions, one per construct, as kernel text: what emitters of GPU languages are held to.
//
// Each runs two groups of 32 threads over x (f32), n (i32) and u (u32), 64 elements each, and writes y (f32)
// and m (i32). %i is the element of the thread. Indices in the text are i64 and narrowed by the pass.
#pragma once

#include <string>
#include <vector>

#include "kernel/parse.h"
#include "kernel/passes/narrow_indices.h"
#include "kernel/passes/unify_accesses.h"

namespace mlc {

struct DeviceCase {
  std::string name, body;
  std::string shared = "";  // declarations of the group
  int subgroups = 0;
  double tolerance = 0;  // relative, on y; 0: equal bits
};

inline kernel::Function device_function(const DeviceCase& c) {
  std::string head = c.subgroups ? " subgroups(" + std::to_string(c.subgroups) + ")" : "";
  return kernel::unify_accesses(kernel::narrow_indices(
      kernel::parse("kernel @" + c.name +
                    "(%x: f32[64], %n: i32[64], %u: u32[64], %y: out f32[64], %m: "
                    "out i32[64]) dims(rows) tiles(2) scratch(0)" +
                    head + " { grid %g = 0, 2 { " + c.shared +
                    " thread %t = 0, 32 { let %i = ((%g * 32) + %t) " + c.body + " } } }")));
}

inline const std::vector<DeviceCase> kDeviceCases = {
    {"float_arithmetic", "%y[%i] = (((%x[%i] + 1.5:f32) * %x[%i]) - (%x[0] * 3:f32))"},
    {"float_division", "%y[%i] = (%x[%i] / 3:f32)", "", 0, 4e-7},
    {"float_square_root", "%y[%i] = sqrt(abs(%x[%i]))", "", 0, 4e-7},
    {"float_unary", "%y[%i] = (neg(floor(%x[%i])) + round_even(%x[%i]))"},
    {"float_min_max", "%y[%i] = min(max(%x[%i], -2:f32), %x[(63 - %i)])"},
    {"fused_multiply_add", "%y[%i] = fma(%x[%i], 1.25:f32, %x[1])", "", 0, 4e-7},
    {"int_arithmetic", "%m[%i] = (((%n[%i] * 7:i32) - %n[0]) + neg(abs(%n[%i])))"},
    {"int_division", "let %a = (abs(%n[%i]) & 1048575:i32) %m[%i] = ((%a // 7:i32) + (%a % 13:i32))"},
    {"int_min_max", "%m[%i] = min(max(%n[%i], -5:i32), %n[(63 - %i)])"},
    {"int_bits", "%m[%i] = ((((%n[%i] & 255:i32) | %n[1]) ^ (%n[2] << 3:i32)) + (%n[%i] >> 5:i32))"},
    {"unsigned_bits", "%m[%i] = bitcast(((max(%u[%i], 9:u32) >> 5:u32) + not(%u[%i]))):i32"},
    {"compare_floats",
     "let %a = %x[%i] let %b = %x[(63 - %i)] %y[%i] = (((((select((%a < %b), 1:f32, 0:f32) + select((%a <= "
     "%b), 2:f32, 0:f32)) "
     "+ select((%a > %b), 4:f32, 0:f32)) + select((%a >= %b), 8:f32, 0:f32)) + select((%a == %b), 16:f32, "
     "0:f32)) + "
     "select((%a != %b), 32:f32, 0:f32))"},
    {"compare_ints",
     "let %a = %n[%i] let %b = %n[(63 - %i)] %m[%i] = (((select((%a < %b), 1:i32, 0:i32) + select((%a <= "
     "%b), 2:i32, 0:i32)) + "
     "select((%a == %b), 4:i32, 0:i32)) + select((%u[%i] < %u[1]), 8:i32, 0:i32))"},
    {"booleans",
     "let %p = (%x[%i] < 0:f32) let %q = (%n[%i] > 0:i32) %m[%i] = ((cast((%p & %q)):i32 + (cast((%p | "
     "%q)):i32 * 2:i32)) + "
     "((cast((%p ^ %q)):i32 * 4:i32) + cast(not(%p)):i32))"},
    {"conversions",
     "%y[%i] = (cast(%n[%i]):f32 + cast(%u[%i]):f32) %m[%i] = (cast(%x[%i]):i32 + "
     "bitcast(cast(abs(%x[%i])):u32):i32)"},
    {"bitcasts",
     "%m[%i] = (bitcast(%x[%i]):i32 ^ 3:i32) %y[%i] = bitcast((bitcast(%x[%i]):u32 & 2147483647:u32)):f32"},
    {"vectors_of_two",
     "if (%t < 16) { let %j = (((%g * 16) + %t) * 2) let %v = (%x[%j]:f32x2 * broadcast(%x[3]):f32x2) "
     "%y[%j] = shuffle(%v)[1, 0] %m[%j] = (%n[%j]:i32x2 + 5:i32x2) }"},
    {"vectors_of_four",
     "if (%t < 8) { let %j = (((%g * 8) + %t) * 4) let %v = %x[%j]:f32x4 let %w = shuffle(%v, "
     "%x[0]:f32x4)[3, 4, 1, 6] "
     "%y[%j] = select((%w < %v), %w, (%v * 2:f32x4)) %m[%j] = %n[%j]:i32x4 }"},
    {"lanes",
     "if (%t < 8) { let %j = (((%g * 8) + %t) * 4) let %v = %x[%j]:f32x4 %y[%j] = shuffle((shuffle(%v)[0] + "
     "shuffle(%v)[3]), "
     "%x[%j], shuffle(%v)[1], shuffle(%v)[2])[0, 1, 2, 3] }"},
    {"halves",
     "let %h = unpack_half(pack_half(shuffle(%x[%i], %x[0])[0, 1])) %y[%i] = (shuffle(%h)[0] + "
     "shuffle(%h)[1])",
     "", 0, 1e-3},
    {"halves_of_any_bits",
     "let %h = unpack_half((%u[%i] & 2080340991:u32)) %y[%i] = (shuffle(%h)[0] * 2:f32) %m[%i] = "
     "bitcast((shuffle(%h)[1] * 0.5:f32)):i32"},  // 0x7BFF7BFF: finite and positive
    {"register_arrays",
     "registers %r: f32x4[2] registers %s: i32[1] %r[0] = (0.5:f32x4 * broadcast(%x[%i]):f32x4) %r[1] = "
     "(%r[0] + 1:f32x4) "
     "%s[0] = %n[%i] %s[0] = (%s[0] + 1:i32) %y[%i] = (shuffle(%r[0])[2] * shuffle(%r[1])[3]) %m[%i] = "
     "%s[0]"},
    {"loops",
     "registers %a: f32[1] %a[0] = 0:f32 serial %k = 0, (%t + 1) { serial %l = 2, 3 { %a[0] = (%a[0] + "
     "(%x[(%k + %l)] * "
     "cast(cast(%l):i32):f32)) } } %y[%i] = %a[0]"},
    {"branches",
     "if (%x[%i] < 0:f32) { if (%n[%i] < 0:i32) { %y[%i] = 1:f32 } else { %y[%i] = 2:f32 } } else { %y[%i] = "
     "%x[%i] } if (%t "
     "== 5) { %m[%i] = 77:i32 }"},
    {"dimensions", "%m[%i] = cast(($rows * %i)):i32"},
    {"shared_memory",
     "%a[%t] = %x[%i] if (%t < 8) { %b[%t] = %x[(%t * 4)]:f32x4 } barrier %y[%i] = (%a[(31 - %t)] + "
     "shuffle(%b[(%t // 4)])[2])",
     "shared %a: f32[32] shared %b: f32x4[8]"},
    {"global_stores_of_the_group",
     "%y[%i] = %x[%i] barrier let %v = %y[((%g * 32) + (31 - %t))] barrier %y[%i] = (%v + 1:f32)"},
    {"subgroup_sums", "let %a = subgroup_add(%x[%i]) let %b = subgroup_add(%n[%i]) %y[%i] = %a %m[%i] = %b",
     "", 8, 1e-5},
    {"subgroup_extremes",
     "let %a = subgroup_min(%x[%i]) let %b = subgroup_max(%n[%i]) let %c = subgroup_max(%x[%i]) %y[%i] = (%a "
     "* %c) %m[%i] = %b",
     "", 8},
    {"subgroup_exchange",
     "let %a = subgroup_xor(%x[%i], 3) let %b = subgroup_broadcast(%n[%i], 5) %y[%i] = %a %m[%i] = %b", "",
     8},
    {"subgroup_vectors",
     "let %v = shuffle(%x[%i], %x[(63 - %i)])[0, 1] let %a = subgroup_max(%v) let %b = subgroup_xor(%v, 1) "
     "%y[%i] = "
     "(shuffle(%a)[0] + shuffle(%b)[1])",
     "", 8},
};

inline const std::vector<DeviceCase>& device_cases() { return kDeviceCases; }

}  // namespace mlc
