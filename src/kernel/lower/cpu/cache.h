// Addresses inside the paged KV cache: [page][layer] of K [kv_heads][head_dim][page_size], then V
// [kv_heads][page_size] [head_dim]. Scores are computed with lanes along K's tokens, weighted values with
// lanes along V's heads: neither needs a sum across lanes. All layers of a page lie together, so that a short
// sequence touches little memory.
//
// A cache of i8 codes is a buffer of bytes: per key/value head K [head_dim / 2][page_size][2], V [page_size /
// 2][head_dim][2], then f32 scales of K [page_size] and of V [page_size]. Neighbouring codes in pairs are
// what products of i16 pairs eat, and all that a head reads of a page is one run of memory. head_dim and
// page_size are even.
#pragma once

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

inline bool is_coded(const graph::KvCache& c) { return c.dtype == DType::kI8; }

// One layer of a page, and all of them, in elements of the buffer.
int64_t layer_stride(const graph::KvCache& c);
inline int64_t page_stride(const graph::KvCache& c) { return c.layers * layer_stride(c); }

// The first element of a page, from the call's layer on.
inline ExprRef page_base(CpuLowering& low, ExprRef page) {
  return std::move(page) * static_cast<double>(page_stride(low.cache()));
}

// Bytes of one head of a page of codes.
inline int64_t coded_head_bytes(const graph::KvCache& c) { return 2 * c.page_size * (c.head_dim + 4); }

// The first element of a head's keys, counted from its page; element d of a token's key, d even in a cache of
// codes.
inline ExprRef key_offset(const graph::KvCache& c, ExprRef head, ExprRef d, ExprRef token) {
  if (is_coded(c))
    return std::move(head) * double(coded_head_bytes(c)) + std::move(d) * double(c.page_size) +
           std::move(token) * 2.0;
  return (std::move(head) * double(c.head_dim) + std::move(d)) * double(c.page_size) + std::move(token);
}

// The first element of a head's value of a token, counted from its page. In a cache of codes elements lie two
// apart.
ExprRef value_offset(const graph::KvCache& c, const ExprRef& head, const ExprRef& token);

// The codes of element d of a head's keys as f32, from a token on; keys: where the head's keys begin.
ExprRef load_key_codes(CpuLowering& low, const BufferRef& cache, const ExprRef& keys, const ExprRef& d,
                       const ExprRef& token, int lanes);

// Of a coded cache, where the f32 scales of a head's keys or values lie from a token on; page: its first
// element.
ExprRef scale_index(const graph::KvCache& c, const ExprRef& page, bool values, const ExprRef& head,
                    const ExprRef& token);

// Rotates one head: element d of it is x(d), its result goes to put(d, value). factors: cosines then sines of
// the row from index factor_base on.
void rotate_head(CpuLowering& low, const Rotation& rotation, const BufferRef& factors,
                 const ExprRef& factor_base, const LoadElement& x, const PutElement& put);

}  // namespace mlc::kernel
