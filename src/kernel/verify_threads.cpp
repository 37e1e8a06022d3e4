// The verifier's rules for thread-bound functions and for device functions.
#include <set>

#include "kernel/verify.h"
#include "kernel/verify_rule.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kMaxThreads = 256;

bool is_loop(const StmtRef& s, LoopKind kind) { return s->kind == StmtKind::kFor && s->loop == kind; }

bool has_subgroup(const ExprRef& e) {
  if (!e) return false;
  if (is_subgroup(*e)) return true;
  for (const ExprRef& o : e->operands)
    if (has_subgroup(o)) return true;
  return false;
}

class ThreadVerifier {
 public:
  explicit ThreadVerifier(const Function& f) : function_(f), threads_(thread_count(f)) {}

  void run() {
    if (threads_ == 0) {
      require(function_.subgroup_size == 0, "subgroups without a thread loop");
      return block(function_.body, true);
    }
    require(function_.body.size() == 1 && is_loop(function_.body[0], LoopKind::kGrid),
            "a thread-bound function is one grid loop and nothing else");
    const Stmt& grid = *function_.body[0];
    uniform_.insert(grid.name);
    for (size_t i = 0; i + 1 < grid.body.size(); ++i) {
      const Stmt& s = *grid.body[i];
      require(s.kind == StmtKind::kAlloc && s.buffer->scope == Scope::kShared,
              "beside the thread loop a group has shared buffers only");
    }
    require(is_loop(grid.body.back(), LoopKind::kThread),
            "the thread loop is not the last statement of the group");
    const Stmt& threads = *grid.body.back();
    require(threads.begin->kind == ExprKind::kIntConst && threads.begin->int_value == 0 && threads_ >= 1 &&
                threads_ <= kMaxThreads,
            "the thread loop has ", threads_, " threads, expected 1 to ", kMaxThreads, " from 0");
    int size = function_.subgroup_size;
    require(size >= 0 && (size == 0 || threads_ % size == 0), threads_, " threads are no whole subgroups of ",
            size);
    block(threads.body, true);
  }

 private:
  bool uniform(const ExprRef& e) const {
    switch (e->kind) {
      case ExprKind::kVar: return uniform_.count(e->name) == 1;
      case ExprKind::kGather:
      case ExprKind::kSubgroup:
      case ExprKind::kSubgroupXor:
      case ExprKind::kSubgroupBroadcast: return false;
      case ExprKind::kLoad:
        if (e->buffer->scope != Scope::kGlobal || e->buffer->writable) return false;
        break;
      default: break;
    }
    for (const ExprRef& o : e->operands)
      if (!uniform(o)) return false;
    return true;
  }

  void block(const std::vector<StmtRef>& list, bool all_threads) {
    for (const StmtRef& s : list) statement(*s, all_threads);
  }

  void statement(const Stmt& s, bool all_threads) {
    for (const ExprRef* e : {&s.value, &s.index, &s.mask, &s.begin, &s.extent}) {
      bool whole_let = s.kind == StmtKind::kLet && e == &s.value && *e && is_subgroup(**e);
      if (!whole_let) {
        require(!has_subgroup(*e), "a subgroup operation is not the whole value of a let");
        continue;
      }
      require(all_threads, "a subgroup operation in control flow that is not uniform: let %", s.name);
      require(!has_subgroup(s.value->operands[0]), "a subgroup operation inside another: let %", s.name);
      int64_t lanes = s.value->int_value;
      require(function_.subgroup_size > 0, "a subgroup operation in a function without subgroups: let %",
              s.name);
      int64_t least = s.value->kind == ExprKind::kSubgroupXor ? 1 : 0;
      require(lanes >= least && lanes < function_.subgroup_size, "lane ", lanes, " in subgroups of ",
              function_.subgroup_size, ": let %", s.name);
    }
    switch (s.kind) {
      case StmtKind::kBarrier:
        require(all_threads || threads_ == 0, "a barrier in control flow that is not uniform");
        break;
      case StmtKind::kMatrix:
        if (threads_ == 0) break;
        require(function_.subgroup_size > 0, "a matrix in a function without subgroups");
        require(all_threads, "a matrix in control flow that is not uniform");
        require(s.order != MatrixOrder::kPairs, "pairs of rows in a thread-bound function");
        break;
      case StmtKind::kAlloc:
        require(s.buffer->scope != Scope::kFragment ||
                    s.buffer->element.dtype != (threads_ ? DType::kBF16 : DType::kF16),
                "fragments %", s.buffer->name, " of ", s.buffer->element, threads_ ? " in" : " outside of",
                " a thread-bound function");
        require(threads_ == 0 || s.buffer->scope != Scope::kShared, "shared buffer %", s.buffer->name,
                " is not declared beside the thread loop");
        break;
      case StmtKind::kLet:
        if (threads_ && uniform(s.value)) uniform_.insert(s.name);
        break;
      case StmtKind::kFor: loop(s, all_threads); break;
      case StmtKind::kIf: {
        bool together = all_threads && uniform(s.value);
        block(s.body, together);
        block(s.otherwise, together);
        break;
      }
      default: block(s.body, all_threads);
    }
  }

