// Ops that write the paged KV cache: kv_append, rope_append, copy_pages.
#include "kernel/lower/cpu/cache.h"

#include "formats/plan.h"
#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/quantize.h"

namespace mlc::kernel {
namespace {

// The page of a slot and the token inside it.
struct Slot {
  ExprRef page_base, token;
};

Slot find_slot(CpuLowering& low, const BufferRef& slots, const ExprRef& row) {
  double size = static_cast<double>(low.cache().page_size);
  ExprRef slot = low.k.let("slot", cast(low.k.load(slots, row), DType::kI64));
  return {low.k.let("page", page_base(low, slot / size)), low.k.let("token", slot % low.cache().page_size)};
}

// Stores a head's elements d, d + 1, ..; at: of its element 0. A key's lie page_size apart.
void store_floats(CpuLowering& low, const BufferRef& cache, bool values, const ExprRef& at, const ExprRef& d,
                  const ExprRef& rounded) {
  if (values) return low.k.store(cache, at + d, rounded);
  const int64_t stride = low.cache().page_size;
  ExprRef first = low.k.let("at", at + d * double(stride)), all = low.k.let("key", rounded);
  for (int lane = 0; lane < all->type.lanes; ++lane)
    low.k.store(cache, first + double(lane * stride), all->type.lanes == 1 ? all : extract(all, lane));
}

// The same for codes, an even number of them: pairs of a key lie 2 * page_size bytes apart, a value's
// codes 2.
void store_codes(CpuLowering& low, const BufferRef& cache, bool values, const ExprRef& at, const ExprRef& d,
                 const ExprRef& codes) {
  const int64_t stride = values ? 2 : 2 * low.cache().page_size;
  const int count = values ? codes->type.lanes : codes->type.lanes / 2;
  ExprRef first = low.k.let("at", at + d * double(values ? 2 : low.cache().page_size));
  ExprRef all = low.k.let("codes", values ? codes : bitcast(codes, {DType::kI16, count}));
  if (values) all = low.k.let("codes", bitcast(codes, {DType::kU8, count}));
  for (int lane = 0; lane < count; ++lane)
    low.k.store(cache, first + double(lane * stride), count == 1 ? all : extract(all, lane));
}

// Stores the head x(d, lanes) of one token's keys or values.
void append_head(CpuLowering& low, const BufferRef& cache, const Slot& slot, bool values, const ExprRef& head,
                 const LoadElement& x) {
  KernelBuilder& k = low.k;
  const graph::KvCache& c = low.cache();
  ExprRef in_page =
      values ? value_offset(c, head, slot.token) : key_offset(c, head, int_const(0), slot.token);
  ExprRef at = k.let("head_at", slot.page_base + in_page);
  if (!is_coded(c))
    return k.vector_loop("d", int_const(c.head_dim), low.lanes(), [&](ExprRef d, int lanes) {
      store_floats(low, cache, values, at, d, cast(x(d, lanes), cache->element.dtype));
    });
  const int lanes = low.lanes_dividing(c.head_dim);
  BufferRef largest = k.registers("largest", {DType::kI32, lanes}, 1);
  k.store(largest, int_const(0), int_const(0, {DType::kI32, lanes}));
  k.vector_loop("d", int_const(c.head_dim), lanes, [&](ExprRef d, int n) {
    k.store(largest, int_const(0),
            binary(BinaryOp::kMax, k.load(largest, int_const(0)), magnitude_bits(x(d, n))));
  });
  ExprRef top = k.load(largest, int_const(0));
  Coder coder(low, k.let("top", lanes == 1 ? top : reduce(BinaryOp::kMax, top)));
  k.vector_loop("d", int_const(c.head_dim), lanes, [&](ExprRef d, int n) {
    store_codes(low, cache, values, at, d, cast(coder.code(x(d, n)), DType::kI8));
  });
  k.store(cache, scale_index(c, slot.page_base, values, head, slot.token), coder.scale);
}

}  // namespace

int64_t layer_stride(const graph::KvCache& c) {
  return kv_page_bytes(c.kv_heads, c.head_dim, c.page_size, c.dtype) / size_of(c.dtype);
}

ExprRef value_offset(const graph::KvCache& c, const ExprRef& head, const ExprRef& token) {
  if (!is_coded(c)) return ((head + double(c.kv_heads)) * double(c.page_size) + token) * double(c.head_dim);
  ExprRef in_head = token / 2.0 * double(2 * c.head_dim) + token % 2;
  return head * double(coded_head_bytes(c)) + in_head + double(c.head_dim * c.page_size);
}

ExprRef scale_index(const graph::KvCache& c, const ExprRef& page, bool values, const ExprRef& head,
                    const ExprRef& token) {
  int64_t before = 2 * c.head_dim * c.page_size + (values ? 4 * c.page_size : 0);
  return page + head * double(coded_head_bytes(c)) + token * 4.0 + double(before);
}

ExprRef load_key_codes(CpuLowering& low, const BufferRef& cache, const ExprRef& keys, const ExprRef& d,
                       const ExprRef& token, int lanes) {
  ExprRef pairs = keys + d / 2.0 * double(2 * low.cache().page_size) + token * 2.0;
  ExprRef two = low.k.load_as({DType::kI16, lanes}, cache, pairs);
  ExprRef shift = broadcast(cast(int_const(8) - d % 2 * 8.0, DType::kI16),
                            lanes);  // an even element's code becomes the high byte
  return cast(binary(BinaryOp::kShr, binary(BinaryOp::kShl, two, shift), int_const(8, two->type)),
              DType::kF32);
}

Function lower_kv_append(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Matrix keys = low.matrix(0, "k"), values = low.matrix(1, "v");
  BufferRef slots = low.vector(2, "slots");
  BufferRef cache = low.state(true);
  low.for_each_row(keys.rows, [&](ExprRef r) {
    Slot slot = find_slot(low, slots, r);
    k.loop("head", 0, low.cache().kv_heads, LoopKind::kSerial, [&](ExprRef h) {
      ExprRef column = k.let("column", h * double(low.cache().head_dim));
      for (const Matrix* m : {&keys, &values})
        append_head(low, cache, slot, m == &values, h, [&](ExprRef d, int lanes) {
          return low.load_f32(m->buffer, m->at(r, column + d), lanes);
        });
    });
  });
  return k.finish();
}

Function lower_rope_append(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Rotation rotation = rotation_of(low.node);
  int64_t heads = low.node.get_int("heads"), kv_heads = low.cache().kv_heads, size = rotation.head_dim;
  Matrix x = low.matrix(0, "qkv");
  Matrix factors = low.matrix(1, "factors");
  BufferRef slots = low.vector(2, "slots");
  BufferRef cache = low.state(true);
  Matrix out = low.result();
  low.for_each_row(x.rows, [&](ExprRef r) {
    BufferRef rotated = k.shared("rotated", DType::kF32, size);
    ExprRef factor_base = k.let("factors", factors.at(r, int_const(0)));
    auto element = [&](ExprRef column) {
      return [&, column](ExprRef d, int lanes) { return low.load_f32(x.buffer, x.at(r, column + d), lanes); };
    };
    k.loop("head", 0, heads, LoopKind::kSerial, [&](ExprRef h) {
      ExprRef column = k.let("column", h * double(size));
      rotate_head(low, rotation, factors.buffer, factor_base, element(column),
                  [&](ExprRef d, ExprRef v) { low.store_f32(out.buffer, out.at(r, column + d), v); });
    });
    Slot slot = find_slot(low, slots, r);
    k.loop("head", 0, kv_heads, LoopKind::kSerial, [&](ExprRef h) {
      ExprRef key = k.let("key", (h + double(heads)) * double(size));
      rotate_head(low, rotation, factors.buffer, factor_base, element(key),
                  [&](ExprRef d, ExprRef v) { k.store(rotated, d, v); });
      append_head(low, cache, slot, false, h,
                  [&](ExprRef d, int lanes) { return k.load(rotated, d, lanes); });
      append_head(low, cache, slot, true, h,
                  element(k.let("value", (h + double(heads + kv_heads)) * double(size))));
    });
  });
  return k.finish();
}

// One tile per page to copy.
Function lower_copy_pages(CpuLowering& low) {
  KernelBuilder& k = low.k;
  BufferRef sources = low.vector(0, "sources"), targets = low.vector(1, "targets");
  const graph::KvCache& c = low.cache();
  BufferRef cache = low.state(true);
  k.grid("page", low.type(0).shape[0], [&](ExprRef i) {
    ExprRef from = k.let("from", cast(k.load(sources, i), DType::kI64));
    ExprRef to = k.let("to", cast(k.load(targets, i), DType::kI64));
    ExprRef source = k.let("source", page_base(low, from)), target = k.let("target", page_base(low, to));
    k.vector_loop("e", int_const(page_stride(c)), low.lanes(), [&](ExprRef e, int lanes) {
      k.store(cache, target + e, k.load(cache, source + e, lanes));
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
