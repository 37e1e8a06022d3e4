// Addresses in the paged KV cache, and copy_pages.
#include "kernel/lower/cache.h"

#include "formats/plan.h"
#include "kernel/lower/lowerings.h"

namespace mlc::kernel {

int64_t page_bytes(const graph::PagedState& c) {
  const int64_t scale = is_coded(c) ? 4 : 0, vectors = c.kv_heads * c.page_size;
  const int64_t key = c.key_dim * size_of(c.dtype) + scale, value = c.value_dim * size_of(c.dtype) + scale;
  return vectors * (key + (c.latent ? 0 : value));
}

ExprRef CachePages::key(const ExprRef& page, const ExprRef& head, const ExprRef& d,
                        const ExprRef& token) const {
  if (is_coded(cache)) return page + (head * coded_head_bytes(cache) + d * cache.page_size + token * 2);
  ExprRef at = (head * (cache.key_dim / chunk) + d / chunk) * cache.page_size + token;
  return page + (at * chunk + d % chunk);
}

ExprRef CachePages::value(const ExprRef& page, const ExprRef& head, const ExprRef& token) const {
  if (cache.latent) return key(page, head, int_const(0), token);
  if (!is_coded(cache)) {
    const int64_t values = cache.page_size * cache.value_dim,
                  before = cache.kv_heads * cache.page_size * cache.key_dim;
    return page + (((head + before / values) * cache.page_size + token) * cache.value_dim + before % values);
  }
  ExprRef in_head = token / 2 * (2 * cache.key_dim) + token % 2;
  return page + (head * coded_head_bytes(cache) + in_head + cache.key_dim * cache.page_size);
}

ExprRef CachePages::scale(const ExprRef& page, bool values, const ExprRef& head, const ExprRef& token) const {
  int64_t before = 2 * cache.key_dim * cache.page_size + (values ? 4 * cache.page_size : 0);
  return page + head * coded_head_bytes(cache) + token * 4 + before;
}

Slot find_slot(Lowering& low, const CachePages& pages, const Operand& slots, const ExprRef& row) {
  ExprRef slot = low.k.let("slot", low.load_index(slots, row));
  return {low.k.let("page", pages.page(slot / pages.cache.page_size)),
          low.k.let("token", slot % pages.cache.page_size)};
}

// A row is a page to copy, a head a slab.
Function lower_copy_pages(Lowering& low) {
  KernelBuilder& k = low.k;
  Operand sources = low.vector(0, "sources"), targets = low.vector(1, "targets");
  const CachePages pages = low.pages();
  Operand cache = low.state(true);
  const int64_t size = pages.page_stride / cache.elements_per_word();
  ExprRef slab_pages = pages.slabs > 1 ? k.dimension(low.pool_pages()) : int_const(0), from, to;
  auto body = [&](const Unit& u) {
    auto at = [&](const ExprRef& page) { return (u.head * slab_pages + page) * size + u.at; };
    k.store(cache.buffer, at(to), k.load(cache.buffer, at(from), u.lanes));
  };
  low.for_each_unit({.rows = low.type(0).shape[0],
                     .heads = pages.slabs,
                     .head_size = 1,
                     .parts = {{size, 4, false, body}},
                     .enter = [&](const ExprRef& row) {
                       from = k.let("from", low.load_index(sources, row));
                       to = k.let("to", low.load_index(targets, row));
                     }});
  return k.finish();
}

}  // namespace mlc::kernel
