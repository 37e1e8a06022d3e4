// token_shift, wkv4, wkv5 and copy_slots: what goes through the rows of a sequence in order. A tile is a part
// of a sequence's columns, all of its rows: no tile reads what another writes.
#include <numeric>

#include "base/check.h"
#include "formats/plan.h"
#include "kernel/lower/lowerings.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kBlock = 128;  // columns of a tile where all are alike: as many lines as threads can share

// The sequences of a step, and their slots as rows of a matrix, of which the node's part is meant.
class Sequences {
 public:
  // Declares the last two inputs and the state.
  explicit Sequences(Lowering& low) : low_(low) {
    const size_t last = low.node.inputs.size() - 1;
    row_indptr_ = low.vector(last - 1, "row_indptr"), slot_ids_ = low.vector(last, "slot_ids");
    part = low.slots();
    part.column_offset = *low.slot_state().offset(low.node.get_string("part"));
  }

  // body(unit) for units of the columns, `heads` parts of them; then `rows` and `slot` are the unit's.
  void for_each_unit(int64_t heads, int64_t head_size, int lanes,
                     const std::function<void(const Unit&)>& body) {
    low_.for_each_unit({.rows = low_.node.inputs.back()->type.shape[0],
                        .heads = heads,
                        .head_size = head_size,
                        .parts = {{head_size, lanes, false, body}},
                        .enter = [&](const ExprRef& sequence) { enter(sequence); },
                        .apart = true});
  }

  // Calls body(u at the row) for each row of the sequence, in order.
  void for_each_row(const Unit& u, const std::function<void(const Unit&)>& body) {
    low_.k.loop("r", begin_, count_, LoopKind::kSerial,
                [&](ExprRef r) { body({r, u.head, u.at, u.lanes, u.mask}); });
  }

  // Elements of the part.
  ExprRef load(const ExprRef& element, int lanes) { return low_.load(part, part.at(slot_, element), lanes); }
  void store(const ExprRef& element, const ExprRef& value) {
    low_.store(part, part.at(slot_, element), value);
  }

  Operand part;

 private:
  void enter(const ExprRef& sequence) {
    begin_ = low_.k.let("begin", low_.load_index(row_indptr_, sequence));
    count_ = low_.k.let("count", low_.load_index(row_indptr_, sequence + 1) - begin_);
    slot_ = low_.k.let("slot", low_.load_index(slot_ids_, sequence));
  }

  Lowering& low_;
  Operand row_indptr_, slot_ids_;
  ExprRef begin_, count_, slot_;
};

// A value that lasts from row to row.
class Kept {
 public:
  Kept(KernelBuilder& k, const std::string& name, const ExprRef& first)
      : k_(k), name_(name), at_(k.registers(name, first->type, 1)) {
    set(first);
  }
  void set(const ExprRef& value) { k_.store(at_, int_const(0), value); }
  ExprRef get() { return k_.let(name_, k_.load(at_, int_const(0))); }

 private:
  KernelBuilder& k_;
  std::string name_;
  BufferRef at_;
};

ExprRef larger(const ExprRef& a, const ExprRef& b) { return binary(BinaryOp::kMax, a, b); }

}  // namespace

Function lower_token_shift(Lowering& low) {
  Operand x = low.matrix(0, "x");
  Sequences sequences(low);
  Operand out = low.result();
  const int lanes = std::min({x.lanes(), out.lanes(), sequences.part.lanes()});
  const int64_t block = std::gcd(x.columns, kBlock);
  sequences.for_each_unit(x.columns / block, block, lanes, [&](const Unit& u) {
    Kept before(low.k, "before", sequences.load(u.column(), u.lanes));
    sequences.for_each_row(u, [&](const Unit& at) {
      ExprRef v = low.k.let("v", low.load(x, at));
      low.store(out, at, before.get());
      before.set(v);
    });
    sequences.store(u.column(), before.get());
  });
  return low.k.finish();
}

