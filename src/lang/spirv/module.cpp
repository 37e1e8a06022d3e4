// Assembles SPIR-V modules.
#include "lang/spirv/module.h"

#include "base/check.h"

namespace mlc::lang::spirv {

void append(Words& section, Op op, std::initializer_list<uint32_t> operands, const Words& more) {
  auto count = static_cast<uint32_t>(1 + operands.size() + more.size());
  internal_check(count < 65536, "SPIR-V: an instruction of more than 65,535 words");
  section.push_back(count << 16 | static_cast<uint32_t>(op));
  section.insert(section.end(), operands);
  section.insert(section.end(), more.begin(), more.end());
}

Words string_words(std::string_view text) {
  Words words(text.size() / 4 + 1, 0);
  for (size_t i = 0; i < text.size(); ++i)
    words[i / 4] |= static_cast<uint32_t>(static_cast<unsigned char>(text[i])) << (8 * (i % 4));
  return words;
}

Id ModuleBuilder::unique(Op op, Id type, const Words& operands) {
  Words key = {static_cast<uint32_t>(op), type};
  key.insert(key.end(), operands.begin(), operands.end());
  auto [it, added] = unique_.emplace(std::move(key), 0);
  if (!added) return it->second;
  it->second = fresh();
  if (type == 0) {
    append(globals_, op, {it->second}, operands);
  } else {
    append(globals_, op, {type, it->second}, operands);
  }
  return it->second;
}

Id ModuleBuilder::define_type(Op op, const Words& operands) {
  Id id = fresh();
  append(globals_, op, {id}, operands);
  return id;
}

Id ModuleBuilder::define_variable(Storage storage, Id type) {
  Id pointer = pointer_to(storage, type), id = fresh();
  append(globals_, Op::kVariable, {pointer, id, static_cast<uint32_t>(storage)});
  return id;
}

Id ModuleBuilder::define_specialized_true(uint32_t spec_id) {
  Id type = type_bool(), id = fresh();
  append(globals_, Op::kSpecConstantTrue, {type, id});
  decorate(id, Decoration::kSpecId, {spec_id});
  return id;
}

void ModuleBuilder::use_vulkan_memory_model() {
  require(Capability::kVulkanMemoryModel);
  require_extension("SPV_KHR_vulkan_memory_model");
}

void ModuleBuilder::decorate(Id target, Decoration decoration, const Words& literals) {
  append(decorations_, Op::kDecorate, {target, static_cast<uint32_t>(decoration)}, literals);
}

void ModuleBuilder::decorate_member(Id structure, uint32_t member, Decoration decoration,
                                    const Words& literals) {
  append(decorations_, Op::kMemberDecorate, {structure, member, static_cast<uint32_t>(decoration)}, literals);
}

void ModuleBuilder::name(Id target, std::string_view text) {
  append(names_, Op::kName, {target}, string_words(text));
}

Words ModuleBuilder::finish(const Words& body, int group_size, const std::vector<Id>& inputs) {
  constexpr uint32_t kLogical = 0, kGlsl450 = 1, kVulkan = 3, kGlCompute = 5, kLocalSize = 17;
  Id type_void = unique(Op::kTypeVoid, 0, {}), type_main = unique(Op::kTypeFunction, 0, {type_void});
  Words out = {kMagic, kVersion13, 0, bound_, 0};
  auto add = [&](const Words& section) { out.insert(out.end(), section.begin(), section.end()); };
  for (uint32_t capability : capabilities_) append(out, Op::kCapability, {capability});
  for (const std::string& extension : extensions_) append(out, Op::kExtension, {}, string_words(extension));
  append(out, Op::kExtInstImport, {kGlsl}, string_words("GLSL.std.450"));
  append(out, Op::kMemoryModel, {kLogical, vulkan_memory_model() ? kVulkan : kGlsl450});
  Words entry = string_words("main");
  entry.insert(entry.end(), inputs.begin(), inputs.end());
  append(out, Op::kEntryPoint, {kGlCompute, kMain}, entry);
  append(out, Op::kExecutionMode, {kMain, kLocalSize, static_cast<uint32_t>(group_size), 1, 1});
  add(names_);
  add(decorations_);
  add(globals_);
  append(out, Op::kFunction, {type_void, kMain, 0, type_main});
  add(body);
  append(out, Op::kFunctionEnd, {});
  return out;
}

}  // namespace mlc::lang::spirv
