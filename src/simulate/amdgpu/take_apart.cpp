// From LLVM's spelling of instructions to what runs them.
#include <elf.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "simulate/amdgpu/wave.h"

namespace mlc::amdgpu {
namespace {

// LLVM's user guide of AMDGPU, "Header" and "Kernel Descriptor".
constexpr unsigned char kAmdHsa = 64, kVersion4 = 2;
constexpr uint16_t kAmdGpu = 224;
constexpr size_t kDescriptorBytes = 64, kSetupAt = 52, kPropertiesAt = 56;
constexpr uint32_t kUserScalarsShift = 1, kUserScalarsMask = 31, kGroupInX = 1 << 7, kWantsScratch = 1;
// Scalars that a wavefront starts with, in this order, each if its bit is set.
constexpr int kStartWords[] = {4, 2, 2, 2,
                               2, 2, 1};  // scratch, dispatch, queue, arguments, id, flat scratch, size
constexpr int kArgumentsBit = 3;

[[noreturn]] void fail(const Instruction& i, const std::string& what) {
  throw Fault(str("'", i.text, "' ", what));
}

template <typename T>
T read_at(const std::string& bytes, size_t at) {
  T out{};
  std::memcpy(&out, bytes.data() + at, sizeof out);
  return out;
}

bool to_number(std::string_view text, int64_t& out) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, hex ? 16 : 10);
  if (negative) out = -out;
  return error == std::errc() && end == text.data() + text.size();
}

// "v3", "s[4:7]", "vcc_lo", "exec", "null", "off".
bool to_register(std::string_view text, Operand& out) {
  struct Name {
    const char* text;
    uint16_t first;
    uint8_t words;
  };
  static const Name names[] = {{"vcc", kVcc, 2},   {"vcc_lo", kVcc, 1},   {"vcc_hi", kVcc + 1, 1},
                               {"exec", kExec, 2}, {"exec_lo", kExec, 1}, {"exec_hi", kExec + 1, 1},
                               {"m0", kM0, 1},     {"null", kNull, 1}};
  out.kind = Operand::Kind::kScalar;
  for (const Name& name : names)
    if (text == name.text) return out.first = name.first, out.words = name.words, true;
  if (text.size() < 2 || (text[0] != 'v' && text[0] != 's')) return false;
  out.kind = text[0] == 'v' ? Operand::Kind::kVector : Operand::Kind::kScalar;
  int64_t first = 0, last = 0;
  const size_t colon = text.find(':');
  const bool range = text[1] == '[' && colon != text.npos;
  if (!to_number(range ? text.substr(2, colon - 2) : text.substr(1), first)) return false;
  last = first;
  if (range && !to_number(text.substr(colon + 1, text.size() - colon - 2), last)) return false;
  out.first = static_cast<uint16_t>(first);
  out.words = static_cast<uint8_t>(last - first + 1);
  return first >= 0 && last >= first && last < (text[0] == 'v' ? 256 : 106);
}

bool to_constant(std::string_view text, Operand& out) {
  int64_t number = 0;
  out.kind = Operand::Kind::kConstant;
  if (to_number(text, number)) return out.constant = static_cast<uint64_t>(number), true;
  float value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  out.constant = f32_bits(value);
  return error == std::errc() && end == text.data() + text.size();
}

Operand operand_of(const Instruction& i, std::string_view text) {
  Operand out;
  if (text == "off") return out;
  if (to_constant(text, out)) return out;
  if (text.starts_with('-')) out.negative = true, text.remove_prefix(1);
  if (text.starts_with('|') && text.ends_with('|') && text.size() > 2)
    out.absolute = true, text = text.substr(1, text.size() - 2);
  if (!to_register(text, out)) fail(i, str("has an operand that is unknown: ", text));
  return out;
}

// "[0,1,0]"
std::vector<int64_t> list_of(std::string_view text) {
  std::vector<int64_t> out;
  for (const std::string& part : split(std::string(text.substr(1, text.size() - 2)), ',')) {
    out.push_back(-1);
    to_number(part, out.back());
  }
  return out;
}

void set_halves(Instruction& i, const std::vector<int64_t>& list, bool high) {
  for (size_t n = 0; n < list.size() && n + 1 < std::size(i.operands); ++n) {
    Operand::Part& part = i.operands[n + 1].part;
    // op_sel_hi: the factor is a half; op_sel: the high one.
    if (list[n])
      part = high && part == Operand::Part::kLow ? Operand::Part::kHigh : high ? part : Operand::Part::kLow;
  }
}