// The sums a and b are a * e^m and b * e^m, see the meaning.
Function lower_wkv4(Lowering& low) {
  constexpr double kLeast = -1e30;  // an exponent whose power is 0
  KernelBuilder& k = low.k;
  Operand keys = low.matrix(0, "k"), values = low.matrix(1, "v");
  Operand decay = low.vector(2, "decay"), bonus = low.vector(3, "bonus");
  Sequences sequences(low);
  Operand out = low.result();
  const int64_t n = keys.columns, block = std::gcd(n, kBlock);
  const int lanes = std::min({keys.lanes(), values.lanes(), out.lanes(), sequences.part.lanes()});
  sequences.for_each_unit(n / block, block, lanes, [&](const Unit& u) {
    ExprRef fall = k.let("fall", call(MathFn::kExp, low.load(decay, u.column(), u.lanes)));
    ExprRef more = k.let("more", low.load(bonus, u.column(), u.lanes));
    Kept a(k, "a", sequences.load(u.column(), u.lanes)), b(k, "b", sequences.load(u.column() + n, u.lanes));
    ExprRef empty = k.let("empty", b.get());
    Kept m(k, "m",
           select(binary(BinaryOp::kEq, empty, float_const(0)), float_const(kLeast, empty->type),
                  sequences.load(u.column() + 2 * n, u.lanes)));
    sequences.for_each_row(u, [&](const Unit& at) {
      ExprRef key = k.let("key", low.load(keys, at)), value = k.let("value", low.load(values, at));
      ExprRef a0 = a.get(), b0 = b.get(), m0 = m.get();
      struct Sums {
        ExprRef a, b, m;
      };
      auto with = [&](const ExprRef& old, const ExprRef& exponent) -> Sums {
        ExprRef top = k.let("top", larger(old, exponent));
        ExprRef kept = k.let("kept", call(MathFn::kExp, old - top));
        ExprRef added = k.let("added", call(MathFn::kExp, exponent - top));
        return {k.let("a", kept * a0 + added * value), k.let("b", kept * b0 + added), top};
      };
      Sums now = with(m0, k.let("e", key + more)), later = with(k.let("fallen", m0 - fall), key);
      low.store(out, at, now.a / now.b);
      a.set(later.a), b.set(later.b), m.set(later.m);
    });
    sequences.store(u.column(), a.get());
    sequences.store(u.column() + n, b.get());
    sequences.store(u.column() + 2 * n, m.get());
  });
  return k.finish();
}

// A unit is a few columns j of a head's state, which stays in memory: it is the size of a cache.
Function lower_wkv5(Lowering& low) {
  KernelBuilder& k = low.k;
  Operand receptance = low.matrix(0, "r"), keys = low.matrix(1, "k"), values = low.matrix(2, "v");
  Operand decay = low.vector(3, "decay"), bonus = low.vector(4, "bonus");
  Sequences sequences(low);
  Operand out = low.result();
  const int64_t n = low.type(3).shape[1].constant();
  sequences.for_each_unit(receptance.columns / n, n, 1, [&](const Unit& u) {
    sequences.for_each_row(u, [&](const Unit& at) {
      ExprRef value = k.let("value", low.load(values, at));
      Kept sum(k, "sum", float_const(0, value->type));
      k.loop("i", 0, n, LoopKind::kSerial, [&](ExprRef i) {
        ExprRef row = k.let("row", at.head + i), element = k.let("element", row * n + at.at);
        auto scalar = [&](const Operand& from, const ExprRef& index) {
          return broadcast(low.load(from, index), at.lanes);
        };
        ExprRef state = k.let("state", sequences.load(element, at.lanes));
        ExprRef added = k.let("added", scalar(keys, keys.at(at.row, row)) * value);
        ExprRef seen = k.let("seen", scalar(bonus, row) * added + state);
        sum.set(sum.get() + scalar(receptance, receptance.at(at.row, row)) * seen);
        sequences.store(element, scalar(decay, row) * state + added);
      });
      low.store(out, at, sum.get());
    });
  });
  return k.finish();
}

// A row is a slot to copy, a head a layer.
Function lower_copy_slots(Lowering& low) {
  KernelBuilder& k = low.k;
  Operand sources = low.vector(0, "sources"), targets = low.vector(1, "targets"), slots = low.slots();
  const int64_t layers = low.slot_state().layers;
  ExprRef pool_slots = k.dimension(kPoolSlots), from, to;
  auto body = [&](const Unit& u) {
    auto at = [&](const ExprRef& slot) { return slots.at(u.head * pool_slots + slot, u.at); };
    low.store(slots, at(to), low.load(slots, at(from), u.lanes));
  };
  low.for_each_unit({.rows = low.type(0).shape[0],
                     .heads = layers,
                     .head_size = 1,
                     .parts = {{slots.columns, 4, false, body}},
                     .enter = [&](const ExprRef& row) {
                       from = k.let("from", low.load_index(sources, row));
                       to = k.let("to", low.load_index(targets, row));
                     }});
  return k.finish();
}

}  // namespace mlc::kernel
