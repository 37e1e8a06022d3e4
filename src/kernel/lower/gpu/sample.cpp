// sample on GPUs: one group a row. Nothing is sorted: where top_p keeps some of a row's elements,
// the weight of the last one kept, and then that of the one drawn, is found by cutting the range of weights
// in five, again and again.
#include "base/draw.h"
#include "kernel/lower/gpu/context.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {
namespace {

const Type kI32{DType::kI32, 1};
constexpr int kCuts = 4;     // thresholds that one pass over the row weighs
constexpr int kPasses = 14;  // (kCuts + 1)^14 > 2^30

ExprRef at_least(const ExprRef& a, const ExprRef& b) { return binary(BinaryOp::kGe, a, b); }

// Draws from one row of probabilities (base/draw.h).
class Drawing {
 public:
  Drawing(GpuLowering& gpu, GpuRow& r, ExprRef top_p, ExprRef uniform)
      : row_(r), gpu_(gpu), k_(gpu.k), top_p_(std::move(top_p)), uniform_(std::move(uniform)) {}

  // The index, in all threads.
  ExprRef draw() {
    auto whole_row = [&](BinaryOp op) {
      return row_.reduce("all", op, int_const(0, kI32), [&](const ExprRef& v) { return weights(v); });
    };
    low_ = scalar("low", int_const(1, kI32));
    high_ = scalar("high", int_const(int64_t{1} << 30, kI32));
    goal_ = scalar("goal", int_const(1, kI32));
    auto greedy = [&] { set(low_, whole_row(BinaryOp::kMax)); };
    k_.branch(binary(BinaryOp::kLe, top_p_, float_const(0)), greedy, [&] {
      ExprRef sum = whole_row(BinaryOp::kAdd);
      set(goal_, goal_of(sum));
      k_.branch(less(top_p_, float_const(kDrawAll)), [&] { choose_weight(sum); });
    });
    return find_index();
  }

 private:
  BufferRef scalar(const std::string& name, const ExprRef& value) {
    BufferRef r = k_.registers(name, value->type, 1);
    set(r, value);
    return r;
  }
  void set(const BufferRef& r, const ExprRef& value) { k_.store(r, int_const(0), value); }
  ExprRef get(const BufferRef& r) { return k_.load(r, int_const(0)); }

  ExprRef weights(const ExprRef& v) {
    return k_.let("w", cast(unary(UnaryOp::kRoundEven, v * kDrawOne), DType::kI32));
  }
  ExprRef goal_of(const ExprRef& mass) {
    return binary(BinaryOp::kMin, cast(cast(mass, DType::kF32) * uniform_, DType::kI32), mass - 1) + 1;
  }

  // Narrows the range to the weight that is drawn; the goal becomes a sum of weights of that size.
  void choose_weight(const ExprRef& sum) {
    ExprRef kept = cast(top_p_ * kDrawOne, DType::kI32);
    set(goal_, binary(BinaryOp::kMax, binary(BinaryOp::kMin, kept, sum), int_const(1, kI32)));
    BufferRef above = scalar("above", int_const(0, kI32));          // the sum of all weights from `high` on
    k_.loop("phase", 0, 2, LoopKind::kSerial, [&](ExprRef phase) {  // the last one kept, the one drawn
      set(low_, int_const(1, kI32));
      set(high_, int_const(static_cast<int64_t>(kDrawOne) + 1, kI32));
      set(above, int_const(0, kI32));
      k_.loop("pass", 0, kPasses, LoopKind::kSerial, [&](ExprRef) { cut(above); });
      ExprRef weight = k_.let("weight", get(low_));
      ExprRef count = k_.let("count", (get(goal_) - get(above) + (weight - 1)) / weight);
      ExprRef mass = k_.let("mass", get(above) + count * weight);
      set(goal_, select(binary(BinaryOp::kEq, phase, int_const(0)), goal_of(mass), get(goal_)));
    });
    set(goal_, get(goal_) - get(above));
    set(high_, get(low_));
  }