bool set_part(Operand& o, std::string_view name) {
  static const std::map<std::string_view, Operand::Part> parts = {
      {"DWORD", Operand::Part::kWhole},  {"WORD_0", Operand::Part::kLow},   {"WORD_1", Operand::Part::kHigh},
      {"BYTE_0", Operand::Part::kByte0}, {"BYTE_1", Operand::Part::kByte1}, {"BYTE_2", Operand::Part::kByte2},
      {"BYTE_3", Operand::Part::kByte3}};
  auto it = parts.find(name);
  if (it != parts.end()) o.part = it->second;
  return it != parts.end();
}

// Modifiers, in an order in which each finds what it changes.
bool set_modifier(Instruction& i, std::string_view name, std::string_view value) {
  int64_t number = 0;
  const bool is_number = to_number(value, number);
  if (name == "offset" && is_number) return i.offset[0] = number, true;
  if (name == "offset0" && is_number) return i.offset[0] = number, true;
  if (name == "offset1" && is_number) return i.offset[1] = number, true;
  if (name == "offset" && value.starts_with("swizzle(SWAP,")) {
    if (!to_number(value.substr(13, value.size() - 14), number)) return false;
    return i.quad[0] = static_cast<uint8_t>(number), true;
  }
  if (name == "quad_perm") {
    const std::vector<int64_t> lanes = list_of(value);
    for (size_t n = 0; n < 4; ++n) i.quad[n] = static_cast<uint8_t>(lanes.at(n));
    return i.exchange = Exchange::kQuad, true;
  }
  if (name == "row_xmask")
    return i.exchange = Exchange::kRowXor, i.quad[0] = static_cast<uint8_t>(number), true;
  if (name == "row_mask" || name == "bank_mask") return value == "0xf";
  if (name == "bound_ctrl") return value == "1";
  if (name == "dst_sel") return value == "DWORD";
  if (name == "dst_unused") return true;  // of a part that is not written: all is
  if (name == "src0_sel") return set_part(i.operands[1], value);
  if (name == "src1_sel") return set_part(i.operands[2], value);
  if (name == "op_sel_hi") return set_halves(i, list_of(value), false), true;
  if (name == "op_sel") return set_halves(i, list_of(value), true), true;
  return false;
}

// The pieces of a text between commas or spaces that no bracket holds.
std::vector<std::string> pieces(std::string_view text, char between) {
  std::vector<std::string> out(1);
  int depth = 0;
  for (char c : text) {
    depth += c == '[' || c == '(';
    depth -= c == ']' || c == ')';
    if (c == between && depth == 0)
      out.emplace_back();
    else
      out.back() += c;
  }
  for (std::string& piece : out) piece = trim(piece);
  std::erase_if(out, [](const std::string& piece) { return piece.empty(); });
  return out;
}

void read_operands(Instruction& i, std::string_view text) {
  std::vector<std::string> modifiers;
  for (const std::string& piece : pieces(text, ',')) {
    std::vector<std::string> words = pieces(piece, ' ');
    if (static_cast<size_t>(i.operand_count) == std::size(i.operands)) fail(i, "has too many operands");
    i.operands[i.operand_count++] = operand_of(i, words[0]);
    modifiers.insert(modifiers.end(), words.begin() + 1, words.end());
  }
  std::sort(modifiers.rbegin(), modifiers.rend());  // op_sel_hi before op_sel
  for (const std::string& modifier : modifiers) {
    const size_t colon = modifier.find(':');
    if (colon == modifier.npos ||
        !set_modifier(i, modifier.substr(0, colon), std::string_view(modifier).substr(colon + 1)))
      fail(i, str("has a modifier that is unknown: ", modifier));
  }
}

