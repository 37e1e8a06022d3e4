// One element type a buffer.
#include "kernel/passes/unify_accesses.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

#include "base/strings.h"
#include "kernel/builder.h"
#include "kernel/passes/rewrite.h"

namespace mlc::kernel {
namespace {

// Whether `size` is a multiple of `by` whatever its dimensions are.
bool is_multiple(const Dim& size, int64_t by) {
  if (by == 1) return true;
  switch (size.op()) {
    case DimOp::kConst: return size.constant() % by == 0;
    case DimOp::kAdd:
    case DimOp::kSub:
    case DimOp::kMin:
    case DimOp::kMax: return is_multiple(size.lhs(), by) && is_multiple(size.rhs(), by);
    case DimOp::kMul:
      for (int64_t left = by; left >= 1; left /= 2)
        if (is_multiple(size.lhs(), left) && is_multiple(size.rhs(), by / left)) return true;
      return false;
    default: return false;
  }
}

// index / lanes of an index that is a multiple of them; nullptr where its form does not show that.
ExprRef divided(const ExprRef& index, int64_t lanes) {
  if (index->kind == ExprKind::kIntConst)
    return index->int_value % lanes == 0 ? int_const(index->int_value / lanes, index->type) : nullptr;
  if (index->kind != ExprKind::kBinary) return nullptr;
  const ExprRef &a = index->operands[0], &b = index->operands[1];
  if (index->binary == BinaryOp::kMul && b->kind == ExprKind::kIntConst && b->int_value % lanes == 0)
    return b->int_value == lanes ? a : a * int_const(b->int_value / lanes, b->type);
  if (index->binary == BinaryOp::kAdd || index->binary == BinaryOp::kSub) {
    ExprRef left = divided(a, lanes), right = left ? divided(b, lanes) : nullptr;
    return right ? binary(index->binary, left, right) : nullptr;
  }
  return nullptr;
}

ExprRef shifted(const ExprRef& index, int lanes) {
  if (index->kind == ExprKind::kIntConst) return int_const(index->int_value / lanes, index->type);
  return binary(BinaryOp::kShr, index,
                int_const(std::countr_zero(static_cast<unsigned>(lanes)), index->type));
}

class Unifier {
 public:
  explicit Unifier(const Function& f) {
    for (const BufferRef& b : f.buffers) widths_[b.get()];
    for_each_statement(f.body, [&](const Stmt& s) {
      for (const ExprRef* e : {&s.value, &s.index, &s.begin, &s.extent})
        if (*e) note(**e);
      if (s.kind == StmtKind::kStore) note(s.buffer, s.value->type.lanes);
    });
    for (const BufferRef& b : f.buffers) choose(b);
  }

  bool changes_nothing() const { return chosen_.empty(); }

  const BufferRef& of(const BufferRef& b) const {
    auto found = chosen_.find(b.get());
    return found == chosen_.end() ? b : found->second;
  }

  ExprRef load(const ExprRef& e, const NameValue& name) const {
    if (e->kind != ExprKind::kLoad || !chosen_.contains(e->buffer.get())) return e;
    const BufferRef& b = of(e->buffer);
    const int want = e->type.lanes, have = b->element.lanes;
    const ExprRef& index = e->operands[0];
    if (want == have) return element(b, whole(index, have));
    if (want > have) {
      std::vector<ExprRef> words;
      std::vector<int> order;
      ExprRef first = name("at", index);
      for (int i = 0; i < want; ++i) {
        words.push_back(element(b, i ? first + int_const(i, first->type) : first));
        order.push_back(i);
      }
      return shuffle(words, order);
    }
    ExprRef at = name("at", index);
    return part(name("wide", element(b, shifted(at, have))), at, want, name);
  }

  // What becomes of a store whose expressions are rewritten.
  void store(const std::shared_ptr<Stmt>& s, std::vector<StmtRef>& out) {
    auto found = chosen_.find(s->buffer.get());
    if (found != chosen_.end()) {
      s->buffer = found->second;
      const int want = s->value->type.lanes;
      if (want == s->buffer->element.lanes) {
        s->index = whole(s->index, want);
      } else {
        return store_words(*s, out);
      }
    }
    out.push_back(s);
  }

