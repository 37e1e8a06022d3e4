// rope: rotary position embedding.
#include "kernel/lower/rope.h"

#include <algorithm>
#include <numeric>

#include "kernel/lower/lowerings.h"

namespace mlc::kernel {

Rotation rotation_of(const graph::Node& node) {
  return {node.get_int("head_dim"), node.get_int("rotary_dim"), node.get_bool_or("interleaved", false),
          node.get_int_or("begin", 0)};
}

std::vector<Part> rotation_parts(Lowering& low, const Rotation& rotation, const Operand& factors, int lanes,
                                 const LoadElement& x, const PutElement& put) {
  const int64_t half = rotation.rotary_dim / 2, end = rotation.begin + rotation.rotary_dim;
  auto rotate = [=, &low](const Unit& u) {
    KernelBuilder& k = low.k;
    const ExprRef& d = u.at;
    auto factor = [&](const ExprRef& at) { return low.load(factors, factors.at(u.row, at), u.lanes); };
    ExprRef cosine = k.let("cosine", factor(d)), sine = k.let("sine", factor(d + half));
    if (rotation.interleaved) {
      ExprRef pair = k.let("pair", x(u, d * 2 + rotation.begin, 2)), a = extract(pair, 0),
              b = extract(pair, 1);
      return put(u, d * 2 + rotation.begin, vector_of({a * cosine - b * sine, b * cosine + a * sine}));
    }
    ExprRef a = k.let("a", x(u, d + rotation.begin, u.lanes));
    ExprRef b = k.let("b", x(u, d + (rotation.begin + half), u.lanes));
    put(u, d + rotation.begin, a * cosine - b * sine);
    put(u, d + (rotation.begin + half), b * cosine + a * sine);
  };
  auto pass_on = [=](int64_t first) {
    return [=](const Unit& u) {
      ExprRef d = u.at + first;
      put(u, d, x(u, d, u.lanes));
    };
  };
  const int64_t behind = rotation.head_dim - end, plain = std::gcd(behind, rotation.begin);
  const int together =
      static_cast<int>(std::gcd(plain, rotation.interleaved ? int64_t{2} : std::gcd(half, int64_t{lanes})));
  std::vector<Part> parts = {{half, together, rotation.interleaved, rotate}};
  if (behind > 0) parts.push_back({behind, together, false, pass_on(end)});
  if (rotation.begin > 0) parts.push_back({rotation.begin, together, false, pass_on(0)});
  return parts;
}

Function lower_rope(Lowering& low) {
  const Rotation rotation = rotation_of(low.node);
  Operand x = low.matrix(0, "x"), factors = low.matrix(1, "factors"), out = low.result();
  const int lanes = std::min(x.lanes(), out.lanes());
  const bool apart = rotation.interleaved && lanes < 2;  // a pair is no aligned vector
  auto load = [&](const Unit& u, const ExprRef& d, int n) {
    ExprRef at = x.at(u.row, u.head + d);
    return apart && n == 2 ? vector_of({low.load(x, at), low.load(x, at + 1)}) : low.load(x, at, n);
  };
  auto put = [&](const Unit& u, const ExprRef& d, const ExprRef& v) {
    ExprRef at = out.at(u.row, u.head + d);
    if (!apart || v->type.lanes != 2) return low.store(out, at, v);
    ExprRef pair = low.k.let("pair", v);
    for (int i = 0; i < 2; ++i) low.store(out, at + i, extract(pair, i));
  };
  low.for_each_unit({.rows = x.rows,
                     .heads = x.columns / rotation.head_dim,
                     .head_size = rotation.head_dim,
                     .parts = rotation_parts(low, rotation, factors, lanes, load, put)});
  return low.k.finish();
}

}  // namespace mlc::kernel
