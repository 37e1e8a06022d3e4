// Subgroup operations through shared memory.
#include "kernel/passes/expand_subgroups.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "kernel/builder.h"

namespace mlc::kernel {
namespace {

std::shared_ptr<Stmt> make(StmtKind kind) {
  auto s = std::make_shared<Stmt>();
  s->kind = kind;
  return s;
}

StmtRef make_let(const std::string& name, ExprRef value) {
  auto s = make(StmtKind::kLet);
  s->name = name;
  s->value = std::move(value);
  return s;
}

StmtRef make_alloc(const BufferRef& buffer) {
  auto s = make(StmtKind::kAlloc);
  s->buffer = buffer;
  return s;
}

bool mentions(const Expr& e, const std::set<std::string>& names) {
  if (e.kind == ExprKind::kVar && names.count(e.name)) return true;
  return std::any_of(e.operands.begin(), e.operands.end(),
                     [&](const ExprRef& o) { return mentions(*o, names); });
}

class Expander {
 public:
  Expander(const Function& f) : lanes_(f.subgroup_size), threads_(thread_count(f)) {}

  std::vector<StmtRef> block(const std::vector<StmtRef>& list) {
    std::vector<StmtRef> out;
    for (const StmtRef& s : list) {
      if (s->kind == StmtKind::kFor && s->loop == LoopKind::kThread)
        thread_ = variable(s->name, s->begin->type);
      if (s->kind == StmtKind::kLet) {
        add_let(s, out);
        continue;
      }
      exchange(out);
      auto copy = std::make_shared<Stmt>(*s);
      copy->body = block(s->body);
      copy->otherwise = block(s->otherwise);
      out.push_back(std::move(copy));
    }
    exchange(out);
    return out;
  }

  std::vector<StmtRef> declarations() const {
    std::vector<StmtRef> out;
    for (const auto& [type, buffer] : buffers_) out.push_back(make_alloc(buffer));
    return out;
  }

 private:
  // Lets that follow each other are pure, so an operation can wait for others until a let needs its result.
  void add_let(const StmtRef& s, std::vector<StmtRef>& out) {
    if (mentions(*s->value, waiting_names_)) exchange(out);
    if (!is_subgroup(*s->value)) return out.push_back(s);
    const Type& type = s->value->type;
    if (!waiting_.empty() && (waiting_[0]->value->type != type || waiting() == most(type))) exchange(out);
    waiting_.push_back(s);
    waiting_names_.insert(s->name);
  }

  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t most(const Type& type) const {
    return std::max<int64_t>(1, kExchangeBytes / (threads_ * size_of(type.dtype) * type.lanes));
  }

  // A value per thread and operation that waits, for each type that is exchanged.
  BufferRef room(const Type& type) {
    std::shared_ptr<Buffer>& b = buffers_[type.text()];
    if (!b)
      b = std::make_shared<Buffer>(Buffer{"exchange_" + type.text(), type, Scope::kShared, true, Dim(0)});
    b->size = Dim(std::max(b->size.constant(), waiting() * threads_));
    return b;
  }

  static ExprRef load(const BufferRef& from, ExprRef index) {
    auto e = std::make_shared<Expr>();
    e->kind = ExprKind::kLoad;
    e->type = from->element;
    e->buffer = from;
    e->operands = {std::move(index)};
    return e;
  }

  void exchange(std::vector<StmtRef>& out) {
    if (waiting_.empty()) return;
    const BufferRef shared = room(waiting_[0]->value->type);
    auto slot = [&](int64_t i) { return int_const(i * threads_, thread_->type); };
    for (int64_t i = 0; i < waiting(); ++i) {
      auto store = make(StmtKind::kStore);
      store->buffer = shared;
      store->index = thread_ + slot(i);
      store->value = waiting_[static_cast<size_t>(i)]->value->operands[0];
      out.push_back(std::move(store));
    }
    out.push_back(make(StmtKind::kBarrier));
    for (int64_t i = 0; i < waiting(); ++i) combine(*waiting_[static_cast<size_t>(i)], shared, slot(i), out);
    out.push_back(make(StmtKind::kBarrier));
    waiting_.clear();
    waiting_names_.clear();
  }

  // The result of one operation, from the values at `slot`.
  void combine(const Stmt& s, const BufferRef& shared, const ExprRef& slot, std::vector<StmtRef>& out) const {
    const Expr& e = *s.value;
    ExprRef first = thread_ - binary(BinaryOp::kMod, thread_, int_const(lanes_, thread_->type)) + slot;
    auto lane = [&](int64_t l) { return load(shared, first + int_const(l, thread_->type)); };
    ExprRef value;
    if (e.kind == ExprKind::kSubgroupBroadcast) value = lane(e.int_value);
    if (e.kind ==
        ExprKind::kSubgroupXor)  // lanes come in aligned blocks, so that the thread's number will do
      value = load(shared, binary(BinaryOp::kXor, thread_, int_const(e.int_value, thread_->type)) + slot);
    for (int64_t l = 0; e.kind == ExprKind::kSubgroup && l < lanes_; ++l) {
      std::string part = str(s.name, "_lane", l);
      out.push_back(make_let(part, lane(l)));
      ExprRef next = variable(part, e.type);
      if (!value) {
        value = next;
        continue;
      }
      out.push_back(make_let(part + "_sum", binary(e.binary, value, next)));
      value = variable(part + "_sum", e.type);
    }
    out.push_back(make_let(s.name, value));
  }

  int64_t lanes_, threads_;
  ExprRef thread_;
  std::vector<StmtRef> waiting_;
  std::set<std::string> waiting_names_;
  std::map<std::string, std::shared_ptr<Buffer>> buffers_;
};

}  // namespace

Function expand_subgroups(Function function, const Target& target) {
  if (function.subgroup_size == 0 || function.subgroup_size == target.subgroup_size) return function;
  Expander expander(function);
  function.body = expander.block(function.body);
  auto grid = std::make_shared<Stmt>(*function.body[0]);
  std::vector<StmtRef> declarations = expander.declarations();
  grid->body.insert(grid->body.begin(), declarations.begin(), declarations.end());
  function.body[0] = std::move(grid);
  function.subgroup_size = 0;
  return function;
}

}  // namespace mlc::kernel
