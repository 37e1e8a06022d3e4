// The paged KV cache on GPUs, and rotation by units of a few elements.
//
// A page of a layer: K [kv_heads][head_dim / C][page_size][C], then V [kv_heads][page_size][head_dim], where
// C elements are 16 bytes. So threads that hold one token each read K in whole sectors, and threads that hold
// 16 bytes of a head read V so.
#pragma once

#include "kernel/lower/gpu/context.h"

namespace mlc::kernel {

// Index of an element in the cache's slab; C = chunk.
struct CachePages {
  const graph::KvCache& cache;
  int chunk;

  // UserError when a head is no multiple of 16 bytes.
  CachePages(const GpuLowering& gpu, const graph::KvCache& c);

  ExprRef page(const ExprRef& id) const { return id * double(cache.page_elements()); }
  // Element d of a token's key; `page` as page() gives it.
  ExprRef key(const ExprRef& page, const ExprRef& head, const ExprRef& d, const ExprRef& token) const;
  ExprRef value(const ExprRef& page, const ExprRef& head, const ExprRef& token) const;
};

// Rotation of a head in units that threads can take: a unit is n elements and their partners, or n elements
// beyond the rotated ones.
class GpuRotation {
 public:
  // `lanes`: the most elements that x and put can move at once, 1, 2 or 4.
  GpuRotation(GpuLowering& gpu, const Rotation& rotation, const WordMatrix& factors, int lanes);
  int64_t units() const { return rotated_ + plain_; }  // of a head
  // Rotates unit `u` of a head in `row`: element d of it is x(d, n), its results go to put(d, value).
  void unit(const ExprRef& row, const ExprRef& u, const LoadElement& x, const PutElement& put);

 private:
  GpuLowering& gpu_;
  Rotation rotation_;
  WordMatrix factors_;
  int n_ = 1;
  int64_t rotated_ = 0, plain_ = 0;
};

}  // namespace mlc::kernel
