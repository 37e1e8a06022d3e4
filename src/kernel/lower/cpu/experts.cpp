// Mixture of experts on CPUs: routing, the order of slots, and the grids of their matmuls, whose bodies are
// those of matmul.
#include "kernel/lower/cpu/experts.h"

#include "kernel/lower/cpu/lowerings.h"

namespace mlc::kernel {
namespace {

ExprRef equal(ExprRef a, ExprRef b) { return binary(BinaryOp::kEq, std::move(a), std::move(b)); }

// One scalar in a register.
struct Scalar {
  KernelBuilder& k;
  BufferRef buffer;
  Scalar(KernelBuilder& builder, const std::string& name, const ExprRef& value)
      : k(builder), buffer(k.registers(name, value->type, 1)) {
    set(value);
  }
  ExprRef get() const { return k.load(buffer, int_const(0)); }
  void set(const ExprRef& value) { k.store(buffer, int_const(0), value); }
};

using Key = std::function<ExprRef(const ExprRef&)>;

// The next of `count` numbers after the one whose key and number are given, in order of keys, then numbers.
ExprRef next_of(KernelBuilder& k, int64_t count, const Key& key, const ExprRef& last_key,
                const ExprRef& last) {
  Scalar best_key(k, "best_key", float_const(-2 * kLargestLogit)), best(k, "best", int_const(0));
  k.loop("expert", 0, count, LoopKind::kSerial, [&](ExprRef e) {
    ExprRef here = k.let("key", key(e));
    ExprRef better = binary(BinaryOp::kAnd, comes_after(here, e, last_key, last), less(best_key.get(), here));
    better = k.let("better", better);
    best_key.set(select(better, here, best_key.get()));
    best.set(select(better, e, best.get()));
  });
  return k.let("chosen", best.get());
}

// A row's logits as route compares them: NaN is the least, and less than all are those of groups that are not
// chosen from.
struct Logits {
  CpuLowering& low;
  Operand x;
  ExprRef row;
  int64_t group = 0;                 // experts of a group, or 0: all are chosen from
  BufferRef group_keys = {};         // the largest of each group
  ExprRef last_key = {}, last = {};  // of the groups that are chosen from

  ExprRef load(const ExprRef& expert) const { return low.load(x, x.at(row, expert)); }
  ExprRef key(const ExprRef& expert) const {
    ExprRef here = logit_key(load(expert));
    if (!group) return here;
    ExprRef number = low.k.let("group", expert / group);
    ExprRef left_out = comes_after(low.k.load(group_keys, number), number, last_key, last);
    return select(left_out, float_const(-2 * kLargestLogit), here);
  }
  ExprRef next(const ExprRef& from_key, const ExprRef& from) const {
    return next_of(low.k, x.columns, [&](const ExprRef& e) { return key(e); }, from_key, from);
  }
  // Finds the groups that are chosen from.
  void keep_groups(int64_t groups, int64_t kept) {
    KernelBuilder& k = low.k;
    const int64_t size = x.columns / groups;
    group_keys = k.shared("group_keys", DType::kF32, groups);
    k.loop("group", 0, groups, LoopKind::kSerial, [&](ExprRef g) {
      ExprRef first = k.let("first", g * size);
      Scalar largest(k, "largest", logit_key(load(first)));
      k.loop("expert", 1, size - 1, LoopKind::kSerial, [&](ExprRef e) {
        largest.set(binary(BinaryOp::kMax, largest.get(), logit_key(load(first + e))));
      });
      k.store(group_keys, g, largest.get());
    });
    last_key = float_const(2 * kLargestLogit);
    auto group_key = [&](const ExprRef& g) { return k.load(group_keys, g); };
    for (int64_t i = 0; i < kept; ++i) {
      last = next_of(k, groups, group_key, last_key, last);
      last_key = k.let("last_key", group_key(last));
    }
    group = size;
  }
};

}  // namespace

void for_matrix_tiles(CpuLowering& low, const ExpertRows& experts, int64_t tiles,
                      const std::function<void(ExprRef, RowRun)>& body) {
  KernelBuilder& k = low.k;
  if (!experts.any())
    return k.grid("tile", tiles, [&](ExprRef tile) {
      body(tile, experts.by_row() ? experts.one_row(int_const(0)) : experts.run(int_const(0)));
    });
  Dim matrices = experts.by_row() ? experts.rows() : Dim(experts.count());
  k.grid("tile", matrices * Dim(tiles), [&](ExprRef index) {
    ExprRef tile = k.let("tile", index % tiles), matrix = k.let("matrix", index / tiles);
    if (experts.by_row()) return body(tile, experts.one_row(matrix));
    RowRun run = experts.run(matrix);
    k.branch(less(run.row, run.end), [&] { body(tile, run); });
  });
}

void for_row_blocks(KernelBuilder& k, const RowRun& run, int rows, const std::function<void(RowRun)>& body) {
  const int64_t stride = rows * run.step;
  ExprRef blocks = (run.end - run.row + (stride - 1)) / stride;
  k.loop("block", int_const(0), blocks, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k.let("first", run.row + b * stride);
    body({run.weight_row, first, first, run.end, run.step});
  });
}

