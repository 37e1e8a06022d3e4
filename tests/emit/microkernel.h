// The int8 matmul tile of our CPU schedules, as a kernel that fills its registers: tests of order and spills
// use it.
#pragma once

#include "kernel/builder.h"

namespace mlc::kernel {

// 16 weight rows x `columns` activation rows over `groups` of 32 k, int16 accumulation: 12 accumulators + 2
// weights + a broadcast + a temporary fill 16 registers at columns = 6. The f32 accumulators lie in memory.
//   w: u8 [group][step 8][tile 2][32], x: words of 4 s8 [group][step 8][column], scale: f32 [group][2][8],
//   y: f32 [column][2][8]
inline Function int16_tile(int columns) {
  KernelBuilder k("int16_tile");
  Dim groups = Dim::symbol("groups");
  BufferRef w = k.input("w", DType::kU8, groups * 512), x = k.input("x", DType::kI8, groups * 32 * columns);
  BufferRef scale = k.input("scale", DType::kF32, groups * 16), y = k.output("y", DType::kF32, 16 * columns);
  Type i16x16{DType::kI16, 16};
  k.grid("tile", 1, [&](ExprRef) {
    k.loop("g", int_const(0), dim_expr(groups), LoopKind::kSerial, [&](ExprRef g) {
      BufferRef acc = k.registers("acc", i16x16, 2 * columns);
      k.loop("step", 0, 8, LoopKind::kUnrolled, [&](ExprRef step) {
        ExprRef line = (g * int_const(8) + step) * int_const(64);
        ExprRef weights[2] = {k.let("w0", k.load(w, line, 32)),
                              k.let("w1", k.load(w, line + int_const(32), 32))};
        k.loop("m", 0, columns, LoopKind::kUnrolled, [&](ExprRef m) {
          ExprRef word = ((g * int_const(8) + step) * int_const(columns) + m) * int_const(4);
          ExprRef four = bitcast(k.load(x, word, 4), {DType::kI32, 1});
          ExprRef all = k.let("x", bitcast(broadcast(four, 8), {DType::kI8, 32}));
          for (int t = 0; t < 2; ++t) {
            ExprRef slot = m * int_const(2) + int_const(t);
            ExprRef product = dot2_u8s8(weights[t], all);
            k.branch(
                binary(BinaryOp::kEq, step, int_const(0)), [&] { k.store(acc, slot, product); },
                [&] { k.store(acc, slot, k.load(acc, slot) + product); });
          }
        });
      });
      k.loop("m", 0, columns, LoopKind::kUnrolled, [&](ExprRef m) {
        for (int t = 0; t < 2; ++t) {
          ExprRef slot = m * int_const(2) + int_const(t);
          ExprRef sum = cast(dot2_i16(k.load(acc, slot), int_const(1, i16x16)), DType::kF32);
          ExprRef at = slot * int_const(8);
          k.store(y, at, fma(sum, k.load(scale, g * int_const(16) + int_const(8 * t), 8), k.load(y, at, 8)));
        }
      });
    });
  });
  return k.finish();
}

// y[row][lanes] += dot4 of 4*lanes products, `signed_a` s8 x s8, else u8 x s8, over `rows` rows.
inline Function dot4_rows(int lanes, bool signed_a) {
  KernelBuilder k("dot4_rows");
  Dim rows = Dim::symbol("rows");
  BufferRef a = k.input("a", signed_a ? DType::kI8 : DType::kU8, rows * (4 * lanes));
  BufferRef b = k.input("b", DType::kI8, rows * (4 * lanes)), y = k.output("y", DType::kI32, rows * lanes);
  k.grid("row", rows, [&](ExprRef row) {
    ExprRef at = row * int_const(4 * lanes);
    k.store(y, row * int_const(lanes),
            dot4(k.load(a, at, 4 * lanes), k.load(b, at, 4 * lanes), int_const(5, {DType::kI32, lanes})));
  });
  return k.finish();
}

// y[row][lanes] = sums of two u8 x s8 products (u8 values up to 15), or of two i16 products.
inline Function dot2_rows(int lanes, bool bytes) {
  KernelBuilder k("dot2_rows");
  Dim rows = Dim::symbol("rows");
  BufferRef a = k.input("a", bytes ? DType::kU8 : DType::kI16, rows * (2 * lanes));
  BufferRef b = k.input("b", bytes ? DType::kI8 : DType::kI16, rows * (2 * lanes));
  BufferRef y = k.output("y", bytes ? DType::kI16 : DType::kI32, rows * lanes);
  k.grid("row", rows, [&](ExprRef row) {
    ExprRef at = row * int_const(2 * lanes);
    ExprRef u = k.load(a, at, 2 * lanes), v = k.load(b, at, 2 * lanes);
    if (bytes) u = binary(BinaryOp::kAnd, u, int_const(15, u->type));
    k.store(y, row * int_const(lanes), bytes ? dot2_u8s8(u, v) : dot2_i16(u, v));
  });
  return k.finish();
}

}  // namespace mlc::kernel