  void loop(const Stmt& s, bool all_threads) {
    require(s.loop != LoopKind::kThread,
            "a second or nested thread loop, or one with an extent that is no constant: %", s.name);
    bool together = uniform(s.begin) && uniform(s.extent);
    if (together) uniform_.insert(s.name);
    block(s.body, all_threads && together);
  }

  const Function& function_;
  int64_t threads_;
  std::set<std::string> uniform_;  // names of equal value in all threads of a group
};

class DeviceVerifier {
 public:
  explicit DeviceVerifier(const Function& f) : function_(f) {}

  void run() {
    require(thread_count(function_) > 0, "a device function needs a thread loop");
    for (const BufferRef& b : function_.buffers) buffer(*b);
    block(function_.body);
  }

 private:
  void buffer(const Buffer& b) {
    DType t = b.element.dtype;
    require(t == DType::kU32 || t == DType::kI32 || t == DType::kF32, "buffer %", b.name, " of ", b.element,
            ", expected u32, i32 or f32");
    require(b.element.lanes <= 4, "buffer %", b.name, " of ", b.element);
  }

  void block(const std::vector<StmtRef>& list) {
    for (const StmtRef& s : list) {
      require(s->kind != StmtKind::kScatter && s->kind != StmtKind::kPrefetch && !s->mask,
              "a scatter, prefetch or masked store on a device");
      require(s->kind != StmtKind::kFor || s->loop != LoopKind::kUnrolled, "an unrolled loop on a device: %",
              s->name);
      if (s->kind == StmtKind::kAlloc && s->buffer->scope != Scope::kFragment) buffer(*s->buffer);
      require(s->kind != StmtKind::kStore || s->value->type == s->buffer->element, "a store of ",
              s->value ? s->value->type.text() : "", " to elements of another type: %",
              s->buffer ? s->buffer->name : "");
      for (const ExprRef& e : {s->value, s->index, s->begin, s->extent})
        if (e) expr(*e);
      block(s->body);
      block(s->otherwise);
    }
  }

  void expr(const Expr& e) {
    DType t = e.type.dtype;
    bool known = t == DType::kBool || t == DType::kU32 || t == DType::kI32 || t == DType::kF32;
    bool bytes_of_dot =
        (t == DType::kI8 || t == DType::kU8) && e.kind == ExprKind::kBitcast && e.type.lanes == 4;
    require((known && e.type.lanes <= 4) || bytes_of_dot, "type ", e.type, " on a device: ", e);
    switch (e.kind) {
      case ExprKind::kGather:
      case ExprKind::kRamp:
      case ExprKind::kReduce:
      case ExprKind::kDot2U8S8:
      case ExprKind::kDot2I16: require(false, "no device has ", e); break;
      case ExprKind::kLoad:
        require(e.operands.size() == 1, "a masked load on a device: ", e);
        require(e.type == e.buffer->element, "a load of another type than the buffer's elements: ", e);
        break;
      default: break;
    }
    for (const ExprRef& o : e.operands) expr(*o);
  }

  const Function& function_;
};

template <typename Verifier>
std::string problem_of(const Function& function) {
  try {
    Verifier(function).run();
  } catch (const Problem& problem) {
    return problem.text;
  }
  return "";
}

}  // namespace

std::string verify_threads(const Function& function) { return problem_of<ThreadVerifier>(function); }
std::string verify_device(const Function& function) { return problem_of<DeviceVerifier>(function); }

}  // namespace mlc::kernel