  // All weights from `low` on reach the goal, all from `high` on do not: brings both closer.
  void cut(const BufferRef& above) {
    ExprRef step = k_.let("step", (get(high_) - get(low_) + kCuts) / (kCuts + 1));
    std::vector<ExprRef> cuts;
    for (int i = 1; i <= kCuts; ++i) cuts.push_back(k_.let("cut", get(low_) + step * i));
    ExprRef all = k_.let("cuts", vector_of(cuts));
    ExprRef mine = row_.reduce_own(BinaryOp::kAdd, int_const(0, all->type), [&](const ExprRef& v) {
      ExprRef sum;
      for (const ExprRef& lane : lanes_of(k_, weights(v))) {
        ExprRef w = k_.let("each", broadcast(lane, kCuts));
        ExprRef part = select(at_least(w, all), w, int_const(0, all->type));
        sum = sum ? sum + part : part;
      }
      return sum;
    });
    ExprRef masses = k_.let("masses", gpu_.group_reduce(BinaryOp::kAdd, mine, row_.thread, row_.threads));
    for (int i = 0; i < kCuts; ++i) {
      ExprRef mass = k_.let("mass", extract(masses, i));
      ExprRef reached = k_.let("reached", at_least(mass, get(goal_)));
      ExprRef lower = k_.let(
          "lower", less(cuts[static_cast<size_t>(i)], select(reached, int_const(0, kI32), get(high_))));
      set(low_, select(reached, cuts[static_cast<size_t>(i)], get(low_)));
      set(above, select(lower, mass, get(above)));
      set(high_, select(lower, cuts[static_cast<size_t>(i)], get(high_)));
    }
    k_.barrier();  // the next cut's sums go where these lay
  }

  // The first index at which the weights of the range add up to the goal. A thread looks at units that lie
  // side by side.
  ExprRef find_index() {
    const int64_t run = (row_.units() + row_.threads - 1) / row_.threads, last = row_.units() * row_.n - 1;
    ExprRef low = k_.let("low", get(low_)), high = k_.let("high", get(high_)),
            goal = k_.let("goal", get(goal_));
    auto for_run = [&](const std::function<void(ExprRef, ExprRef)>& body) {
      k_.loop("at", 0, run, LoopKind::kSerial, [&](ExprRef at) {
        ExprRef unit = k_.let("unit", row_.thread * run + at);
        bool whole = run * row_.threads == row_.units();
        gpu_.where(whole ? nullptr : less(unit, int_const(row_.units())), [&] {
          std::vector<ExprRef> lanes = lanes_of(k_, weights(row_.load(unit)));
          for (size_t i = 0; i < lanes.size(); ++i) {
            ExprRef in =
                select(at_least(lanes[i], low),
                       select(at_least(high, lanes[i]), lanes[i], int_const(0, kI32)), int_const(0, kI32));
            body(unit * row_.n + static_cast<int64_t>(i), in);
          }
        });
      });
    };
    BufferRef sum = scalar("sum", int_const(0, kI32)), found = scalar("found", int_const(last, kI32));
    for_run([&](ExprRef, ExprRef weight) { set(sum, get(sum) + weight); });
    BufferRef sums = k_.shared("sums", kI32, row_.threads);
    ExprRef mine = k_.let("mine", get(sum));
    k_.store(sums, row_.thread, mine);
    k_.barrier();
    set(sum, int_const(0, kI32));
    k_.loop("before", 0, row_.threads, LoopKind::kSerial, [&](ExprRef other) {
      ExprRef its = k_.let("its", k_.load(sums, other));
      set(sum, get(sum) + select(less(other, row_.thread), its, int_const(0, kI32)));
    });
    ExprRef here =
        select(less(get(sum), goal), get(sum) + mine, int_const(0, kI32));  // the goal is at least 1
    k_.branch(at_least(here, goal), [&] {
      for_run([&](ExprRef index, ExprRef weight) {
        set(sum, get(sum) + weight);
        ExprRef candidate = select(at_least(get(sum), goal), cast(index, DType::kI32), int_const(last, kI32));
        set(found, binary(BinaryOp::kMin, get(found), candidate));
      });
    });
    return gpu_.group_reduce(BinaryOp::kMin, k_.let("found", get(found)), row_.thread, row_.threads);
  }

  GpuRow& row_;
  GpuLowering& gpu_;
  KernelBuilder& k_;
  ExprRef top_p_, uniform_;
  BufferRef low_, high_,
      goal_;  // the weights that may be drawn; what those of them up to the drawn one add up to
};

}  // namespace

Function lower_gpu_sample(GpuLowering& gpu) {
  Operand p = gpu.matrix(0, "p"), settings = gpu.matrix(1, "settings"), out = gpu.result();
  int threads = gpu.threads_for(p.columns / p.lanes());
  gpu.for_rows(p.rows, threads, [&](ExprRef row, ExprRef thread) {
    auto setting = [&](int64_t i) {
      return gpu.k.let("setting", gpu.load(settings, settings.at(row, int_const(i))));
    };
    GpuRow its(gpu, p, row, thread, threads, p.lanes());
    Drawing drawing(gpu, its, setting(1), setting(2));
    ExprRef index = drawing.draw();
    gpu.k.branch(binary(BinaryOp::kEq, thread, int_const(0)), [&] { gpu.store(out, row, index); });
  });
  return gpu.k.finish();
}

}  // namespace mlc::kernel