Function lower_route(CpuLowering& low) {
  KernelBuilder& k = low.k;
  Operand logits = low.matrix(0, "logits"), ids = low.result(0, "ids"), weights = low.result(1, "weights");
  const Routing routing = routing_of(low.node);
  low.for_rows(logits.rows, [&](ExprRef row) {
    Logits l{low, logits, row};
    if (routing.kept_groups < routing.groups) l.keep_groups(routing.groups, routing.kept_groups);
    std::vector<ExprRef> chosen;
    ExprRef last_key = float_const(2 * kLargestLogit), last, top, chosen_sum;
    for (int64_t j = 0; j < ids.columns; ++j) {
      last = l.next(last_key, last);
      last_key = k.let("last_key", logit_key(l.load(last)));
      if (!top) top = last_key;
      k.store(ids.buffer, ids.at(row, int_const(j)), cast(last, DType::kI32));
      chosen.push_back(logit_power(k, l.load(last), top));
      chosen_sum = chosen_sum ? chosen_sum + chosen.back() : chosen.back();
    }
    Scalar all(k, "all", float_const(0));
    k.loop("expert", 0, logits.columns, LoopKind::kSerial,
           [&](ExprRef e) { all.set(all.get() + logit_power(k, l.load(e), top)); });
    // A NaN anywhere makes all weights NaN.
    ExprRef sum = k.let("sum", routing.renormalize ? chosen_sum + all.get() * 0.0 : all.get());
    for (int64_t j = 0; j < weights.columns; ++j)
      k.store(weights.buffer, weights.at(row, int_const(j)), routing.weight(chosen[size_t(j)], sum));
  });
  return k.finish();
}

// A tile finds the slots of one expert.
Function lower_group_slots(CpuLowering& low) {
  KernelBuilder& k = low.k;
  const int64_t experts = low.node.get_int("experts");
  const int64_t per_row = low.type(0).shape[1].constant();
  const Dim slots = elements_of(low.type(0).shape);
  BufferRef ids = low.vector(0, "ids").buffer, rows = k.output("slot_rows", DType::kI32, slots),
            places = k.output("places", DType::kI32, slots),
            indptr = k.output("indptr", DType::kI32, experts + 1), of_places;
  if (low.node.get_bool_or("of_places", false)) of_places = k.output("place_experts", DType::kI32, slots);
  k.grid("expert", experts, [&](ExprRef expert) {
    auto id_at = [&](const ExprRef& slot) { return cast(k.load(ids, slot), DType::kI64); };
    Scalar place(k, "place", int_const(0));
    k.loop("slot", int_const(0), dim_expr(slots), LoopKind::kSerial, [&](ExprRef s) {
      place.set(place.get() + select(less(id_at(s), expert), int_const(1), int_const(0)));
    });
    k.store(indptr, expert, cast(place.get(), DType::kI32));
    k.loop("slot", int_const(0), dim_expr(slots), LoopKind::kSerial, [&](ExprRef s) {
      k.branch(equal(id_at(s), expert), [&] {
        k.store(rows, place.get(), cast(s / per_row, DType::kI32));
        k.store(places, s, cast(place.get(), DType::kI32));
        if (of_places) k.store(of_places, place.get(), cast(expert, DType::kI32));
        place.set(place.get() + 1);
      });
    });
    k.branch(equal(expert, int_const(experts - 1)),
             [&] { k.store(indptr, int_const(experts), cast(place.get(), DType::kI32)); });
  });
  return k.finish();
}

}  // namespace mlc::kernel
