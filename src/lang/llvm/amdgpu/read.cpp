// Reads code objects back: notes and instructions.
#include <llvm/BinaryFormat/AMDGPUMetadataVerifier.h>
#include <llvm/BinaryFormat/ELF.h>
#include <llvm/BinaryFormat/MsgPackDocument.h>
#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInst.h>
#include <llvm/MC/MCInstPrinter.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/TargetSelect.h>

#include <mutex>

#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/emit_amdgpu.h"

namespace mlc::lang {
namespace {

using File = llvm::object::ELF64LEObjectFile;

File open(const std::string& bytes) {
  auto file = File::create(llvm::MemoryBufferRef(bytes, "kernel"));
  internal_check(static_cast<bool>(file), "a code object that cannot be read back");
  return std::move(*file);
}

// "amdhsa.kernels" of the notes: one kernel (LLVM's user guide of AMDGPU, "Code Object V4 Metadata").
AmdgpuCode from_notes(llvm::StringRef notes) {
  llvm::msgpack::Document document;
  const bool read = document.readFromBlob(notes, /*Multi=*/false);
  internal_check(read, "a code object whose notes cannot be read back");
  llvm::AMDGPU::HSAMD::V3::MetadataVerifier verifier(/*Strict=*/true);
  internal_check(verifier.verify(document.getRoot()), "a code object whose notes are not valid");
  auto& kernel = document.getRoot().getMap()["amdhsa.kernels"].getArray()[0].getMap();
  auto number = [](llvm::msgpack::MapDocNode& map, const char* name) {
    auto at = map.find(name);
    return at == map.end() ? 0 : static_cast<int>(at->second.getUInt());
  };
  AmdgpuCode out;
  out.name = kernel[".name"].getString().str();
  out.lanes = number(kernel, ".wavefront_size");
  out.resources = {.vector_registers = number(kernel, ".vgpr_count"),
                   .scalar_registers = number(kernel, ".sgpr_count"),
                   .spilled = number(kernel, ".vgpr_spill_count") + number(kernel, ".sgpr_spill_count"),
                   .scratch_bytes = number(kernel, ".private_segment_fixed_size"),
                   .shared_bytes = number(kernel, ".group_segment_fixed_size"),
                   .group_size = number(kernel, ".max_flat_workgroup_size"),
                   .argument_bytes = number(kernel, ".kernarg_segment_size")};
  if (kernel.find(".args") != kernel.end())
    for (auto& argument : kernel[".args"].getArray()) {
      auto& map = argument.getMap();
      out.arguments.push_back({.offset = number(map, ".offset"),
                               .bytes = number(map, ".size"),
                               .is_address = map[".value_kind"].getString() == "global_buffer"});
    }
  return out;
}

AmdgpuCode read_notes(const File& file) {
  for (const auto& section : llvm::cantFail(file.getELFFile().sections())) {
    if (section.sh_type != llvm::ELF::SHT_NOTE) continue;
    llvm::Error error = llvm::Error::success();
    for (auto note : file.getELFFile().notes(section, error))
      if (note.getName() == "AMDGPU" && note.getType() == llvm::ELF::NT_AMDGPU_METADATA)
        return from_notes(note.getDescAsStringRef(section.sh_addralign));
    llvm::cantFail(std::move(error));
  }
  internal_error("a code object without notes");
}

// What it takes to print instructions of one GPU.
struct Printer {
  explicit Printer(const File& file);
  std::vector<AmdgpuCode::Instruction> print(llvm::ArrayRef<uint8_t> code) const;

  const llvm::Target* target;
  std::unique_ptr<llvm::MCRegisterInfo> registers;
  std::unique_ptr<llvm::MCAsmInfo> assembly;
  std::unique_ptr<llvm::MCInstrInfo> instructions;
  std::unique_ptr<llvm::MCSubtargetInfo> gpu;
  std::unique_ptr<llvm::MCContext> context;
  std::unique_ptr<llvm::MCDisassembler> disassembler;
  std::unique_ptr<llvm::MCInstPrinter> printer;
};

Printer::Printer(const File& file) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllDisassemblers();
  });
  const llvm::Triple triple("amdgcn-amd-amdhsa");
  std::string error;
  target = llvm::TargetRegistry::lookupTarget(triple.str(), error);
  internal_check(target != nullptr, "no disassembler of code objects: ", error);
  registers.reset(target->createMCRegInfo(triple.str()));
  assembly.reset(target->createMCAsmInfo(*registers, triple.str(), {}));
  instructions.reset(target->createMCInstrInfo());
  gpu.reset(target->createMCSubtargetInfo(triple.str(), file.tryGetCPUName().value_or(""), ""));
  context = std::make_unique<llvm::MCContext>(triple, assembly.get(), registers.get(), gpu.get());
  disassembler.reset(target->createMCDisassembler(*gpu, *context));
  printer.reset(target->createMCInstPrinter(triple, assembly->getAssemblerDialect(), *assembly, *instructions,
                                            *registers));
}

std::vector<AmdgpuCode::Instruction> Printer::print(llvm::ArrayRef<uint8_t> code) const {
  std::vector<AmdgpuCode::Instruction> out;
  for (uint64_t at = 0, size = 0; at < code.size(); at += size) {
    out.push_back({.at = static_cast<int64_t>(at)});
    llvm::MCInst instruction;
    if (disassembler->getInstruction(instruction, size, code.slice(at), at, llvm::nulls()) !=
        llvm::MCDisassembler::Success) {
      size = 4;
      continue;
    }
    llvm::raw_string_ostream text(out.back().text);
    printer->printInst(&instruction, at, "", *gpu, text);
    out.back().text = trim(out.back().text);
  }
  return out;
}

// A symbol's bytes, of a linked file or one that is not.
llvm::StringRef bytes_of(const File& file, const llvm::object::ELFSymbolRef& symbol) {
  const auto section = llvm::cantFail(symbol.getSection());
  const llvm::StringRef all = llvm::cantFail(section->getContents());
  return all.substr(
      llvm::cantFail(symbol.getValue()) - (file.isRelocatableObject() ? 0 : section->getAddress()),
      symbol.getSize());
}

}  // namespace

AmdgpuResources amdgpu_resources(const std::string& code_object) {
  return read_notes(open(code_object)).resources;
}

std::string disassemble_amdgpu(const std::string& code_object) {
  const File file = open(code_object);
  const Printer printer(file);
  std::string text;
  for (const llvm::object::ELFSymbolRef symbol : file.symbols()) {
    if (symbol.getELFType() != llvm::ELF::STT_FUNC) continue;
    text += llvm::cantFail(symbol.getName()).str() + ":\n";
    for (const auto& [at, line] : printer.print(llvm::arrayRefFromStringRef(bytes_of(file, symbol))))
      text += "\t" + (line.empty() ? "<no instruction>" : line) + "\n";
  }
  return text;
}

AmdgpuCode take_apart_amdgpu(const std::string& code_object) {
  const File file = open(code_object);
  const Printer printer(file);
  AmdgpuCode code = read_notes(file);
  code.architecture = file.tryGetCPUName().value_or("").str();
  for (const llvm::object::ELFSymbolRef symbol : file.symbols()) {
    const std::string name = llvm::cantFail(symbol.getName()).str();
    if (name == code.name)
      code.instructions = printer.print(llvm::arrayRefFromStringRef(bytes_of(file, symbol)));
    if (name == code.name + ".kd") code.descriptor = bytes_of(file, symbol).str();
  }
  return code;
}

}  // namespace mlc::lang