// One name for what generations call differently, without the suffix of an encoding.
std::string plain_name(std::string name) {
  for (const char* encoding : {"_e32", "_e64", "_dpp", "_sdwa"})
    if (name.ends_with(encoding)) name.resize(name.size() - std::strlen(encoding));
  static const std::map<std::string, std::string> others = {
      {"v_add_nc_u32", "v_add_u32"},        {"v_sub_nc_u32", "v_sub_u32"},
      {"v_add_nc_u16", "v_add_u16"},        {"v_sub_nc_u16", "v_sub_u16"},
      {"v_subrev_nc_u32", "v_subrev_u32"},  {"v_add_co_ci_u32", "v_addc_co_u32"},
      {"v_sub_co_ci_u32", "v_subb_co_u32"}, {"v_fmaak_f32", "v_fma_f32"},
      {"v_fmamk_f32", "v_fma_f32"}};
  auto it = others.find(name);
  return it == others.end() ? name : it->second;
}

Instruction instruction_of(const std::string& text) {
  Instruction i;
  i.text = text;
  const size_t space = text.find_first_of(" \t");
  const std::string name = plain_name(text.substr(0, space));
  if (select_scalar(name, i) && (i.control != Control::kNone && i.control != Control::kBranch)) return i;
  if (space != text.npos) read_operands(i, std::string_view(text).substr(space));
  if (i.control == Control::kBranch) return i;
  if (!select_scalar(name, i) && !select_memory(name, i) && !select_vector(name, i)) fail(i, "is unknown");
  return i;
}

// Branches count words from the next instruction on.
void find_targets(const lang::AmdgpuCode& code, std::vector<Instruction>& all) {
  for (size_t n = 0; n < all.size(); ++n) {
    if (all[n].control != Control::kBranch) continue;
    const int64_t to = code.instructions[n].at + 4 + 4 * static_cast<int16_t>(all[n].operands[0].constant);
    auto at = std::find_if(code.instructions.begin(), code.instructions.end(),
                           [&](const auto& other) { return other.at == to; });
    if (at == code.instructions.end()) fail(all[n], "goes to no instruction");
    all[n].target = static_cast<uint32_t>(at - code.instructions.begin());
  }
}

// Which scalars hold the address of the arguments and the group's number.
void read_descriptor(const std::string& descriptor, Kernel& kernel) {
  if (descriptor.size() != kDescriptorBytes) throw Fault("the kernel has no descriptor");
  const auto setup = read_at<uint32_t>(descriptor, kSetupAt);
  const auto properties = read_at<uint16_t>(descriptor, kPropertiesAt);
  for (int bit = 0; bit < kArgumentsBit; ++bit)
    if (properties >> bit & 1) kernel.arguments_at += kStartWords[bit];
  if (!(properties >> kArgumentsBit & 1)) throw Fault("the kernel wants no arguments");
  kernel.group_at = static_cast<int>(setup >> kUserScalarsShift & kUserScalarsMask);
  if (!(setup & kGroupInX)) throw Fault("the kernel does not want its group's number");
  if (setup & kWantsScratch) throw Fault("the kernel wants memory of its own for each thread");
}

}  // namespace

std::string code_object_at(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  const bool known = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_type == ET_DYN &&
                     header.e_machine == kAmdGpu && header.e_ident[EI_OSABI] == kAmdHsa &&
                     header.e_ident[EI_ABIVERSION] == kVersion4;
  if (!known) return "";
  return {static_cast<const char*>(image),
          header.e_shoff + size_t{header.e_shnum} * header.e_shentsize};  // its last part
}

std::unique_ptr<Kernel> kernel_of(const lang::AmdgpuCode& code) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = code.name;
  kernel->threads = code.resources.group_size;
  kernel->parameter_bytes = code.resources.argument_bytes;
  kernel->lanes = code.lanes;
  kernel->shared_bytes = code.resources.shared_bytes;
  for (const auto& a : code.arguments) kernel->parameters.push_back({a.offset, a.bytes, a.is_address});
  try {
    read_descriptor(code.descriptor, *kernel);
    for (const auto& [at, text] : code.instructions) {
      if (text.empty()) throw Fault(str("there is no instruction at byte ", at));
      kernel->instructions.push_back(instruction_of(text));
    }
    find_targets(code, kernel->instructions);
  } catch (const Fault& fault) {
    throw Fault(str("kernel ", code.name, ": ", fault.what()));
  }
  for (const Instruction& i : kernel->instructions)
    for (const Operand& o : i.operands)
      if (o.kind == Operand::Kind::kVector) kernel->vectors = std::max(kernel->vectors, o.first + o.words);
  return kernel;
}

}  // namespace mlc::amdgpu
