// Mixture of experts on GPUs: routing and the order of slots. The matmuls of experts are those of matmul.cpp.
#include "kernel/lower/experts.h"

#include <algorithm>

#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {
namespace {

constexpr Type kI32{DType::kI32, 1};

ExprRef both(ExprRef a, ExprRef b) { return binary(BinaryOp::kAnd, std::move(a), std::move(b)); }
ExprRef equal(ExprRef a, ExprRef b) { return binary(BinaryOp::kEq, std::move(a), std::move(b)); }

using Key = std::function<ExprRef(const ExprRef&)>;

// A row's logits as route compares them, over the lanes of a subgroup: NaN is the least, and less than all
// are those of groups that are not chosen from.
struct Logits {
  GpuLowering& gpu;
  Operand x;
  ExprRef row, lane;
  int64_t group = 0;                 // experts of a group, or 0: all are chosen from
  BufferRef group_keys = {};         // the largest of each group, shared
  ExprRef last_key = {}, last = {};  // of the groups that are chosen from; i32

  ExprRef load(const ExprRef& expert) const { return gpu.load(x, x.at(row, expert)); }
  ExprRef key(const ExprRef& expert) const {
    ExprRef here = logit_key(load(expert));
    if (!group) return here;
    ExprRef at = gpu.k.let("group", expert / group), number = gpu.k.let("number", cast(at, DType::kI32));
    ExprRef left_out = comes_after(gpu.k.load(group_keys, at), number, last_key, last);
    return select(left_out, float_const(-2 * kLargestLogit), here);
  }
  ExprRef sum_of_powers(const ExprRef& top) const {
    KernelBuilder& k = gpu.k;
    BufferRef sum = k.registers("sum", {DType::kF32, 1}, 1);
    k.store(sum, int_const(0), float_const(0));
    gpu.for_units(x.columns, gpu.lanes, lane, [&](ExprRef e, ExprRef inside) {
      ExprRef p = logit_power(k, load(e), top);
      k.store(sum, int_const(0),
              k.load(sum, int_const(0)) + (inside ? select(inside, p, float_const(0)) : p));
    });
    return k.let("all", subgroup(BinaryOp::kAdd, k.load(sum, int_const(0))));
  }
  // The next of `count` numbers (i32) after the one whose key and number are given, in order of keys, then
  // numbers.
  ExprRef next_of(int64_t count, const Key& key, const ExprRef& from_key, const ExprRef& from) const {
    KernelBuilder& k = gpu.k;
    BufferRef best_key = k.registers("best_key", {DType::kF32, 1}, 1), best = k.registers("best", kI32, 1);
    k.store(best_key, int_const(0), float_const(-2 * kLargestLogit));
    k.store(best, int_const(0), int_const(count, kI32));
    gpu.for_units(count, gpu.lanes, lane, [&](ExprRef e, ExprRef) {
      ExprRef here = k.let("key", key(e)), number = k.let("number", cast(e, DType::kI32));
      ExprRef better = k.let("better", both(comes_after(here, number, from_key, from),
                                            less(k.load(best_key, int_const(0)), here)));
      k.store(best, int_const(0), select(better, number, k.load(best, int_const(0))));
      k.store(best_key, int_const(0), select(better, here, k.load(best_key, int_const(0))));
    });
    ExprRef mine = k.let("mine", k.load(best_key, int_const(0)));
    ExprRef top = k.let("top", subgroup(BinaryOp::kMax, mine));
    ExprRef number =
        k.let("number", select(equal(mine, top), k.load(best, int_const(0)), int_const(count, kI32)));
    return k.let("chosen", subgroup(BinaryOp::kMin, number));
  }
  ExprRef next(const ExprRef& from_key, const ExprRef& from) const {
    return next_of(x.columns, [&](const ExprRef& e) { return key(e); }, from_key, from);
  }
  // Finds the groups that are chosen from.
  void keep_groups(int64_t groups, int64_t kept) {
    KernelBuilder& k = gpu.k;
    const int64_t size = x.columns / groups;
    group_keys = k.shared("group_keys", DType::kF32, groups);
    gpu.for_units(groups, gpu.lanes, lane, [&](ExprRef g, ExprRef inside) {
      BufferRef largest = k.registers("largest", {DType::kF32, 1}, 1);
      ExprRef first = k.let("first", g * size);
      k.store(largest, int_const(0), logit_key(load(first)));
      k.loop("expert", 1, size - 1, LoopKind::kSerial, [&](ExprRef e) {
        k.store(largest, int_const(0),
                binary(BinaryOp::kMax, k.load(largest, int_const(0)), logit_key(load(first + e))));
      });
      gpu.where(inside, [&] { k.store(group_keys, g, k.load(largest, int_const(0))); });
    });
    k.barrier();
    last_key = float_const(2 * kLargestLogit);
    auto group_key = [&](const ExprRef& g) { return k.load(group_keys, g); };
    for (int64_t i = 0; i < kept; ++i) {
      last = next_of(groups, group_key, last_key, last);
      last_key = k.let("last_key", group_key(cast(last, DType::kI64)));
    }
    group = size;
  }
};

}  // namespace

