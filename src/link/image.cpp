// Writes the structs of formats/library.h as constant data and lets LLVM make an object of them: it knows
// each platform's sections and relocations.
#include "link/image.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Module.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/Utils/ModuleUtils.h>

#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/strings.h"
#include "formats/library.h"
#include "formats/library_sections.h"

namespace mlc::link {
namespace {

using llvm::Constant;

class ImageWriter {
 public:
  explicit ImageWriter(llvm::Module& module)
      : module_(module), context_(module.getContext()), pointer_(llvm::PointerType::getUnqual(context_)) {}

  // MlcModelLibrary, field by field.
  void write(const LinkInput& input) {
    write_blobs(input.variants);
    std::vector<Constant*> variants;
    for (const VariantCode& variant : input.variants) variants.push_back(variant_struct(variant));
    Constant* library = llvm::ConstantStruct::getAnon(
        {bytes(std::string_view(kLibraryMagic, sizeof(kLibraryMagic))), number(32, kLibraryAbiVersion),
         number(32, variants.size()), text("manifest", input.manifest), number(64, input.manifest.size()),
         table("variants", variants), number(64, 0)});
    auto* symbol = new llvm::GlobalVariable(module_, library->getType(), /*isConstant=*/true,
                                            llvm::GlobalValue::ExternalLinkage, library,
                                            input.symbol_prefix + kLibrarySymbol);
    symbol->setAlignment(llvm::Align(8));
  }

  // The manifest and room for the trailer in the section that readers of Mach-O files look for.
  void write_section(const std::string& manifest) {
    auto* data = new llvm::GlobalVariable(
        module_,
        llvm::ArrayType::get(llvm::Type::getInt8Ty(context_), manifest.size() + sizeof(LibraryTrailer)),
        /*isConstant=*/true, llvm::GlobalValue::InternalLinkage,
        bytes(manifest + std::string(sizeof(LibraryTrailer), '\xff')), "section");
    data->setSection(std::string(kMachoSegment) + "," + kMachoSection);
    llvm::appendToUsed(module_, {data});
  }

 private:
  // Kernels of all variants by op and size: these resemble each other most, and what serves the file
  // compressed (gzip's window is 32 KB) finds them side by side.
  void write_blobs(const std::vector<VariantCode>& variants) {
    std::multimap<std::pair<std::string, size_t>, const std::string*> alike;
    for (const VariantCode& variant : variants)
      for (const std::string& blob : variant.kernel_blobs)
        alike.emplace(std::pair{op_of(blob), blob.size()}, &blob);
    for (const auto& [key, blob] : alike) text("kernel", *blob);
  }

  // "attention" of a kernel named "k19_attention".
  static std::string op_of(const std::string& blob) {
    const char* name = blob.data() + sizeof(MlcGpuKernel);
    const char* separator = std::strchr(name, '_');
    return separator ? separator + 1 : name;
  }

  // MlcLibraryVariant, field by field.
  Constant* variant_struct(const VariantCode& variant) {
    std::vector<Constant*> kernels;
    for (const std::string& symbol : variant.kernel_symbols) kernels.push_back(kernel(symbol));
    for (const std::string& blob : variant.kernel_blobs) kernels.push_back(text("kernel", blob));
    return llvm::ConstantStruct::getAnon({text("header", variant.header), number(64, variant.header.size()),
                                          text("plan", variant.plan), number(64, variant.plan.size()),
                                          table("kernels", kernels), number(64, kernels.size())});
  }

  Constant* number(unsigned bits, uint64_t value) {
    return llvm::ConstantInt::get(llvm::Type::getIntNTy(context_, bits), value);
  }

  Constant* bytes(std::string_view data) {
    return llvm::ConstantDataArray::getString(context_, llvm::StringRef(data.data(), data.size()),
                                              /*AddNull=*/false);
  }

  Constant* local(const char* name, Constant* value) {
    auto* global = new llvm::GlobalVariable(module_, value->getType(), /*isConstant=*/true,
                                            llvm::GlobalValue::InternalLinkage, value, name);
    global->setAlignment(llvm::Align(8));
    return global;
  }

  // Ends with a zero byte that the length does not count, so that it can also be read as a C string. Equal
  // bytes are one constant: variants share plans and kernels.
  Constant* text(const char* name, const std::string& data) {
    Constant*& known = texts_[data];
    if (!known) known = local(name, llvm::ConstantDataArray::getString(context_, data, /*AddNull=*/true));
    return known;
  }

  Constant* table(const char* name, const std::vector<Constant*>& items) {
    if (items.empty()) return llvm::ConstantPointerNull::get(pointer_);
    return local(name,
                 llvm::ConstantArray::get(llvm::ArrayType::get(items[0]->getType(), items.size()), items));
  }

  Constant* kernel(const std::string& symbol) {
    if (llvm::Function* known = module_.getFunction(symbol)) return known;
    auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context_), false);
    auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, symbol, module_);
    function->setVisibility(llvm::GlobalValue::HiddenVisibility);
    function->setDSOLocal(true);
    return function;
  }

  llvm::Module& module_;
  llvm::LLVMContext& context_;
  llvm::PointerType* pointer_;
  std::unordered_map<std::string, Constant*> texts_;
};

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
  });
}

}  // namespace

Result<std::string> make_image(const LinkInput& input) {
  initialize_llvm();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(input.triple, error);
  if (!target)
    return Status::error(
        str("--host: this build has no code generator for '", input.triple, "' (", error, ")"));
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(input.triple, "", "", llvm::TargetOptions{}, llvm::Reloc::PIC_));
  llvm::LLVMContext context;
  llvm::Module module("library", context);
  module.setTargetTriple(input.triple);
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  ImageWriter writer(module);
  writer.write(input);
  if (machine->getTargetTriple().isOSBinFormatMachO()) writer.write_section(input.manifest);
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  internal_check(!machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile),
                 "code generator: no object printer");
  passes.run(module);
  return std::string(object.data(), object.size());
}

Result<std::vector<std::pair<std::string, std::string>>> archive_members(const LinkInput& input) {
  ASSIGN_OR_RETURN(std::string image, make_image(input));
  std::vector<std::pair<std::string, std::string>> members = {{"library.o", std::move(image)}};
  for (size_t i = 0; i < input.variants.size(); ++i)
    for (size_t j = 0; j < input.variants[i].objects.size(); ++j)
      members.emplace_back(object_name(i, j), input.variants[i].objects[j]);
  members.emplace_back("manifest.json", input.manifest);
  return members;
}

}  // namespace mlc::link
