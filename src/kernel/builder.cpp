// KernelBuilder: statements in nested scopes.
#include "kernel/builder.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {
namespace {

std::shared_ptr<Stmt> make(StmtKind kind) {
  auto s = std::make_shared<Stmt>();
  s->kind = kind;
  return s;
}

BufferRef make_buffer(std::string name, Type element, Scope scope, bool writable, Dim size) {
  return std::make_shared<const Buffer>(Buffer{std::move(name), element, scope, writable, std::move(size)});
}

ExprRef make_load(ExprKind kind, Type type, const BufferRef& buffer, ExprRef index, ExprRef mask) {
  auto e = std::make_shared<Expr>();
  e->kind = kind;
  e->type = type;
  e->buffer = buffer;
  e->operands.push_back(std::move(index));
  if (mask) e->operands.push_back(std::move(mask));
  return e;
}

}  // namespace

KernelBuilder::KernelBuilder(std::string name) {
  function_.name = std::move(name);
  frames_.emplace_back();
}

BufferRef KernelBuilder::input(const std::string& name, DType dtype, Dim elements) {
  function_.buffers.push_back(make_buffer(name, {dtype, 1}, Scope::kGlobal, false, std::move(elements)));
  return function_.buffers.back();
}

BufferRef KernelBuilder::output(const std::string& name, DType dtype, Dim elements) {
  function_.buffers.push_back(make_buffer(name, {dtype, 1}, Scope::kGlobal, true, std::move(elements)));
  return function_.buffers.back();
}

ExprRef KernelBuilder::dimension(const std::string& name) {
  note_dims({name});
  return dim_expr(Dim::symbol(name));
}

ExprRef KernelBuilder::load(const BufferRef& buffer, ExprRef index, int lanes, ExprRef mask) {
  bool elements = buffer->scope == Scope::kRegister || buffer->element.lanes > 1;
  Type type = elements ? buffer->element : buffer->element.with_lanes(lanes);
  return make_load(ExprKind::kLoad, type, buffer, std::move(index), std::move(mask));
}

ExprRef KernelBuilder::load_as(Type type, const BufferRef& bytes, ExprRef byte_index, ExprRef mask) {
  internal_check(bytes->element.dtype == DType::kU8, "load_as needs a buffer of bytes");
  return make_load(ExprKind::kLoad, type, bytes, std::move(byte_index), std::move(mask));
}

ExprRef KernelBuilder::gather(const BufferRef& buffer, ExprRef indices, ExprRef mask) {
  Type type = buffer->element.with_lanes(indices->type.lanes);
  return make_load(ExprKind::kGather, type, buffer, std::move(indices), std::move(mask));
}

ExprRef KernelBuilder::let(const std::string& name, ExprRef value) {
  ExprKind kind = value->kind;
  if (kind == ExprKind::kVar || kind == ExprKind::kIntConst || kind == ExprKind::kFloatConst) return value;
  auto s = make(StmtKind::kLet);
  s->name = str(name, "_", next_name_++);
  Type type = value->type;
  s->value = std::move(value);
  std::string fresh = s->name;
  append(std::move(s));
  return variable(fresh, type);
}

void KernelBuilder::store(const BufferRef& buffer, ExprRef index, ExprRef value, ExprRef mask) {
  internal_check(buffer->writable || buffer->scope != Scope::kGlobal, "store to the input ", buffer->name);
  auto s = make(StmtKind::kStore);
  s->buffer = buffer;
  s->index = std::move(index);
  s->value = std::move(value);
  s->mask = std::move(mask);
  append(std::move(s));
}

void KernelBuilder::prefetch(const BufferRef& buffer, ExprRef index, int locality) {
  auto s = make(StmtKind::kPrefetch);
  s->buffer = buffer;
  s->index = std::move(index);
  s->locality = locality;
  append(std::move(s));
}

void KernelBuilder::barrier() { append(make(StmtKind::kBarrier)); }

BufferRef KernelBuilder::registers(const std::string& name, Type element, int64_t size) {
  auto s = make(StmtKind::kAlloc);
  s->buffer = make_buffer(str(name, "_", next_name_++), element, Scope::kRegister, true, size);
  BufferRef buffer = s->buffer;
  append(std::move(s));
  return buffer;
}

BufferRef KernelBuilder::fragments(const std::string& name, DType dtype, const Fragment& fragment,
                                   int64_t count) {
  auto s = make(StmtKind::kAlloc);
  s->buffer = std::make_shared<const Buffer>(
      Buffer{str(name, "_", next_name_++), {dtype, 1}, Scope::kFragment, true, Dim(count), fragment});
  BufferRef buffer = s->buffer;
  append(std::move(s));
  return buffer;
}

namespace {

std::shared_ptr<Stmt> make_matrix(MatrixOp op, const FragmentRef& f) {
  auto s = make(StmtKind::kMatrix);
  s->matrix = op;
  s->buffer = f.buffer;
  s->index = int_const(f.index);
  return s;
}

std::shared_ptr<Stmt> make_transfer(MatrixOp op, const FragmentRef& f, const BufferRef& memory, ExprRef begin,
                                    int64_t stride, MatrixOrder order) {
  auto s = make_matrix(op, f);
  s->memory = memory;
  s->begin = std::move(begin);
  s->stride = stride;
  s->order = order;
  return s;
}

}  // namespace

