// Compiles a kernel function to a tree of nodes and walks it.
#include "kernel/interpret.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"
#include "kernel/interpret_program.h"
#include "kernel/interpret_threads.h"

namespace mlc::kernel {
namespace {

[[noreturn]] void out_of_bounds(const char* what, const char* buffer, int64_t index, int64_t limit) {
  internal_error(str("kernel interpreter: ", what, " of ", buffer, " at byte ", index, " of ", limit));
}

void check_range(const Region& r, int64_t begin, int64_t bytes, const char* what, const char* name) {
  if (begin < 0 || begin + bytes > r.bytes) out_of_bounds(what, name, begin, r.bytes);
}

void run_load(const Node& n, Frame& f) {
  int64_t index = evaluate_index(n.operands[0], f) * n.immediate;
  const uint8_t* mask = n.operands[1] ? evaluate(n.operands[1], f) : nullptr;
  const Region& r = f.regions[static_cast<size_t>(n.region)];
  uint8_t* out = f.memory.data() + n.out;
  if (!mask) {
    check_range(r, index, int64_t{n.lanes} * n.element_bytes, "load", n.name);
    if (f.observer)
      f.observer->access(&n, f.thread, n.region, index, int64_t{n.lanes} * n.element_bytes, false);
    std::memcpy(out, r.data + index, static_cast<size_t>(n.lanes * n.element_bytes));
    return;
  }
  for (int i = 0; i < n.lanes; ++i) {
    auto size = static_cast<size_t>(n.element_bytes);
    std::memset(out + i * n.element_bytes, 0, size);
    if (!mask[i]) continue;
    check_range(r, index + i * n.element_bytes, n.element_bytes, "load", n.name);
    if (f.observer)
      f.observer->access(&n, f.thread, n.region, index + i * n.element_bytes, n.element_bytes, false);
    std::memcpy(out + i * n.element_bytes, r.data + index + i * n.element_bytes, size);
  }
}

void run_load_register(const Node& n, Frame& f) {  // region = count, offsets[0] = start of the array
  int64_t index = evaluate_index(n.operands[0], f);
  if (index < 0 || index >= n.region) out_of_bounds("register load", n.name, index, n.region);
  int64_t bytes = int64_t{n.lanes} * n.element_bytes;
  std::memcpy(f.memory.data() + n.out, f.memory.data() + n.offsets[0] + index * bytes,
              static_cast<size_t>(bytes));
}

int64_t lane_index(const uint8_t* indices, int lane, bool wide) {
  return wide ? read<int64_t>(indices + 8 * lane) : read<int32_t>(indices + 4 * lane);
}

void run_gather(const Node& n, Frame& f) {
  const uint8_t* indices = evaluate(n.operands[0], f);
  const uint8_t* mask = n.operands[1] ? evaluate(n.operands[1], f) : nullptr;
  const Region& r = f.regions[static_cast<size_t>(n.region)];
  uint8_t* out = f.memory.data() + n.out;
  for (int i = 0; i < n.lanes; ++i, out += n.element_bytes) {
    std::memset(out, 0, static_cast<size_t>(n.element_bytes));
    if (mask && !mask[i]) continue;
    int64_t at = lane_index(indices, i, n.wide_index) * n.immediate;
    check_range(r, at, n.element_bytes, "gather", n.name);
    if (f.observer) f.observer->access(&n, f.thread, n.region, at, n.element_bytes, false);
    std::memcpy(out, r.data + at, static_cast<size_t>(n.element_bytes));
  }
}

void run_broadcast(const Node& n, Frame& f) {
  const uint8_t* a = evaluate(n.operands[0], f);
  for (int i = 0; i < n.lanes; ++i)
    std::memcpy(f.memory.data() + n.out + i * n.element_bytes, a, static_cast<size_t>(n.element_bytes));
}

void run_bitcast(const Node& n, Frame& f) {
  const uint8_t* a = evaluate(n.operands[0], f);
  std::memcpy(f.memory.data() + n.out, a, static_cast<size_t>(n.lanes * n.element_bytes));
}

void run_ramp(const Node& n, Frame& f) {
  const uint8_t* a = evaluate(n.operands[0], f);
  uint64_t value = 0;
  std::memcpy(&value, a, static_cast<size_t>(n.element_bytes));
  for (int i = 0; i < n.lanes; ++i, value += static_cast<uint64_t>(n.immediate))
    std::memcpy(f.memory.data() + n.out + i * n.element_bytes, &value, static_cast<size_t>(n.element_bytes));
}

void run_shuffle(const Node& n, Frame& f) {
  for (const Node* part : n.parts) evaluate(part, f);
  uint8_t* base = f.memory.data();
  for (size_t i = 0; i < n.offsets.size(); ++i)
    std::memcpy(base + n.out + static_cast<int64_t>(i) * n.element_bytes, base + n.offsets[i],
                static_cast<size_t>(n.element_bytes));
}

void run_unpack_half(const Node& n, Frame& f) {
  const uint8_t* a = evaluate(n.operands[0], f);
  for (int i = 0; i < 2; ++i) {
    float half = f16_to_f32(read<uint16_t>(a + 2 * i));
    std::memcpy(f.memory.data() + n.out + 4 * i, &half, 4);
  }
}

void run_pack_half(const Node& n, Frame& f) {
  const uint8_t* a = evaluate(n.operands[0], f);
  for (int i = 0; i < 2; ++i) {
    uint16_t half = f32_to_f16(read<float>(a + 4 * i));
    std::memcpy(f.memory.data() + n.out + 2 * i, &half, 2);
  }
}

void run_half_fma(const Node& n, Frame& f) {
  const uint8_t* words[3];
  for (size_t i = 0; i < 3; ++i) words[i] = evaluate(n.operands[i], f);
  for (int i = 0; i < 2; ++i) {
    auto half = [&](size_t operand) { return f16_to_f32(read<uint16_t>(words[operand] + 2 * i)); };
    const uint16_t result = f32_to_f16(std::fmaf(half(0), half(1), half(2)));
    std::memcpy(f.memory.data() + n.out + 2 * i, &result, 2);
  }
}

void put_constant(const Expr& e, uint8_t* out) {
  for (int i = 0; i < e.type.lanes; ++i, out += size_of(e.type.dtype)) {
    if (e.kind == ExprKind::kIntConst) {
      std::memcpy(out, &e.int_value,
                  static_cast<size_t>(size_of(e.type.dtype)));  // little endian: the low bytes
      continue;
    }
    auto f = static_cast<float>(e.float_value);
    uint16_t half = e.type.dtype == DType::kF16 ? f32_to_f16(f) : f32_to_bf16(f);
    if (e.type.dtype == DType::kF64)
      std::memcpy(out, &e.float_value, 8);
    else if (e.type.dtype == DType::kF32)
      std::memcpy(out, &f, 4);
    else
      std::memcpy(out, &half, 2);
  }
}

}  // namespace

const Node* Program::Impl::compile(const ExprRef& expr) {
  if (auto it = seen.find(expr.get()); it != seen.end()) return it->second;
  const Expr& e = *expr;
  nodes.emplace_back();
  Node& n = nodes.back();
  n.lanes = e.type.lanes;
  n.element_bytes = size_of(e.type.dtype);
  if (e.kind == ExprKind::kVar || e.kind == ExprKind::kDim) {
    auto& names = e.kind == ExprKind::kVar ? variables : dims;
    auto it = names.find(e.name);
    internal_check(it != names.end(), "kernel interpreter: unknown name ", e.name);
    n.out = it->second;
  } else {
    for (size_t i = 0; i < e.operands.size(); ++i) {
      const Node* operand = compile(e.operands[i]);
      if (e.kind == ExprKind::kShuffle)
        n.parts.push_back(operand);
      else
        n.operands[i] = operand;
    }
    n.out = allocate(value_bytes(e.type));
    compile_leaf(e, n);
  }
  seen[expr.get()] = &n;
  return &n;
}

void Program::Impl::compile_leaf(const Expr& e, Node& n) {
  switch (e.kind) {
    case ExprKind::kIntConst:
    case ExprKind::kFloatConst: put_constant(e, image.data() + n.out); break;
    case ExprKind::kLoad:
    case ExprKind::kGather: compile_memory(e, n); break;
    case ExprKind::kBroadcast: n.run = run_broadcast; break;
    case ExprKind::kBitcast: n.run = run_bitcast; break;
    case ExprKind::kRamp:
      n.run = run_ramp;
      n.immediate = e.int_value;
      break;
    case ExprKind::kUnpackHalf: n.run = run_unpack_half; break;
    case ExprKind::kPackHalf: n.run = run_pack_half; break;
    case ExprKind::kHalfFma: n.run = run_half_fma; break;
    case ExprKind::kSubgroup:
    case ExprKind::kSubgroupXor:
    case ExprKind::kSubgroupBroadcast: break;  // run_groups exchanges the operand's values
    case ExprKind::kShuffle: compile_shuffle(e, n); break;
    default: choose_arithmetic(e, n);
  }
}

void Program::Impl::compile_memory(const Expr& e, Node& n) {
  const Buffer& b = *e.buffer;
  n.name = b.name.c_str();
  if (b.scope == Scope::kRegister) {
    n.run = run_load_register;
    n.region = static_cast<int>(b.size.constant());
    n.offsets = {arrays.at(&b)};
    return;
  }
  n.region = regions.at(&b);
  n.immediate = value_bytes(b.element);
  n.wide_index = e.operands[0]->type.dtype == DType::kI64;
  n.run = e.kind == ExprKind::kLoad ? run_load : run_gather;
}

void Program::Impl::compile_shuffle(const Expr& e, Node& n) {
  n.run = run_shuffle;
  for (int lane : e.pattern) {
    size_t which = 0;
    while (lane >= e.operands[which]->type.lanes) lane -= e.operands[which++]->type.lanes;
    n.offsets.push_back(n.parts[which]->out + int64_t{lane} * n.element_bytes);
  }
}

std::vector<Step> Program::Impl::compile(const std::vector<StmtRef>& list) {
  std::vector<Step> out;
  for (const StmtRef& s : list) out.push_back(compile(*s));
  return out;
}

void Program::Impl::compile_alloc(const Stmt& s, Step& step) {
  const Buffer& b = *s.buffer;
  step.bytes = b.size.constant() * value_bytes(b.element);
  if (b.scope == Scope::kFragment)
    step.bytes = b.size.constant() * b.fragment.rows * b.fragment.columns * int64_t{sizeof(float)};
  if (b.scope != Scope::kShared) {
    step.slot = arrays[&b] = allocate(step.bytes);
  } else {
    step.region = regions[&b] = static_cast<int>(function.buffers.size() + shared_bytes.size());
    shared_bytes.push_back(step.bytes);
    shared_units.push_back(size_of(b.element.dtype));
    shared_names.push_back(b.name);
  }
}

void Program::Impl::compile_access(const Stmt& s, Step& step) {
  const Buffer& b = *s.buffer;
  if (s.value) step.value = compile(s.value);
  step.index = compile(s.index);
  if (s.mask) step.mask = compile(s.mask);
  step.name = b.name;
  if (b.scope == Scope::kRegister) {
    step.slot = arrays.at(&b);
    step.bytes = value_bytes(b.element);
    step.count = b.size.constant();
  } else {
    step.region = regions.at(&b);
    step.unit = value_bytes(b.element);
  }
}

void Program::Impl::compile_matrix(const Stmt& s, Step& step) {
  step.matrix = &s;
  step.slot = fragment_slot(s.buffer, s.index->int_value);
  if (s.begin) step.begin = compile(s.begin);
  if (s.memory) {
    step.region = regions.at(s.memory.get());
    step.unit = value_bytes(s.memory->element);
  }
  for (int i = 0; i < 2; ++i)
    if (s.factors[i].buffer) step.factor_slots[i] = fragment_slot(s.factors[i].buffer, s.factors[i].index);
}

Step Program::Impl::compile(const Stmt& s) {
  Step step{.kind = s.kind};
  switch (s.kind) {
    case StmtKind::kLet:
      step.value = compile(s.value);
      if (is_subgroup(*s.value)) step.subgroup = s.value.get();
      step.bytes = value_bytes(s.value->type);
      step.slot = variables[s.name] = allocate(step.bytes);
      break;
    case StmtKind::kFor:
      step.begin = compile(s.begin);
      step.extent = compile(s.extent);
      step.loop = s.loop;
      step.slot = variables[s.name] = allocate(8);
      break;
    case StmtKind::kIf: step.value = compile(s.value); break;
    case StmtKind::kAlloc: compile_alloc(s, step); break;
    case StmtKind::kStore:
    case StmtKind::kScatter: compile_access(s, step); break;
    case StmtKind::kMatrix: compile_matrix(s, step); break;
    case StmtKind::kBlock:
    case StmtKind::kBarrier:
    case StmtKind::kPrefetch: break;
  }
  step.body = compile(s.body);
  step.otherwise = compile(s.otherwise);
  return step;
}

void run_store(const Step& s, Frame& f) {
  const uint8_t* value = evaluate(s.value, f);
  const uint8_t* mask = s.mask ? evaluate(s.mask, f) : nullptr;
  int64_t bytes = int64_t{s.value->lanes} * s.value->element_bytes;
  int64_t index = evaluate_index(s.index, f);
  value = f.memory.data() + s.value->out;
  if (s.region < 0) {
    if (index < 0 || index >= s.count) out_of_bounds("register store", s.name.c_str(), index, s.count);
    std::memcpy(f.memory.data() + s.slot + index * s.bytes, value, static_cast<size_t>(bytes));
    return;
  }
  const Region& r = f.regions[static_cast<size_t>(s.region)];
  index *= s.unit;
  if (!mask) {
    check_range(r, index, bytes, "store", s.name.c_str());
    if (f.observer) f.observer->access(&s, f.thread, s.region, index, bytes, true);
    std::memcpy(r.data + index, value, static_cast<size_t>(bytes));
    return;
  }
  for (int i = 0; i < s.value->lanes; ++i) {
    if (!mask[i]) continue;
    int64_t at = index + int64_t{i} * s.value->element_bytes;
    check_range(r, at, s.value->element_bytes, "store", s.name.c_str());
    if (f.observer) f.observer->access(&s, f.thread, s.region, at, s.value->element_bytes, true);
    std::memcpy(r.data + at, value + i * s.value->element_bytes, static_cast<size_t>(s.value->element_bytes));
  }
}

void run_scatter(const Step& s, Frame& f) {
  evaluate(s.value, f);
  const uint8_t* mask = s.mask ? evaluate(s.mask, f) : nullptr;
  const uint8_t* indices = evaluate(s.index, f);
  const uint8_t* value = f.memory.data() + s.value->out;
  const Region& r = f.regions[static_cast<size_t>(s.region)];
  for (int i = 0; i < s.value->lanes; ++i) {
    if (mask && !mask[i]) continue;
    int64_t at = lane_index(indices, i, s.index->element_bytes == 8) * s.unit;
    check_range(r, at, s.value->element_bytes, "scatter", s.name.c_str());
    if (f.observer) f.observer->access(&s, f.thread, s.region, at, s.value->element_bytes, true);
    std::memcpy(r.data + at, value + i * s.value->element_bytes, static_cast<size_t>(s.value->element_bytes));
  }
}

void run_alloc(const Step& s, Frame& f) {  // fresh memory holds garbage: all ones, a NaN in every float type
  uint8_t* data = s.region < 0 ? f.memory.data() + s.slot : f.regions[static_cast<size_t>(s.region)].data;
  std::memset(data, 0xff, static_cast<size_t>(s.bytes));
}

void Program::Impl::run_loop(const Step& s, Frame& f, int64_t tile_begin, int64_t tile_end) const {
  int64_t begin = evaluate_index(s.begin, f), end = begin + evaluate_index(s.extent, f);
  if (s.loop == LoopKind::kGrid) {
    internal_check(tile_begin >= begin && tile_end <= end, function.name, ": tiles outside the grid");
    begin = tile_begin;
    end = tile_end;
  }
  for (int64_t i = begin; i < end; ++i) {
    std::memcpy(f.memory.data() + s.slot, &i, 8);
    run(s.body, f, tile_begin, tile_end);
  }
}

void Program::Impl::run(const std::vector<Step>& list, Frame& f, int64_t tile_begin, int64_t tile_end) const {
  for (const Step& s : list) {
    switch (s.kind) {
      case StmtKind::kLet: {
        const uint8_t* value = evaluate(s.value, f);
        std::memcpy(f.memory.data() + s.slot, value, static_cast<size_t>(s.bytes));
        break;
      }
      case StmtKind::kStore: run_store(s, f); break;
      case StmtKind::kScatter: run_scatter(s, f); break;
      case StmtKind::kFor: run_loop(s, f, tile_begin, tile_end); break;
      case StmtKind::kIf: run(*evaluate(s.value, f) ? s.body : s.otherwise, f, tile_begin, tile_end); break;
      case StmtKind::kBlock: run(s.body, f, tile_begin, tile_end); break;
      case StmtKind::kAlloc: run_alloc(s, f); break;
      case StmtKind::kMatrix: run_matrix(s, f); break;
      case StmtKind::kBarrier:
      case StmtKind::kPrefetch: break;
    }
  }
}

Program::Program(const Function& function) : impl_(std::make_unique<Impl>()) {
  impl_->function = function;
  for (size_t i = 0; i < function.buffers.size(); ++i)
    impl_->regions[function.buffers[i].get()] = static_cast<int>(i);
  for (const std::string& d : function.dims) impl_->dims[d] = impl_->allocate(8);
  impl_->steps = impl_->compile(function.body);
}
Program::~Program() = default;
Program::Program(Program&&) noexcept = default;

namespace {
std::map<std::string, int64_t> bind(const Function& f, std::span<const int64_t> dims) {
  internal_check(dims.size() == f.dims.size(), f.name, ": wrong number of dimensions");
  std::map<std::string, int64_t> values;
  for (size_t i = 0; i < dims.size(); ++i) values[f.dims[i]] = dims[i];
  return values;
}
}  // namespace

int64_t Program::tiles(std::span<const int64_t> dims) const {
  auto count = impl_->function.tiles.evaluate(bind(impl_->function, dims));
  internal_check(count.has_value(), impl_->function.name, ": tile count has no value");
  return *count;
}

void Program::run(std::span<const HostBuffer> buffers, std::span<const int64_t> dims, int64_t tile_begin,
                  int64_t tile_end, GroupCounter* counter) const {
  const Function& fn = impl_->function;
  auto values = bind(fn, dims);
  internal_check(buffers.size() == fn.buffers.size(), fn.name, ": wrong number of buffers");
  Frame frame{impl_->image, {}};
  for (size_t i = 0; i < buffers.size(); ++i) {
    auto size = fn.buffers[i]->size.evaluate(values);
    internal_check(size.has_value(), fn.name, ": the size of ", fn.buffers[i]->name, " has no value");
    int64_t bytes = *size * value_bytes(fn.buffers[i]->element);
    internal_check(bytes <= buffers[i].bytes, fn.name, ": buffer ", fn.buffers[i]->name, " has ",
                   buffers[i].bytes, " bytes, needs ", bytes);
    frame.regions.push_back({static_cast<uint8_t*>(buffers[i].data), bytes});
  }
  std::deque<std::vector<uint8_t>> shared;
  for (int64_t bytes : impl_->shared_bytes) {
    shared.emplace_back(static_cast<size_t>(bytes));
    frame.regions.push_back({shared.back().data(), bytes});
  }
  for (size_t i = 0; i < dims.size(); ++i)
    std::memcpy(frame.memory.data() + impl_->dims.at(fn.dims[i]), &dims[i], 8);
  if (thread_count(fn) > 0)
    run_groups(*impl_, frame, tile_begin, tile_end, counter);
  else
    impl_->run(impl_->steps, frame, tile_begin, tile_end);
}

void interpret(const Function& function, std::span<const HostBuffer> buffers, std::span<const int64_t> dims) {
  Program program(function);
  program.run(buffers, dims, 0, program.tiles(dims));
}

}  // namespace mlc::kernel
