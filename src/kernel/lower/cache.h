// Addresses inside the paged KV cache: [page][layer] of K [kv_heads][head_dim][page_size], then V [kv_heads][page_size]
// [head_dim]. Scores are computed with lanes along K's tokens, weighted values with lanes along V's heads: neither needs
// a sum across lanes. A cache of i8 codes is a buffer of bytes: each page's codes as above, then the scales of
// kv_page_bytes (formats/plan.h). All layers of a page lie together, so that a short sequence touches little memory.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

inline bool is_coded(const graph::KvCache& c) { return c.dtype == DType::kI8; }

// One layer of a page, and all of them, in elements of the buffer.
int64_t layer_stride(const graph::KvCache& c);
inline int64_t page_stride(const graph::KvCache& c) { return c.layers * layer_stride(c); }

// The first element of a page, from the call's layer on.
inline ExprRef page_base(Lowering& low, ExprRef page) {
  return std::move(page) * static_cast<double>(page_stride(low.cache()));
}

// Element d of a head's key of a token, counted from its page.
inline ExprRef key_offset(const graph::KvCache& c, ExprRef head, ExprRef d, ExprRef token) {
  return (std::move(head) * double(c.head_dim) + std::move(d)) * double(c.page_size) + std::move(token);
}

// The first element of a head's value of a token, counted from its page.
inline ExprRef value_offset(const graph::KvCache& c, ExprRef head, ExprRef token) {
  return ((std::move(head) + double(c.kv_heads)) * double(c.page_size) + std::move(token)) * double(c.head_dim);
}

// Elements from `index` on: f32 values, or the codes as f32.
ExprRef load_cached(Lowering& low, const BufferRef& cache, const ExprRef& index, int lanes);

// Of a coded cache, where the f32 scales of a head's keys or values lie from a token on; page: its first element.
ExprRef scale_index(const graph::KvCache& c, const ExprRef& page, bool values, const ExprRef& head, const ExprRef& token);

// exp(change) for a softmax, change <= 0, with 0 below exp(-80) = 2e-35: what is smaller changes no sum, and arithmetic on
// the subnormal numbers below exp(-87) is a hundred times slower on many CPUs. NaN stays NaN.
ExprRef softmax_weight(Lowering& low, const ExprRef& change);

// Declares the rotation of heads: see rope.cpp.
struct Rotation {
  int64_t head_dim = 0, rotary_dim = 0;
  bool interleaved = false;
};
Rotation rotation_of(const graph::Node& node);

// Rotates one head: element d of it is x(d), its result goes to put(d, value). factors: cosines then sines of the row
// from index factor_base on.
using LoadElement = std::function<ExprRef(ExprRef, int)>;
using PutElement = std::function<void(ExprRef, ExprRef)>;
void rotate_head(Lowering& low, const Rotation& rotation, const BufferRef& factors, const ExprRef& factor_base,
                 const LoadElement& x, const PutElement& put);

}  // namespace mlc::kernel
