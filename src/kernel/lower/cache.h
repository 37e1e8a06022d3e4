// Addresses inside the paged KV cache: [layer][page] of K [kv_heads][page_size][head_dim], then V likewise.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

// The first element of a page of the call's layer.
inline ExprRef page_base(Lowering& low, ExprRef page) {
  return std::move(page) * static_cast<double>(low.cache().page_elements());
}

// The first element of a head's token, counted from its page; value: V, else K.
inline ExprRef token_offset(const graph::KvCache& c, bool value, ExprRef head, ExprRef token) {
  ExprRef at = (std::move(head) * double(c.page_size) + std::move(token)) * double(c.head_dim);
  return value ? at + double(c.kv_heads * c.page_size * c.head_dim) : at;
}

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