Function lower_gpu_route(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  Operand logits = gpu.matrix(0, "logits"), ids = gpu.result(0, "ids"), weights = gpu.result(1, "weights");
  const Routing routing = routing_of(gpu.node);
  gpu.for_rows(logits.rows, gpu.lanes, [&](ExprRef row, ExprRef lane) {
    Logits l{gpu, logits, row, lane};
    if (routing.kept_groups < routing.groups) l.keep_groups(routing.groups, routing.kept_groups);
    std::vector<ExprRef> numbers, powers;
    ExprRef last_key = float_const(2 * kLargestLogit), top, chosen_sum;
    for (int64_t j = 0; j < ids.columns; ++j) {
      numbers.push_back(l.next(last_key, j ? numbers.back() : nullptr));
      ExprRef expert = k.let("expert", cast(numbers.back(), DType::kI64));
      last_key = k.let("last_key", logit_key(l.load(expert)));
      if (!top) top = last_key;
      powers.push_back(logit_power(k, l.load(expert), top));
      chosen_sum = k.let("chosen_sum", chosen_sum ? chosen_sum + powers.back() : powers.back());
    }
    ExprRef all = l.sum_of_powers(top);
    // A NaN anywhere makes all weights NaN. (Drivers take x * 0 for 0.)
    ExprRef sum = all;
    if (routing.renormalize) sum = k.let("sum", select(binary(BinaryOp::kNe, all, all), all, chosen_sum));
    k.branch(equal(lane, int_const(0)), [&] {
      for (int64_t j = 0; j < ids.columns; ++j) {
        gpu.store(ids, ids.at(row, int_const(j)), numbers[size_t(j)]);
        gpu.store(weights, weights.at(row, int_const(j)), routing.weight(powers[size_t(j)], sum));
      }
    });
  });
  return k.finish();
}

// A thread group finds the slots of one expert, each thread in a run of slots of its own: how many slots of
// earlier experts and of this one there are, then, after a sum over the threads before it, where its go.
Function lower_gpu_group_slots(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  const int64_t experts = gpu.node.get_int("experts");
  const int64_t per_row = gpu.type(0).shape[1].constant();
  const Dim slots = elements_of(gpu.type(0).shape);
  Operand ids = gpu.vector(0, "ids"), rows = gpu.declare("slot_rows", DType::kI32, slots, true),
          places = gpu.declare("places", DType::kI32, slots, true),
          indptr = gpu.declare("indptr", DType::kI32, experts + 1, true), of_places;
  if (gpu.node.get_bool_or("of_places", false))
    of_places = gpu.declare("place_experts", DType::kI32, slots, true);
  const int threads = std::max(gpu.schedule.row_threads, gpu.lanes) / gpu.lanes * gpu.lanes;
  k.groups(experts, threads, gpu.lanes, [&](ExprRef expert, ExprRef thread) {
    ExprRef run = k.let("run", dim_expr(ceildiv(slots, threads)));
    auto for_slots = [&](const std::function<void(ExprRef, ExprRef)>& body) {
      k.loop("at", int_const(0), run, LoopKind::kSerial, [&](ExprRef at) {
        ExprRef slot = k.let("slot", thread * run + at);
        k.branch(less(slot, dim_expr(slots)), [&] { body(slot, k.let("id", gpu.load_index(ids, slot))); });
      });
    };
    BufferRef counts = k.registers("counts", kI32, 2);  // of slots of earlier experts, of this one
    auto add = [&](int i, const ExprRef& n) {
      k.store(counts, int_const(i), k.load(counts, int_const(i)) + n);
    };
    for (int i = 0; i < 2; ++i) k.store(counts, int_const(i), int_const(0, kI32));
    for_slots([&](ExprRef, ExprRef id) {
      add(0, select(less(id, expert), int_const(1, kI32), int_const(0, kI32)));
      add(1, select(equal(id, expert), int_const(1, kI32), int_const(0, kI32)));
    });
    ExprRef mine = k.let("mine", k.load(counts, int_const(1)));
    ExprRef before =
        gpu.group_reduce(BinaryOp::kAdd, k.let("less", k.load(counts, int_const(0))), thread, threads);
    BufferRef sums = k.shared("sums", kI32, threads);
    k.store(sums, thread, mine);
    k.barrier();
    k.store(counts, int_const(0), before);
    k.loop("other", 0, threads, LoopKind::kSerial, [&](ExprRef other) {
      ExprRef its = k.let("its", k.load(sums, other));
      add(0, select(less(other, thread), its, int_const(0, kI32)));
    });
    ExprRef place = k.let("place", k.load(counts, int_const(0)));
    k.branch(equal(thread, int_const(0)), [&] { gpu.store(indptr, expert, before); });
    k.branch(both(equal(thread, int_const(threads - 1)), equal(expert, int_const(experts - 1))),
             [&] { gpu.store(indptr, int_const(experts), place + mine); });
    k.store(counts, int_const(1), place);
    for_slots([&](ExprRef slot, ExprRef id) {
      k.branch(equal(id, expert), [&] {
        ExprRef at = k.let("at", k.load(counts, int_const(1)));
        gpu.store(rows, cast(at, DType::kI64), slot / per_row);
        gpu.store(places, slot, at);
        if (of_places.buffer) gpu.store(of_places, cast(at, DType::kI64), id);
        add(1, int_const(1, kI32));
      });
    });
  });
  return k.finish();
}

}  // namespace mlc::kernel
