// attention on GPUs: lanes and subgroups bring their sums together, and what becomes of them.
#include "kernel/lower/gpu/attention.h"

namespace mlc::kernel {

// Lanes that met different tokens add up, so that the first of them hold the sums.
void GpuAttention::merge_token_lanes(const Memory& m) const {
  int64_t count = acc_at(queries(), 0, 0);
  for (int mask = value_lanes(); mask < gpu_.lanes && token_lanes() > 1; mask *= 2) {
    std::vector<ExprRef> mine, other;
    for (int64_t i = 0; i < count; ++i) mine.push_back(k_.let("mine", k_.load(m.acc, int_const(i))));
    for (const ExprRef& m : mine) other.push_back(k_.let("other", subgroup_xor(m, mask)));
    for (int64_t i = 0; i < count; ++i) k_.store(m.acc, int_const(i), mine[size_t(i)] + other[size_t(i)]);
  }
  std::vector<ExprRef> sums;
  for (size_t q = 0; q < queries(); ++q)
    sums.push_back(k_.let(
        "sum",
        subgroup(BinaryOp::kAdd, k_.let("mine", k_.load(m.sums, int_const(static_cast<int64_t>(q)))))));
  for (size_t q = 0; q < queries(); ++q) k_.store(m.sums, int_const(static_cast<int64_t>(q)), sums[q]);
}

// The denominator of a query's softmax by the sum of exp(score - largest).
ExprRef GpuAttention::with_sink(const Group& g, size_t q, const ExprRef& largest,
                                const ExprRef& total) const {
  if (!in_.sinks.buffer) return total;
  ExprRef sink = gpu_.load(in_.sinks, g.first_head + query_[q].head);
  return k_.let("all", add_sink(total, largest, sink));
}

// Stores a vector of a query's result from d on; of a part, its sums as they are.
void GpuAttention::put(const Group& g, size_t q, const ExprRef& d, const ExprRef& sums,
                       const ExprRef& total) const {
  ExprRef head = g.first_head + query_[q].head;
  if (!in_parts()) {
    ExprRef at = in_.out.at(g.row[static_cast<size_t>(query_[q].row)], head * value_dim() + d);
    return gpu_.store(in_.out, at, sums / broadcast(total, in_.lanes));
  }
  ExprRef at = k_.let("to", in_.out.at(g.part, head * (value_dim() + 2) + d)), v = k_.let("v", sums);
  for (int i = 0; i < in_.lanes; i += 2)
    gpu_.store(in_.out, at + i, shuffle({v}, {i, i + 1}));  // a head is no multiple of 4
}

// The maximum and total of a part, by one thread.
void GpuAttention::put_state(const Group& g, size_t q, const ExprRef& largest, const ExprRef& total) const {
  if (!in_parts()) return;
  ExprRef at = in_.out.at(g.part, (g.first_head + query_[q].head) * (value_dim() + 2) + value_dim());
  k_.branch(binary(BinaryOp::kEq, g.thread, int_const(0)),
            [&] { gpu_.store(in_.out, at, vector_of({largest, total})); });
}

void GpuAttention::store_results(const Group& g, const Memory& m) const {
  merge_token_lanes(m);
  if (tiling_.subgroups > 1) return join_subgroups(g, m);
  for (size_t q = 0; q < queries(); ++q) {
    ExprRef total = k_.let("total", k_.load(m.sums, int_const(static_cast<int64_t>(q))));
    auto row = static_cast<size_t>(query_[q].row);
    ExprRef largest = k_.load(m.maxima, int_const(static_cast<int64_t>(q)));
    put_state(g, q, largest, total);
    total = with_sink(g, q, largest, total);
    for (int c = 0; c < chunks(); ++c) {
      ExprRef chunk = k_.let("chunk", g.lane + c * gpu_.lanes);
      ExprRef inside = (c + 1) * gpu_.lanes > value_lanes() ? less(chunk, int_const(value_lanes())) : nullptr;
      if (tiling_.rows > 1) {
        ExprRef exists = less(int_const(0), g.limit[row]);
        inside = inside ? binary(BinaryOp::kAnd, inside, exists) : exists;
      }
      gpu_.where(inside, [&] {
        for (int h = 0; h < halves(); ++h)
          put(g, q, chunk * pages_.chunk + h * in_.lanes, k_.load(m.acc, int_const(acc_at(q, c, h))), total);
      });
    }
  }
}

// Subgroups bring their sums to a common maximum through shared memory, where the first halves of all chunks
// lie together: lanes side by side store and load side by side.
void GpuAttention::join_subgroups(const Group& g, const Memory& m) const {
  const int vectors = static_cast<int>(value_vectors());
  auto count = static_cast<int64_t>(queries());
  for (size_t q = 0; q < queries(); ++q) {
    auto i = static_cast<int64_t>(q);
    ExprRef state = k_.let("state", (g.subgroup * count + i) * 2);
    k_.branch(binary(BinaryOp::kEq, g.lane, int_const(0)), [&] {
      k_.store(m.part_state, state, k_.load(m.maxima, int_const(i)));
      k_.store(m.part_state, state + 1, k_.load(m.sums, int_const(i)));
    });
    for (int c = 0; c < chunks(); ++c) {
      ExprRef chunk = k_.let("chunk", g.lane + c * gpu_.lanes);
      gpu_.where((c + 1) * gpu_.lanes > value_lanes() ? less(chunk, int_const(value_lanes())) : nullptr, [&] {
        for (int h = 0; h < halves(); ++h) {
          ExprRef at = (g.subgroup * count + i) * vectors + chunk + int64_t{h} * value_lanes();
          k_.store(m.parts, at, k_.load(m.acc, int_const(acc_at(q, c, h))));
        }
      });
    }
  }
  k_.barrier();
  for (size_t q = 0; q < queries(); ++q) {
    auto state = [&](int s, int what) {
      return k_.load(m.part_state, int_const((s * count + static_cast<int64_t>(q)) * 2 + what));
    };
    ExprRef largest = k_.let("largest", state(0, 0)), total;
    for (int s = 1; s < tiling_.subgroups; ++s)
      largest = k_.let("largest", binary(BinaryOp::kMax, largest, state(s, 0)));
    std::vector<ExprRef> factors;
    for (int s = 0; s < tiling_.subgroups; ++s) {
      factors.push_back(k_.let("factor", call(MathFn::kExp, state(s, 0) - largest)));
      ExprRef part = factors.back() * state(s, 1);
      total = k_.let("total", total ? total + part : part);
    }
    put_state(g, q, largest, total);
    total = with_sink(g, q, largest, total);
    gpu_.for_units(vectors, tiling_.subgroups * gpu_.lanes, g.thread, [&](ExprRef v, ExprRef inside) {
      ExprRef sum;
      for (int s = 0; s < tiling_.subgroups; ++s) {
        ExprRef part = k_.load(m.parts, v + (s * count + static_cast<int64_t>(q)) * vectors) *
                       factors[static_cast<size_t>(s)];
        sum = k_.let("sum", sum ? sum + part : part);
      }
      if (tiling_.rows > 1) {
        ExprRef exists = less(int_const(0), g.limit[static_cast<size_t>(query_[q].row)]);
        inside = inside ? binary(BinaryOp::kAnd, inside, exists) : exists;
      }
      ExprRef d = v % value_lanes() * pages_.chunk + v / value_lanes() * in_.lanes;
      gpu_.where(inside, [&] { put(g, q, d, sum, total); });
    });
  }
}

}  // namespace mlc::kernel