 private:
  void note(const Expr& e) {
    if (e.kind == ExprKind::kLoad) note(e.buffer, e.type.lanes);
    for (const ExprRef& o : e.operands) note(*o);
  }
  void note(const BufferRef& b, int lanes) {
    if (auto found = widths_.find(b.get()); found != widths_.end()) found->second.insert(lanes);
  }

  void choose(const BufferRef& b) {
    const std::set<int>& widths = widths_.at(b.get());
    if (widths.empty() || widths == std::set<int>{1}) return;
    const int widest = *widths.rbegin();
    const bool fits = widths.size() == 1 || (!b->writable && is_multiple(b->size, widest));
    const int lanes = fits ? widest : 1;
    auto copy = std::make_shared<Buffer>(*b);
    copy->element.lanes = lanes;
    // Of accesses of one width none reaches the elements of a last vector that is not whole.
    copy->size = lanes == 1 ? b->size : floordiv(b->size, lanes);
    chosen_[b.get()] = std::move(copy);
  }

  static ExprRef element(const BufferRef& b, ExprRef index) {
    auto e = std::make_shared<Expr>();
    e->kind = ExprKind::kLoad;
    e->type = b->element;
    e->buffer = b;
    e->operands = {std::move(index)};
    return e;
  }

  static ExprRef whole(const ExprRef& index, int lanes) {
    if (lanes == 1) return index;
    ExprRef exact = divided(index, lanes);
    return exact ? exact : shifted(index, lanes);
  }

  // `want` lanes of the vector that holds element `at`.
  static ExprRef part(const ExprRef& wide, const ExprRef& at, int want, const NameValue& name) {
    auto lanes = [&](int first) {
      std::vector<int> order;
      for (int i = 0; i < want; ++i) order.push_back(first + i);
      return shuffle({wide}, order);
    };
    const int have = wide->type.lanes;
    if (at->kind == ExprKind::kIntConst) return lanes(static_cast<int>(at->int_value % have));
    auto bit = [&](int value) {
      return binary(BinaryOp::kNe, binary(BinaryOp::kAnd, at, int_const(value, at->type)),
                    int_const(0, at->type));
    };
    if (have == 2 * want) return select(bit(want), lanes(want), lanes(0));
    ExprRef odd = name("odd", bit(1));
    return select(bit(2), select(odd, lanes(3), lanes(2)), select(odd, lanes(1), lanes(0)));
  }

  void store_words(const Stmt& s, std::vector<StmtRef>& out) {
    const std::string suffix = str("_word", next_++);
    auto let = [&](const char* hint, const ExprRef& value) {
      auto l = std::make_shared<Stmt>();
      l->kind = StmtKind::kLet;
      l->name = hint + suffix;
      l->value = value;
      out.push_back(l);
      return variable(l->name, value->type);
    };
    ExprRef at = let("at", s.index), value = let("value", s.value);
    for (int i = 0; i < value->type.lanes; ++i) {
      auto one = std::make_shared<Stmt>(s);
      one->index = at + int_const(i, at->type);
      one->value = extract(value, i);
      out.push_back(std::move(one));
    }
  }

  std::map<const Buffer*, std::set<int>> widths_;
  std::map<const Buffer*, BufferRef> chosen_;
  int next_ = 0;
};

std::vector<StmtRef> with_stores(const std::vector<StmtRef>& list, Unifier& unifier) {
  std::vector<StmtRef> out;
  for (const StmtRef& s : list) {
    auto copy = std::make_shared<Stmt>(*s);
    copy->body = with_stores(s->body, unifier);
    copy->otherwise = with_stores(s->otherwise, unifier);
    if (s->kind == StmtKind::kStore)
      unifier.store(copy, out);
    else
      out.push_back(std::move(copy));
  }
  return out;
}

}  // namespace

Function unify_accesses(Function function) {
  if (thread_count(function) == 0) return function;
  Unifier unifier(function);
  if (unifier.changes_nothing()) return function;
  function = rewrite(std::move(function),
                     [&](const ExprRef& e, const NameValue& name) { return unifier.load(e, name); });
  function.body = with_stores(function.body, unifier);
  for (BufferRef& b : function.buffers) b = unifier.of(b);
  return function;
}

}  // namespace mlc::kernel
