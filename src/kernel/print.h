// The text of a kernel; parse.h reads it back.
//
//   kernel @scale(%x: f32[(rows * 64)], %y: out f32[(rows * 64)]) dims(rows) tiles(rows) scratch(0) {
//     grid %row = 0, $rows {
//       serial %i = 0, 8 {
//         let %v = (%x[((%row * 64) + (%i * 8))]:f32x8 * 2:f32x8)
//         %y[((%row * 64) + (%i * 8))] = %v
//       }
//     }
//   }
//
// Integers without a type are i64. Loads say their type unless it is the buffer's element; masks follow the
// index after a comma. `in_place` after the scratch when set, then `subgroups(32)` where the function has a
// subgroup size.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::kernel {

std::string print(const Function& function);
std::string print(const Expr& expr);

// How the text spells operators; used by print and parse.
const char* infix_text(BinaryOp op);     // "+", "==", ...; nullptr for min and max
const char* function_text(BinaryOp op);  // "min", "max"; nullptr else
const char* unary_text(UnaryOp op);
const char* math_text(MathFn fn);
const char* loop_text(LoopKind kind);
const char* role_text(Fragment::Role role);
const char* order_text(MatrixOrder order);

}  // namespace mlc::kernel
