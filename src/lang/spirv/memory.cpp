// Buffers: their declarations and the pointers into them.
#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/passes/rewrite.h"
#include "lang/spirv/emitter.h"

namespace mlc::lang::spirv {

using kernel::Buffer;
using kernel::BufferRef;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Scope;
using kernel::Type;

size_t FunctionEmitter::binding_of(const Buffer& buffer) const {
  for (size_t i = 0; i < kernel_.buffers.size(); ++i)
    if (kernel_.buffers[i].get() == &buffer) return i;
  fail("buffer " + buffer.name + " is not in scope");
}

// The variable of a kGlobal or kShared buffer: an array of its elements.
Id FunctionEmitter::variable_of(const BufferRef& buffer) {
  auto [it, added] = variables_of_.emplace(buffer.get(), 0);
  if (!added) return it->second;
  Id element = element_of(*buffer);
  if (buffer->scope == Scope::kShared) {
    Id array = module_.define_type(
        Op::kTypeArray, {element, module_.constant(static_cast<uint32_t>(buffer->size.constant()))});
    it->second = module_.define_variable(Storage::kWorkgroup, array);
    module_.name(it->second, buffer->name);
    return it->second;
  }
  size_t binding = binding_of(*buffer);
  Id array = module_.define_type(Op::kTypeRuntimeArray, {element});
  Id block = module_.define_type(Op::kTypeStruct, {array});
  module_.decorate(array, Decoration::kArrayStride, {static_cast<uint32_t>(4 * buffer->element.lanes)});
  module_.decorate(block, Decoration::kBlock);
  module_.decorate_member(block, 0, Decoration::kOffset, {0});
  if (!buffer->writable) module_.decorate_member(block, 0, Decoration::kNonWritable);
  it->second = module_.define_variable(Storage::kStorageBuffer, block);
  module_.decorate(it->second, Decoration::kDescriptorSet, {0});
  module_.decorate(it->second, Decoration::kBinding, {static_cast<uint32_t>(binding)});
  // The first input of a kernel that works in place may be what is written.
  if (kernel_.in_place && (binding == 0 || buffer->writable))
    module_.decorate(it->second, Decoration::kAliased);
  module_.name(it->second, buffer->name);
  return it->second;
}

// Signed and unsigned integers share one type.
Id FunctionEmitter::element_of(const Buffer& buffer) {
  const Type& type = buffer.element;
  return type_of(type.dtype == DType::kF32 ? type : type.with_dtype(DType::kU32));
}

Id FunctionEmitter::pointer(const BufferRef& buffer, const ExprRef& index) {
  if (buffer->scope == Scope::kRegister) {
    auto found = registers_.find(buffer.get());
    if (found == registers_.end()) fail("buffer " + buffer->name + " is not in scope");
    if (index->kind != ExprKind::kIntConst)
      fail("an index of the registers " + buffer->name + " is not constant");
    return found->second.at(static_cast<size_t>(index->int_value));
  }
  Id variable = variable_of(buffer), at = value(index), element = element_of(*buffer);
  if (buffer->scope == Scope::kShared)
    return instruction(Op::kAccessChain, module_.pointer_to(Storage::kWorkgroup, element), {variable, at});
  return instruction(Op::kAccessChain, module_.pointer_to(Storage::kStorageBuffer, element),
                     {variable, module_.constant(0), at});
}

Words FunctionEmitter::memory_operands(const BufferRef& buffer) const {
  bool exchanged = buffer->scope == Scope::kShared || (buffer->scope == Scope::kGlobal && buffer->writable);
  return module_.vulkan_memory_model() && exchanged ? Words{kNonPrivatePointer} : Words{};
}

// Registers and fragments become variables of the function; the others are declared where they are first
// accessed.
void FunctionEmitter::declare(const BufferRef& buffer) {
  if (buffer->scope == Scope::kShared) return;
  bool matrices = buffer->scope == Scope::kFragment;
  Id type =
      module_.pointer_to(Storage::kFunction, matrices ? fragment_type(*buffer) : type_of(buffer->element));
  std::vector<Id>& elements = registers_[buffer.get()];
  elements.clear();
  for (int64_t i = 0; i < buffer->size.constant(); ++i) {
    elements.push_back(module_.fresh());
    append(variables_, Op::kVariable, {type, elements.back(), static_cast<uint32_t>(Storage::kFunction)});
  }
}

}  // namespace mlc::lang::spirv
