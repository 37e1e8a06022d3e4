// Ops that write the paged KV cache: kv_append, rope_append.
#include "kernel/lower/cpu/cache.h"

#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/quantize.h"
#include "kernel/lower/rope.h"

namespace mlc::kernel {
namespace {

// Stores a head's elements d, d + 1, ..; at: of its element 0. A key's lie page_size apart.
void store_floats(CpuLowering& low, const BufferRef& cache, bool values, const ExprRef& at, const ExprRef& d,
                  const ExprRef& rounded) {
  if (values) return low.k.store(cache, at + d, rounded);
  const int64_t stride = low.cache().page_size;
  ExprRef first = low.k.let("at", at + d * stride), all = low.k.let("key", rounded);
  for (int lane = 0; lane < all->type.lanes; ++lane)
    low.k.store(cache, first + lane * stride, all->type.lanes == 1 ? all : extract(all, lane));
}

// The same for codes, an even number of them: pairs of a key lie 2 * page_size bytes apart, a value's
// codes 2.
void store_codes(CpuLowering& low, const BufferRef& cache, bool values, const ExprRef& at, const ExprRef& d,
                 const ExprRef& codes) {
  const int64_t stride = values ? 2 : 2 * low.cache().page_size;
  const int count = values ? codes->type.lanes : codes->type.lanes / 2;
  ExprRef first = low.k.let("at", at + d * (values ? 2 : low.cache().page_size));
  ExprRef all = low.k.let("codes", values ? codes : bitcast(codes, {DType::kI16, count}));
  if (values) all = low.k.let("codes", bitcast(codes, {DType::kU8, count}));
  for (int lane = 0; lane < count; ++lane)
    low.k.store(cache, first + lane * stride, count == 1 ? all : extract(all, lane));
}

// Stores n elements x(d, lanes) of a token's latent, from its element `first` on.
void append_latent(CpuLowering& low, const BufferRef& cache, const Slot& slot, const ExprRef& head,
                   int64_t first, int64_t n, const std::function<ExprRef(ExprRef, int)>& x) {
  ExprRef at = low.k.let("head_at", low.pages().value(slot.page, head, slot.token) + first);
  low.k.vector_loop("d", int_const(n), low.lanes(), [&](ExprRef d, int lanes) {
    store_floats(low, cache, true, at, d, cast(x(d, lanes), cache->element.dtype));
  });
}

// Stores the head x(d, lanes) of one token's keys or values.
void append_head(CpuLowering& low, const BufferRef& cache, const Slot& slot, bool values, const ExprRef& head,
                 const std::function<ExprRef(ExprRef, int)>& x) {
  KernelBuilder& k = low.k;
  const graph::PagedState& c = low.cache();
  const CachePages pages = low.pages();
  ExprRef at = k.let("head_at", values ? pages.value(slot.page, head, slot.token)
                                       : pages.key(slot.page, head, int_const(0), slot.token));
  const int64_t elements = values ? c.value_dim : c.key_dim;
  if (!is_coded(c))
    return k.vector_loop("d", int_const(elements), low.lanes(), [&](ExprRef d, int lanes) {
      store_floats(low, cache, values, at, d, cast(x(d, lanes), cache->element.dtype));
    });
  const int lanes = low.lanes_dividing(c.key_dim);
  BufferRef largest = k.registers("largest", {DType::kI32, lanes}, 1);
  k.store(largest, int_const(0), int_const(0, {DType::kI32, lanes}));
  k.vector_loop("d", int_const(c.key_dim), lanes, [&](ExprRef d, int n) {
    k.store(largest, int_const(0),
            binary(BinaryOp::kMax, k.load(largest, int_const(0)), magnitude_bits(x(d, n))));
  });
  ExprRef top = k.load(largest, int_const(0));
  Coder coder(low, k.let("top", lanes == 1 ? top : reduce(BinaryOp::kMax, top)));
  k.vector_loop("d", int_const(c.key_dim), lanes, [&](ExprRef d, int n) {
    store_codes(low, cache, values, at, d, cast(coder.code(x(d, n)), DType::kI8));
  });
  k.store(cache, pages.scale(slot.page, values, head, slot.token), coder.scale);
}

}  // namespace

ExprRef load_key_codes(CpuLowering& low, const BufferRef& cache, const ExprRef& keys, const ExprRef& d,
                       const ExprRef& token, int lanes) {
  ExprRef pairs = keys + d / 2 * (2 * low.cache().page_size) + token * 2;
  ExprRef two = low.k.load_as({DType::kI16, lanes}, cache, pairs);
  ExprRef shift = broadcast(cast(int_const(8) - d % 2 * 8, DType::kI16),
                            lanes);  // an even element's code becomes the high byte
  return cast(binary(BinaryOp::kShr, binary(BinaryOp::kShl, two, shift), int_const(8, two->type)),
              DType::kF32);
}

Function lower_kv_append(CpuLowering& low) {
  KernelBuilder& k = low.k;
  const graph::PagedState& c = low.cache();
  Operand keys = low.matrix(0, "k"), values = low.matrix(1, "v"), slots = low.vector(2, "slots");
  BufferRef cache = low.state(true).buffer;
  low.for_rows(keys.rows, [&](ExprRef r) {
    Slot slot = find_slot(low, low.pages(), slots, r);
    k.loop("head", 0, c.kv_heads, LoopKind::kSerial, [&](ExprRef h) {
      for (const Operand* m : {&keys, &values}) {
        const int64_t elements = m->columns / c.kv_heads;
        ExprRef column = k.let("column", h * elements);
        auto x = [&](ExprRef d, int lanes) { return low.load(*m, m->at(r, column + d), lanes); };
        if (c.latent)
          append_latent(low, cache, slot, h, m == &values ? c.value_dim : 0, elements, x);
        else
          append_head(low, cache, slot, m == &values, h, x);
      }
    });
  });
  return k.finish();
}

Function lower_rope_append(CpuLowering& low) {
  KernelBuilder& k = low.k;
  const Rotation rotation = rotation_of(low.node);
  const int64_t heads = low.node.get_int("heads"), kv_heads = low.cache().kv_heads, size = rotation.head_dim;
  Operand x = low.matrix(0, "qkv"), factors = low.matrix(1, "factors"), slots = low.vector(2, "slots");
  BufferRef cache = low.state(true).buffer, rotated;
  Operand out = low.result();
  auto load = [&](const Unit& u, const ExprRef& d, int n) { return low.load(x, x.at(u.row, u.head + d), n); };
  auto put_query = [&](const Unit& u, const ExprRef& d, const ExprRef& v) {
    low.store(out, out.at(u.row, u.head + d), v);
  };
  auto put_key = [&](const Unit&, const ExprRef& d, const ExprRef& v) { k.store(rotated, d, v); };
  low.for_rows(x.rows, [&](ExprRef r) {
    rotated = k.shared("rotated", DType::kF32, size);
    k.loop("head", 0, heads, LoopKind::kSerial, [&](ExprRef h) {
      low.for_each_part(rotation_parts(low, rotation, factors, 1, load, put_query), r,
                        k.let("column", h * size));
    });
    Slot slot = find_slot(low, low.pages(), slots, r);
    k.loop("head", 0, kv_heads, LoopKind::kSerial, [&](ExprRef h) {
      low.for_each_part(rotation_parts(low, rotation, factors, 1, load, put_key), r,
                        k.let("key", (h + heads) * size));
      append_head(low, cache, slot, false, h,
                  [&](ExprRef d, int lanes) { return k.load(rotated, d, lanes); });
      ExprRef value = k.let("value", h * low.cache().value_dim + (heads + kv_heads) * size);
      append_head(low, cache, slot, true, h,
                  [&](ExprRef d, int lanes) { return low.load(x, x.at(r, value + d), lanes); });
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
