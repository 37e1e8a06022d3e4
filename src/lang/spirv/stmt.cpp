// Statements: the function's frame, loops, branches.
#include "base/check.h"
#include "base/strings.h"
#include "kernel/passes/rewrite.h"
#include "kernel/verify.h"
#include "lang/language.h"
#include "lang/spirv/emit.h"
#include "lang/spirv/emitter.h"

namespace mlc::lang::spirv {

using kernel::LoopKind;
using kernel::Stmt;
using kernel::StmtKind;

FunctionEmitter::FunctionEmitter(const kernel::Function& kernel) : kernel_(kernel) {
  kernel::for_each_statement(kernel.body, [&](const Stmt& s) {
    if (s.kind == StmtKind::kMatrix) module_.use_vulkan_memory_model();
  });
}

Words FunctionEmitter::run() {
  entry_ = module_.fresh();
  label_ = entry_;
  emit_entry();
  emit_group();
  append(body_, Op::kReturn, {});
  Words function;
  append(function, Op::kLabel, {entry_});
  function.insert(function.end(), variables_.begin(), variables_.end());
  function.insert(function.end(), body_.begin(), body_.end());
  return module_.finish(function, static_cast<int>(kernel::thread_count(kernel_)), inputs_);
}

// Reads the push constants and the numbers of group and thread; leaves when there is no such group.
void FunctionEmitter::emit_entry() {
  Id word = module_.type_int();
  auto input = [&](BuiltIn which, Id type) {
    Id variable = module_.define_variable(Storage::kInput, type);
    module_.decorate(variable, Decoration::kBuiltIn, {static_cast<uint32_t>(which)});
    inputs_.push_back(variable);
    return instruction(Op::kLoad, type, {variable});
  };
  size_t dims = kernel_.dims.size();
  Id block = module_.define_type(Op::kTypeStruct, Words(dims + 1, word));
  module_.decorate(block, Decoration::kBlock);
  for (uint32_t i = 0; i <= dims; ++i) module_.decorate_member(block, i, Decoration::kOffset, {4 * i});
  Id constants = module_.define_variable(Storage::kPushConstant, block);
  auto member = [&](size_t i) {
    Id at = instruction(Op::kAccessChain, module_.pointer_to(Storage::kPushConstant, word),
                        {constants, module_.constant(static_cast<uint32_t>(i))});
    return instruction(Op::kLoad, word, {at});
  };
  for (size_t i = 0; i < dims; ++i) dims_[kernel_.dims[i]] = member(i);
  Id groups = member(dims);

  thread_ = input(BuiltIn::kLocalInvocationIndex, word);
  Id place = input(BuiltIn::kWorkgroupId, module_.vector_of(word, 3));
  Id x = instruction(Op::kCompositeExtract, word, {place, 0}),
     y = instruction(Op::kCompositeExtract, word, {place, 1});
  Id has_rows = module_.define_specialized_true(0), yes_no = module_.type_bool();
  Id row = instruction(Op::kIMul, word, {y, module_.constant(static_cast<uint32_t>(kernel::kGroupsPerRow))});
  Id group = instruction(Op::kIAdd, word, {x, row});
  group_ = instruction(Op::kSelect, word, {has_rows, group, x});
  Id past = instruction(Op::kUGreaterThanEqual, yes_no, {group_, groups});
  Id leaves = instruction(Op::kLogicalAnd, yes_no, {has_rows, past});
  Id nothing = module_.fresh(), work = module_.fresh();
  append(body_, Op::kSelectionMerge, {work, 0});
  append(body_, Op::kBranchConditional, {leaves, nothing, work});
  begin_label(nothing);
  append(body_, Op::kReturn, {});
  begin_label(work);
}

void FunctionEmitter::emit_group() {
  const Stmt& grid = *kernel_.body.at(0);
  names_[grid.name] = group_;
  for (const kernel::StmtRef& s : grid.body) {
    if (s->kind != StmtKind::kFor) continue;  // shared buffers are declared where they are used
    names_[s->name] = thread_;
    emit_block(s->body);
  }
}

void FunctionEmitter::begin_label(Id label) {
  append(body_, Op::kLabel, {label});
  label_ = label;
}

void FunctionEmitter::emit_block(const std::vector<kernel::StmtRef>& statements) {
  for (const kernel::StmtRef& s : statements) emit_statement(*s);
}

void FunctionEmitter::emit_statement(const Stmt& s) {
  memo_.clear();  // a store may have changed what loads see, and values of other blocks do not reach this one
  switch (s.kind) {
    case StmtKind::kLet: {
      Id v = value(s.value);
      names_[s.name] = v;
      return;
    }
    case StmtKind::kStore: {
      Id v = value(s.value);
      append(body_, Op::kStore, {pointer(s.buffer, s.index), v}, memory_operands(s.buffer));
      return;
    }
    case StmtKind::kFor: return emit_for(s);
    case StmtKind::kIf: return emit_if(s);
    case StmtKind::kBlock: return emit_block(s.body);
    case StmtKind::kAlloc: return declare(s.buffer);
    case StmtKind::kBarrier: return emit_barrier();
    case StmtKind::kMatrix: return emit_matrix(s);
    default: fail("a statement that no device function has");
  }
}

void FunctionEmitter::emit_barrier() {
  Id scope = module_.constant(kScopeWorkgroup);
  uint32_t exchange = module_.vulkan_memory_model() ? kSemanticsMakeAvailable | kSemanticsMakeVisible : 0;
  Id semantics =
      module_.constant(kSemanticsAcquireRelease | kSemanticsStorageBuffer | kSemanticsWorkgroup | exchange);
  append(body_, Op::kControlBarrier, {scope, scope, semantics});
}

// for (i = begin; i < begin + extent; ++i), with the header, body, continue and merge blocks that SPIR-V
// wants.
void FunctionEmitter::emit_for(const Stmt& s) {
  internal_check(s.loop == LoopKind::kSerial, "SPIR-V emitter: a device function has serial loops only");
  Id word = module_.type_int(), begin = value(s.begin);
  Id end = s.begin->kind == kernel::ExprKind::kIntConst && s.begin->int_value == 0
               ? value(s.extent)
               : instruction(Op::kIAdd, word, {begin, value(s.extent)});
  Id before = label_, header = module_.fresh(), test = module_.fresh(), body = module_.fresh();
  Id next_label = module_.fresh(), after = module_.fresh(), index = module_.fresh(), next = module_.fresh();
  branch(header);
  begin_label(header);
  append(body_, Op::kPhi, {word, index, begin, before, next, next_label});
  append(body_, Op::kLoopMerge, {after, next_label, 0});
  branch(test);
  begin_label(test);
  Id more = instruction(Op::kSLessThan, module_.type_bool(), {index, end});
  append(body_, Op::kBranchConditional, {more, body, after});
  begin_label(body);
  names_[s.name] = index;
  emit_block(s.body);
  branch(next_label);
  begin_label(next_label);
  append(body_, Op::kIAdd, {word, next, index, module_.constant(1)});
  branch(header);
  begin_label(after);
}

void FunctionEmitter::emit_if(const Stmt& s) {
  Id condition = value(s.value), then = module_.fresh(), after = module_.fresh();
  Id otherwise = s.otherwise.empty() ? after : module_.fresh();
  append(body_, Op::kSelectionMerge, {after, 0});
  append(body_, Op::kBranchConditional, {condition, then, otherwise});
  begin_label(then);
  emit_block(s.body);
  branch(after);
  if (otherwise != after) {
    begin_label(otherwise);
    emit_block(s.otherwise);
    branch(after);
  }
  begin_label(after);
}

}  // namespace mlc::lang::spirv

namespace mlc::lang {

std::string emit_spirv(const kernel::Function& kernel) {
  std::string problem = kernel::verify_device(kernel);
  internal_check(problem.empty(), "SPIR-V emitter: kernel ", kernel.name, ": ", problem);
  spirv::Words words = spirv::FunctionEmitter(kernel).run();
  return {reinterpret_cast<const char*>(words.data()), 4 * words.size()};
}

namespace {
std::string emit_words(const kernel::Function& kernel, const Target&) { return emit_spirv(kernel); }
}  // namespace

const Language& spirv_language() {
  static const Language kSpirv = {"vulkan", GpuLanguage::kSpirv, emit_words, spirv::disassemble};
  return kSpirv;
}

}  // namespace mlc::lang
