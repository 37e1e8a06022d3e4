// Ops that write the paged KV cache on GPUs: kv_append, rope_append.
#include "kernel/lower/cache.h"

#include <algorithm>
#include <numeric>

#include "kernel/lower/gpu/lowerings.h"
#include "kernel/lower/rope.h"

namespace mlc::kernel {
namespace {

// Vectors that divide what both sides can move: heads of m's and of the cache's elements.
int move_lanes(const Operand& m, int64_t elements) {
  return static_cast<int>(std::gcd(int64_t{m.lanes()}, elements));
}

// Appends a token's latents: their values, then what follows them, both in K.
Function append_latents(GpuLowering& gpu, const CachePages& pages, const Operand& values, const Operand& rest,
                        const Operand& slots, const Operand& cache) {
  KernelBuilder& k = gpu.k;
  const graph::PagedState& c = pages.cache;
  const int64_t behind = c.key_dim - c.value_dim;
  const int n = std::gcd(move_lanes(values, c.value_dim), move_lanes(rest, behind));
  const int64_t per_value = c.value_dim / n, per_head = c.key_dim / n;
  gpu.for_row_units(values.rows, c.kv_heads * per_head, [&](ExprRef row, ExprRef unit) {
    Slot slot = find_slot(gpu, pages, slots, row);
    ExprRef head = k.let("head", unit / per_head), u = k.let("u", unit % per_head);
    ExprRef to = k.let("to", pages.key(slot.page, head, k.let("d", u * n), slot.token));
    k.branch(
        less(u, int_const(per_value)),
        [&] { gpu.store(cache, to, gpu.load(values, values.at(row, head * c.value_dim + u * n), n)); },
        [&] {
          ExprRef column = head * behind + (u - per_value) * n;
          gpu.store(cache, to, gpu.load(rest, rest.at(row, column), n));
        });
  });
  return k.finish();
}

}  // namespace

Function lower_gpu_kv_append(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  const graph::PagedState& c = gpu.cache();
  const CachePages pages = gpu.chunked_pages();
  Operand keys = gpu.matrix(0, "k"), values = gpu.matrix(1, "v"), slots = gpu.vector(2, "slots");
  Operand cache = gpu.state(true);
  if (c.latent) return append_latents(gpu, pages, keys, values, slots, cache);
  int n = std::min(move_lanes(keys, c.key_dim), move_lanes(values, c.value_dim));
  const int64_t longer = std::max(c.key_dim, c.value_dim);
  int64_t per_head = longer / n, units = c.kv_heads * per_head;
  // A unit of the longer of K and V may have none of the other.
  auto inside = [&](const ExprRef& d, int64_t elements) {
    return elements < longer ? less(d, int_const(elements)) : nullptr;
  };
  gpu.for_row_units(keys.rows, units, [&](ExprRef row, ExprRef unit) {
    Slot slot = find_slot(gpu, pages, slots, row);
    ExprRef head = k.let("head", unit / per_head), d = k.let("d", unit % per_head * n);
    ExprRef column = k.let("column", head * c.key_dim + d);
    gpu.where(inside(d, c.key_dim), [&] {
      gpu.store(cache, pages.key(slot.page, head, d, slot.token), gpu.load(keys, keys.at(row, column), n));
    });
    ExprRef value = c.key_dim == c.value_dim ? column : k.let("column", head * c.value_dim + d);
    gpu.where(inside(d, c.value_dim), [&] {
      gpu.store(cache, pages.value(slot.page, head, slot.token) + d,
                gpu.load(values, values.at(row, value), n));
    });
  });
  return k.finish();
}

Function lower_gpu_rope_append(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  const graph::PagedState& c = gpu.cache();
  const CachePages pages = gpu.chunked_pages();
  const Rotation rotation = rotation_of(gpu.node);
  const int64_t heads = gpu.node.get_int("heads");
  Operand x = gpu.matrix(0, "qkv"), factors = gpu.matrix(1, "factors"), slots = gpu.vector(2, "slots");
  Operand cache = gpu.state(true), out = gpu.result();
  const int n = std::gcd(std::min(move_lanes(x, c.key_dim), out.lanes()), static_cast<int>(c.value_dim));
  Slot slot;
  ExprRef kv_head;
  auto load = [&](const Unit& u, const ExprRef& d, int lanes) {
    return gpu.load(x, x.at(u.row, u.head + d), lanes);
  };
  auto put_query = [&](const Unit& u, const ExprRef& d, const ExprRef& v) {
    gpu.store(out, out.at(u.row, u.head + d), v);
  };
  auto put_key = [&](const Unit&, const ExprRef& d, const ExprRef& v) {
    gpu.store(cache, pages.key(slot.page, kv_head, d, slot.token), v);
  };
  const std::vector<Part> queries = rotation_parts(gpu, rotation, factors, n, load, put_query);
  const std::vector<Part> keys = rotation_parts(gpu, rotation, factors, n, load, put_key);
  const int64_t per_head = HeadUnits{queries}.count(), rotated = (heads + c.kv_heads) * per_head;
  const int64_t copied = c.value_dim / n;
  gpu.for_row_units(x.rows, rotated + c.kv_heads * copied, [&](ExprRef row, ExprRef unit) {
    auto rotate = [&] {
      ExprRef head = k.let("head", unit / per_head), u = k.let("u", unit % per_head);
      ExprRef column = k.let("column", head * c.key_dim);
      k.branch(
          less(head, int_const(heads)), [&] { HeadUnits{queries}.meet(gpu, row, column, u); },
          [&] {
            slot = find_slot(gpu, pages, slots, row);
            kv_head = k.let("kv_head", head - heads);
            HeadUnits{keys}.meet(gpu, row, column, u);
          });
    };
    auto copy_value = [&] {
      slot = find_slot(gpu, pages, slots, row);
      ExprRef v = k.let("v", unit - rotated);
      ExprRef head = k.let("head", v / copied), d = k.let("d", v % copied * n);
      ExprRef column = head * c.value_dim + d + (heads + c.kv_heads) * c.key_dim;
      gpu.store(cache, pages.value(slot.page, head, slot.token) + d, gpu.load(x, x.at(row, column), n));
    };
    k.branch(less(unit, int_const(rotated)), rotate, copy_value);
  });
  return k.finish();
}

}  // namespace mlc::kernel
