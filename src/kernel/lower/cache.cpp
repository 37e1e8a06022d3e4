// Ops that write the paged KV cache: kv_append, rope_append, copy_pages.
#include "formats/plan.h"
#include "kernel/lower/cache.h"

namespace mlc::kernel {
namespace {

// The page of a slot and the token inside it.
struct Slot {
  ExprRef page_base, token;
};

Slot find_slot(Lowering& low, const BufferRef& slots, const ExprRef& row) {
  double size = static_cast<double>(low.cache().page_size);
  ExprRef slot = low.k.let("slot", cast(low.k.load(slots, row), DType::kI64));
  return {low.k.let("page", page_base(low, slot / size)), low.k.let("token", slot % low.cache().page_size)};
}

// Elements d, d + 1, ... of a head's key, a column of K.
void append_key(Lowering& low, const BufferRef& cache, const Slot& slot, const ExprRef& head, const ExprRef& d,
                const ExprRef& key) {
  ExprRef rounded = low.k.let("key", cast(key, cache->element.dtype));
  ExprRef at = low.k.let("key_at", slot.page_base + key_offset(low.cache(), head, d, slot.token));
  for (int lane = 0; lane < key->type.lanes; ++lane)
    low.k.store(cache, at + double(lane * low.cache().page_size),
                key->type.lanes == 1 ? rounded : extract(rounded, lane));
}

void append_value(Lowering& low, const BufferRef& cache, const Slot& slot, const ExprRef& head, const LoadElement& x) {
  ExprRef at = low.k.let("at", slot.page_base + value_offset(low.cache(), head, slot.token));
  low.k.vector_loop("d", int_const(low.cache().head_dim), low.lanes(),
                    [&](ExprRef d, int lanes) { low.store_f32(cache, at + d, x(d, lanes)); });
}

}  // namespace

Function lower_kv_append(Lowering& low) {
  KernelBuilder& k = low.k;
  Matrix keys = low.matrix(0, "k"), values = low.matrix(1, "v");
  BufferRef slots = low.vector(2, "slots");
  BufferRef cache = low.state(true);
  low.for_each_row(keys.rows, [&](ExprRef r) {
    Slot slot = find_slot(low, slots, r);
    k.loop("head", 0, low.cache().kv_heads, LoopKind::kSerial, [&](ExprRef h) {
      ExprRef column = k.let("column", h * double(low.cache().head_dim));
      k.vector_loop("d", int_const(low.cache().head_dim), low.lanes(), [&](ExprRef d, int lanes) {
        append_key(low, cache, slot, h, d, low.load_f32(keys.buffer, keys.at(r, column + d), lanes));
      });
      append_value(low, cache, slot, h, [&](ExprRef d, int lanes) {
        return low.load_f32(values.buffer, values.at(r, column + d), lanes);
      });
    });
  });
  return k.finish();
}

Function lower_rope_append(Lowering& low) {
  KernelBuilder& k = low.k;
  Rotation rotation = rotation_of(low.node);
  int64_t heads = low.node.get_int("heads"), kv_heads = low.cache().kv_heads, size = rotation.head_dim;
  Matrix x = low.matrix(0, "qkv");
  Matrix factors = low.matrix(1, "factors");
  BufferRef slots = low.vector(2, "slots");
  BufferRef cache = low.state(true);
  Matrix out = low.result();
  low.for_each_row(x.rows, [&](ExprRef r) {
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
                  [&](ExprRef d, ExprRef v) { append_key(low, cache, slot, h, d, v); });
      append_value(low, cache, slot, h, element(k.let("value", (h + double(heads + kv_heads)) * double(size))));
    });
  });
  return k.finish();
}

// One tile per page to copy: all layers of it.
Function lower_copy_pages(Lowering& low) {
  KernelBuilder& k = low.k;
  BufferRef sources = low.vector(0, "sources"), targets = low.vector(1, "targets");
  const graph::KvCache& c = low.cache();
  BufferRef cache = low.state(true, c.layers);
  ExprRef pages = k.dimension(kPoolPages);
  k.grid("page", low.type(0).shape[0], [&](ExprRef i) {
    ExprRef from = k.let("from", cast(k.load(sources, i), DType::kI64));
    ExprRef to = k.let("to", cast(k.load(targets, i), DType::kI64));
    k.loop("layer", 0, c.layers, LoopKind::kSerial, [&](ExprRef layer) {
      ExprRef source = k.let("source", (layer * pages + from) * double(c.page_elements()));
      ExprRef target = k.let("target", (layer * pages + to) * double(c.page_elements()));
      k.vector_loop("e", int_const(c.page_elements()), low.lanes(), [&](ExprRef e, int lanes) {
        k.store(cache, target + e, k.load(cache, source + e, lanes));
      });
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
