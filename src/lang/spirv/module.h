// A SPIR-V module under construction: one compute entry point "main", types and constants that exist once,
// sections in the order that the specification wants (2.4, logical layout of a module).
#pragma once

#include <functional>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lang/spirv/opcodes.h"

namespace mlc::lang::spirv {

using Id = uint32_t;
using Words = std::vector<uint32_t>;

struct WordsHash {
  size_t operator()(const Words& words) const {
    return std::hash<std::string_view>()(
        {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint32_t)});
  }
};

// Appends one instruction.
void append(Words& section, Op op, std::initializer_list<uint32_t> operands, const Words& more = {});
// A string as an operand: UTF-8, ended by a zero byte, padded to words.
Words string_words(std::string_view text);

class ModuleBuilder {
 public:
  Id fresh() { return bound_++; }

  // A type or constant: equal calls give equal ids. `type` is 0 for types.
  Id unique(Op op, Id type, const Words& operands);
  Id type_bool() { return unique(Op::kTypeBool, 0, {}); }
  Id type_int(int bits = 32) { return unique(Op::kTypeInt, 0, {static_cast<uint32_t>(bits), 0}); }
  Id type_float(uint32_t bits = 32) { return unique(Op::kTypeFloat, 0, {bits}); }
  Id vector_of(Id scalar, int lanes) {
    return lanes == 1 ? scalar : unique(Op::kTypeVector, 0, {scalar, static_cast<uint32_t>(lanes)});
  }
  Id pointer_to(Storage storage, Id type) {
    return unique(Op::kTypePointer, 0, {static_cast<uint32_t>(storage), type});
  }
  Id constant(uint32_t value) { return unique(Op::kConstant, type_int(), {value}); }

  // Each call makes a new type or variable.
  Id define_type(Op op, const Words& operands);
  Id define_variable(Storage storage, Id type);
  Id define_specialized_true(uint32_t spec_id);

  void require(Capability capability) { capabilities_.insert(static_cast<uint32_t>(capability)); }
  void require_extension(const std::string& name) { extensions_.insert(name); }
  // The Vulkan memory model instead of GLSL's: matrices want it.
  void use_vulkan_memory_model();
  bool vulkan_memory_model() const {
    return capabilities_.count(static_cast<uint32_t>(Capability::kVulkanMemoryModel)) != 0;
  }
  void decorate(Id target, Decoration decoration, const Words& literals = {});
  void decorate_member(Id structure, uint32_t member, Decoration decoration, const Words& literals = {});
  void name(Id target, std::string_view text);
  Id glsl() const { return kGlsl; }  // the import of GLSL.std.450

  // The whole module. `body` holds the function from its first label on; `inputs` the Input variables it
  // uses.
  Words finish(const Words& body, int group_size, const std::vector<Id>& inputs);

 private:
  static constexpr Id kGlsl = 1, kMain = 2;
  Id bound_ = 3;
  std::unordered_map<Words, Id, WordsHash> unique_;
  std::set<uint32_t> capabilities_ = {static_cast<uint32_t>(Capability::kShader)};
  std::set<std::string> extensions_;
  Words names_, decorations_, globals_;
};

}  // namespace mlc::lang::spirv
