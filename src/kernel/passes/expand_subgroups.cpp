// Subgroup operations through shared memory.
#include "kernel/passes/expand_subgroups.h"

#include <map>

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

class Expander {
 public:
  Expander(const Function& f) : lanes_(f.subgroup_size), threads_(thread_count(f)) {}

  std::vector<StmtRef> block(const std::vector<StmtRef>& list) {
    std::vector<StmtRef> out;
    for (const StmtRef& s : list) {
      if (s->kind == StmtKind::kFor && s->loop == LoopKind::kThread) thread_ = variable(s->name, s->begin->type);
      if (s->kind == StmtKind::kLet && is_subgroup(*s->value)) {
        expand(*s, out);
        continue;
      }
      auto copy = std::make_shared<Stmt>(*s);
      copy->body = block(s->body);
      copy->otherwise = block(s->otherwise);
      out.push_back(std::move(copy));
    }
    return out;
  }

  std::vector<StmtRef> declarations() const {
    std::vector<StmtRef> out;
    for (const auto& [type, buffer] : buffers_) out.push_back(make_alloc(buffer));
    return out;
  }

 private:
  // A value per thread, for each type that is exchanged.
  const BufferRef& buffer(const Type& type) {
    BufferRef& b = buffers_[type.text()];
    if (!b) b = std::make_shared<const Buffer>(Buffer{"exchange_" + type.text(), type, Scope::kShared, true, Dim(threads_)});
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

  void expand(const Stmt& s, std::vector<StmtRef>& out) {
    const Expr& e = *s.value;
    const BufferRef& shared = buffer(e.type);
    auto store = make(StmtKind::kStore);
    store->buffer = shared;
    store->index = thread_;
    store->value = e.operands[0];
    out.push_back(std::move(store));
    out.push_back(make(StmtKind::kBarrier));
    ExprRef first = thread_ - binary(BinaryOp::kMod, thread_, int_const(lanes_, thread_->type));
    auto lane = [&](int64_t l) { return load(shared, first + int_const(l, thread_->type)); };
    ExprRef value;
    if (e.kind == ExprKind::kSubgroupBroadcast) value = lane(e.int_value);
    if (e.kind == ExprKind::kSubgroupXor) {  // lanes come in aligned blocks, so that the thread's number will do
      value = load(shared, binary(BinaryOp::kXor, thread_, int_const(e.int_value, thread_->type)));
    }
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
    out.push_back(make(StmtKind::kBarrier));
  }

  int64_t lanes_, threads_;
  ExprRef thread_;
  std::map<std::string, BufferRef> buffers_;
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
