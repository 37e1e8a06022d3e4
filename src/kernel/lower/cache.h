// Addresses in the paged KV cache, for CPUs and GPUs: where the keys and values of a token lie.
//
// A page of a layer: K [kv_heads][head_dim / C][page_size][C], then V [kv_heads][page_size][head_dim]. C, the
// elements of a key that lie together, is 1 on CPUs: scores are computed with lanes along K's tokens,
// weighted values with lanes along V's heads, and neither needs a sum across lanes. On GPUs C is the
// most elements that divide a head and are at most 16 bytes: threads that hold one token each read K in whole
// sectors, and threads that hold C elements of a head read V so. Where values are the keys' first elements
// there is no V: on GPUs they are read from K, and on CPUs C is then key_dim, so that what both read of a
// token is one run. On CPUs all layers of a page lie together, so that a short sequence touches little
// memory; on GPUs each layer has its slab of pages.
//
// A cache of i8 codes (CPUs) is a buffer of bytes: per key/value head K [head_dim / 2][page_size][2], V
// [page_size / 2][head_dim][2], then f32 scales of K [page_size] and of V [page_size]. Neighbouring codes in
// pairs are what products of i16 pairs eat, and all that a head reads of a page is one run of memory.
// head_dim and page_size are even.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

inline bool is_coded(const graph::PagedState& c) { return c.dtype == DType::kI8; }

// Bytes of one page of one layer.
int64_t page_bytes(const graph::PagedState& c);
// Bytes of one head of a page of codes.
inline int64_t coded_head_bytes(const graph::PagedState& c) { return 2 * c.page_size * (c.key_dim + 4); }

// Indices into the buffer of a state.
struct CachePages {
  const graph::PagedState& cache;
  int chunk = 1;            // C
  int64_t page_stride = 0;  // from a page to the next
  int64_t slabs = 1;        // of pages, one after the other, in the buffer

  ExprRef page(const ExprRef& id) const { return id * page_stride; }
  // Element d of a token's key, even in a cache of codes; `page` as page() gives it.
  ExprRef key(const ExprRef& page, const ExprRef& head, const ExprRef& d, const ExprRef& token) const;
  // The first element of a token's value; those of a cache of codes lie two apart.
  ExprRef value(const ExprRef& page, const ExprRef& head, const ExprRef& token) const;
  // From C elements of a value to the next C, and from a token's value to the next one's.
  int64_t value_chunk_stride() const { return cache.latent ? cache.page_size * chunk : chunk; }
  int64_t value_stride() const { return cache.latent ? chunk : cache.value_dim; }
  // Of a cache of codes, the f32 scales of a head's keys or values from a token on.
  ExprRef scale(const ExprRef& page, bool values, const ExprRef& head, const ExprRef& token) const;
};

// The page of a slot and the token inside it.
struct Slot {
  ExprRef page, token;
};
Slot find_slot(Lowering& low, const CachePages& pages, const Operand& slots, const ExprRef& row);

}  // namespace mlc::kernel
