// rope: rotary position embedding with factors that the runtime made.
#include "kernel/lower/cpu/cache.h"
#include "kernel/lower/cpu/lowerings.h"

namespace mlc::kernel {

void rotate_head(CpuLowering& low, const Rotation& rotation, const BufferRef& factors,
                 const ExprRef& factor_base, const LoadElement& x, const PutElement& put) {
  KernelBuilder& k = low.k;
  int64_t half = rotation.rotary_dim / 2;
  auto rotate = [&](ExprRef d, int lanes, ExprRef first, ExprRef second) {
    ExprRef cosine = k.let("cosine", k.load(factors, factor_base + d, lanes));
    ExprRef sine = k.let("sine", k.load(factors, factor_base + d + double(half), lanes));
    ExprRef a = k.let("a", x(first, lanes)), b = k.let("b", x(second, lanes));
    put(first, a * cosine - b * sine);
    put(second, b * cosine + a * sine);
  };
  if (rotation.interleaved)
    k.loop("d", 0, half, LoopKind::kSerial, [&](ExprRef d) { rotate(d, 1, d * 2.0, d * 2.0 + 1.0); });
  else
    k.vector_loop("d", int_const(half), low.lanes(),
                  [&](ExprRef d, int lanes) { rotate(d, lanes, d, d + double(half)); });
  int64_t plain = rotation.head_dim - rotation.rotary_dim;  // the rest of the head is copied
  if (plain == 0) return;
  k.vector_loop("d", int_const(plain), low.lanes(), [&](ExprRef d, int lanes) {
    ExprRef at = d + double(rotation.rotary_dim);
    put(at, x(at, lanes));
  });
}

Function lower_rope(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Rotation rotation = rotation_of(low.node);
  Matrix x = low.matrix(0, "x");
  Matrix factors = low.matrix(1, "factors");
  Matrix out = low.result();
  low.for_each_row(x.rows, [&](ExprRef r) {
    ExprRef factor_base = k.let("factors", factors.at(r, int_const(0)));
    k.loop("head", 0, x.columns / rotation.head_dim, LoopKind::kSerial, [&](ExprRef h) {
      ExprRef column = k.let("column", h * double(rotation.head_dim));
      rotate_head(
          low, rotation, factors.buffer, factor_base,
          [&](ExprRef d, int lanes) { return low.load_f32(x.buffer, x.at(r, column + d), lanes); },
          [&](ExprRef d, ExprRef v) { low.store_f32(out.buffer, out.at(r, column + d), v); });
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