void KernelBuilder::matrix_clear(const FragmentRef& f) { append(make_matrix(MatrixOp::kClear, f)); }

void KernelBuilder::matrix_load(const FragmentRef& f, const BufferRef& memory, ExprRef begin, int64_t stride,
                                MatrixOrder order) {
  append(make_transfer(MatrixOp::kLoad, f, memory, std::move(begin), stride, order));
}

void KernelBuilder::matrix_store(const FragmentRef& f, const BufferRef& memory, ExprRef begin, int64_t stride,
                                 MatrixOrder order) {
  append(make_transfer(MatrixOp::kStore, f, memory, std::move(begin), stride, order));
}

void KernelBuilder::matrix_multiply(const FragmentRef& sum, const FragmentRef& a, const FragmentRef& b) {
  auto s = make_matrix(MatrixOp::kMultiply, sum);
  s->factors[0] = a;
  s->factors[1] = b;
  append(std::move(s));
}

BufferRef KernelBuilder::shared(const std::string& name, DType dtype, int64_t size) {
  return shared(name, Type{dtype, 1}, size);
}

BufferRef KernelBuilder::shared(const std::string& name, Type element, int64_t size) {
  auto s = make(StmtKind::kAlloc);
  s->buffer = make_buffer(str(name, "_", next_name_++), element, Scope::kShared, true, size);
  BufferRef buffer = s->buffer;
  if (group_frame_)
    frames_[group_frame_].statements.push_back(std::move(s));
  else
    append(std::move(s));
  return buffer;
}

void KernelBuilder::groups(const Dim& tiles, int64_t threads, int subgroup_size,
                           const std::function<void(ExprRef, ExprRef)>& body) {
  function_.subgroup_size = subgroup_size;
  grid("group", tiles, [&](ExprRef group) {
    group_frame_ = frames_.size() - 1;
    loop("thread", 0, threads, LoopKind::kThread, [&](ExprRef thread) { body(group, thread); });
    group_frame_ = 0;
  });
}

void KernelBuilder::grid(const std::string& name, const Dim& tiles, const Body& body) {
  internal_check(frames_.size() == 1, "the grid loop is outermost");
  function_.tiles = tiles;
  loop(name, int_const(0), dim_expr(tiles), LoopKind::kGrid, body);
}

void KernelBuilder::loop(const std::string& name, ExprRef begin, ExprRef extent, LoopKind kind,
                         const Body& body) {
  auto s = make(StmtKind::kFor);
  s->name = str(name, "_", next_name_++);
  s->begin = std::move(begin);
  s->extent = std::move(extent);
  s->loop = kind;
  frames_.emplace_back();
  body(variable(s->name, {DType::kI64, 1}));
  s->body = std::move(frames_.back().statements);
  frames_.pop_back();
  append(std::move(s));
}

void KernelBuilder::loop(const std::string& name, int64_t begin, int64_t extent, LoopKind kind,
                         const Body& body) {
  if (extent > 0) loop(name, int_const(begin), int_const(extent), kind, body);
}

void KernelBuilder::branch(ExprRef condition, const std::function<void()>& then,
                           const std::function<void()>& otherwise) {
  auto s = make(StmtKind::kIf);
  s->value = std::move(condition);
  frames_.emplace_back();
  then();
  s->body = std::move(frames_.back().statements);
  frames_.back().statements.clear();
  if (otherwise) otherwise();
  s->otherwise = std::move(frames_.back().statements);
  frames_.pop_back();
  append(std::move(s));
}

void KernelBuilder::vector_loop(const std::string& name, ExprRef extent, int lanes,
                                const std::function<void(ExprRef, int)>& body) {
  if (lanes == 1) return loop(name, int_const(0), extent, LoopKind::kSerial, [&](ExprRef i) { body(i, 1); });
  ExprRef whole = let(name + "_vectors", extent / lanes);
  bool constant = whole->kind == ExprKind::kIntConst;
  if (!constant || whole->int_value > 0)
    loop(name, int_const(0), whole, LoopKind::kSerial, [&](ExprRef i) { body(i * lanes, lanes); });
  ExprRef done = whole * lanes, rest = extent - done;
  if (rest->kind == ExprKind::kIntConst && rest->int_value == 0) return;
  loop(name + "_rest", int_const(0), rest, LoopKind::kSerial, [&](ExprRef i) { body(done + i, 1); });
}

Function KernelBuilder::finish() {
  internal_check(frames_.size() == 1, "finish inside a loop");
  function_.body = std::move(frames_[0].statements);
  int grids = 0;
  for (const StmtRef& s : function_.body) grids += s->kind == StmtKind::kFor && s->loop == LoopKind::kGrid;
  internal_check(grids == 1, function_.name, " needs one grid loop");
  note_dims(function_.tiles.symbols());
  for (const BufferRef& b : function_.buffers) note_dims(b->size.symbols());
  return std::move(function_);
}

void KernelBuilder::note_dims(const std::vector<std::string>& names) {
  std::vector<std::string>& all = function_.dims;
  for (const std::string& n : names)
    if (std::find(all.begin(), all.end(), n) == all.end()) all.push_back(n);
}

void KernelBuilder::append(StmtRef statement) { frames_.back().statements.push_back(std::move(statement)); }

}  // namespace mlc::kernel
