// Rotation of heads by the factors that the runtime made.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

// How heads are rotated, as the attributes of rope and rope_append say.
struct Rotation {
  int64_t head_dim = 0, rotary_dim = 0;
  bool interleaved = false;
  int64_t begin = 0;  // of the rotated elements
};
Rotation rotation_of(const graph::Node& node);

// Elements of a unit's head: n of them from d on; what becomes of them.
using LoadElement = std::function<ExprRef(const Unit&, const ExprRef& d, int n)>;
using PutElement = std::function<void(const Unit&, const ExprRef& d, const ExprRef& value)>;

// The parts of a head whose elements are x: the rotated ones, each with its partner, and those behind and
// before them, which are passed on. A row's factors are its cosines, then its sines. lanes: the most elements
// that x and put move at once.
std::vector<Part> rotation_parts(Lowering& low, const Rotation& rotation, const Operand& factors, int lanes,
                                 const LoadElement& x, const PutElement& put);

}  // namespace mlc::kernel
