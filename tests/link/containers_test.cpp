// Containers of other systems: what LLVM's readers find in them, what our reader finds, and that they run
// where this machine can run them.
#include <gtest/gtest.h>
#include <llvm/Object/Archive.h>
#include <llvm/Object/COFF.h>
#include <llvm/Object/MachO.h>
#include <llvm/Object/Wasm.h>
#include <llvm/Support/SHA256.h>
#include <sys/mman.h>

#include <cstring>
#include <map>

#include "formats/library_sections.h"
#include "link/elf_facts.h"
#include "link/two_kernels.h"

namespace mlc::link {
namespace {

using Names = std::vector<std::string>;

LinkInput input_for(const std::string& host) { return make_input(targets_for_host(host).value()); }

template <typename Object>
std::unique_ptr<Object> read_as(const std::string& library) {
  auto object = llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(library, "library"));
  EXPECT_TRUE(static_cast<bool>(object)) << llvm::toString(object.takeError());
  if (!object || !llvm::isa<Object>(**object)) return nullptr;
  return std::unique_ptr<Object>(static_cast<Object*>(object->release()));
}

void expect_manifest(const std::string& library, const std::string& container) {
  EXPECT_EQ(container_of(library), container);
  Result<Json> manifest = check_library_bytes(library, "library");
  ASSERT_TRUE(manifest.is_ok()) << manifest.status().message();
  EXPECT_EQ((*manifest)["model_type"], "toy");
}

TEST(LinkCoff, DllExportsOneSymbolAndNeedsNothing) {
  const std::map<std::string, int> machines = {
      {"x86_64-pc-windows-msvc", llvm::COFF::IMAGE_FILE_MACHINE_AMD64},
      {"x86_64-w64-mingw32", llvm::COFF::IMAGE_FILE_MACHINE_AMD64},
      {"aarch64-pc-windows-msvc", llvm::COFF::IMAGE_FILE_MACHINE_ARM64}};
  for (const auto& [host, machine] : machines) {
    LinkInput input = input_for(host);
    std::string library = link_or_fail(input);
    auto dll = read_as<llvm::object::COFFObjectFile>(library);
    ASSERT_TRUE(dll) << host;
    EXPECT_EQ(dll->getMachine(), machine) << host;
    Names exports;
    for (const auto& entry : dll->export_directories()) {
      llvm::StringRef name;
      EXPECT_FALSE(static_cast<bool>(entry.getSymbolName(name)));
      exports.push_back(name.str());
    }
    EXPECT_EQ(exports, Names{kLibrarySymbol});
    EXPECT_TRUE(dll->import_directories().empty()) << host;
    expect_manifest(library, "PE");
    EXPECT_EQ(link_or_fail(input), library) << "equal inputs, other bytes";
  }
}

TEST(LinkCoff, GpuLibraryHasNoMachineCode) {
  LinkInput input{.triple = parse_host("x86_64-pc-windows-msvc")->triple,
                  .manifest = R"({"model_type": "toy"})"};
  input.variants.push_back({.header = "{}", .plan = "p", .kernel_blobs = {std::string(64, 'k')}});
  expect_manifest(link_or_fail(input), "PE");
}

TEST(LinkCoff, DllRunsUnderWine) {
#if defined(MLC_WINDOWS_RUNNER) && defined(MLC_WINE)
  testing::TempFolder folder;
  std::string library = folder.write("model.dll", link_or_fail(input_for("x86_64-pc-windows-msvc")));
  std::string prefix = folder.file("prefix"), log = folder.file("log");
  std::string command = str(
      "cd ", folder.path(), " && WINEPREFIX=", prefix, " WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml=' ",
      MLC_WINE, " ", MLC_WINDOWS_RUNNER, " model.dll . > ", log, " 2>/dev/null; WINEPREFIX=", prefix,
      " wineserver -k > /dev/null 2>&1 || WINEPREFIX=", prefix, " /usr/lib/wine/wineserver64 -k");
  (void)std::system(command.c_str());
  std::string said = read_file(log).value();
  EXPECT_EQ(said.substr(0, 2), "ok") << said;
#else
  FAIL() << "MinGW or Wine was not found; run scripts/install and configure again";
#endif
}

// Each page's hash in the code directory of an ad-hoc signature (Apple's cs_blobs.h).
void expect_signed(const std::string& file) {
  auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(file.at(at + i));
    return value;
  };
  const size_t signature = find_macho_parts(file).signature, directory = signature + number(signature + 16);
  ASSERT_EQ(number(signature), 0xfade0cc0u);
  ASSERT_EQ(number(directory), 0xfade0c02u);
  constexpr uint32_t kAdhoc = 2;
  EXPECT_TRUE(number(directory + 12) & kAdhoc);
  const size_t hashes = directory + number(directory + 16), pages = number(directory + 28),
               limit = number(directory + 32), page = 1u << file.at(directory + 39);
  EXPECT_EQ(limit, signature);
  EXPECT_EQ(pages, (limit + page - 1) / page);
  for (size_t i = 0; i < pages; ++i) {
    std::string bytes = file.substr(i * page, std::min(page, limit - i * page));
    auto hash = llvm::SHA256::hash(
        llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
    EXPECT_EQ(std::memcmp(file.data() + hashes + i * hash.size(), hash.data(), hash.size()), 0)
        << "page " << i;
  }
}

TEST(LinkMacho, DylibsExportOneSymbolAndAreSigned) {
  for (std::string host : {"arm64-apple-darwin", "x86_64-apple-darwin", "arm64-apple-ios",
                           "arm64-apple-ios18.0-macabi", "arm64-apple-ios-simulator"}) {
    LinkInput input = input_for(host);
    std::string library = link_or_fail(input);
    auto dylib = read_as<llvm::object::MachOObjectFile>(library);
    ASSERT_TRUE(dylib) << host;
    Names exports;
    llvm::Error error = llvm::Error::success();
    for (const auto& entry : dylib->exports(error)) exports.push_back(entry.name().str());
    EXPECT_FALSE(static_cast<bool>(error)) << host;
    EXPECT_EQ(exports, Names{std::string("_") + kLibrarySymbol}) << host;
    for (const auto& symbol : dylib->symbols())
      EXPECT_FALSE(symbol.getFlags().get() & llvm::object::SymbolRef::SF_Undefined) << host;
    llvm::StringRef needed;
    EXPECT_FALSE(dylib->getLibraryShortNameByIndex(0, needed));
    EXPECT_EQ(needed, "libSystem") << host;
    expect_signed(library);
    expect_manifest(library, "Mach-O");
    EXPECT_EQ(link_or_fail(input), library) << "equal inputs, other bytes";
  }
}

TEST(LinkMacho, ReaderSeesDamageAnywhereBeforeTheSignature) {
  const std::string library = link_or_fail(input_for("x86_64-apple-darwin"));
  const size_t end = find_macho_parts(library).signature;
  for (size_t at : {size_t{16}, size_t{20}, end / 2, end - 1}) {
    std::string damaged = library;
    damaged[at] ^= 1;
    EXPECT_FALSE(check_library_bytes(damaged, "a.dylib").is_ok()) << at;
  }
  for (size_t length : {size_t{40}, size_t{1000}, library.size() / 2})
    EXPECT_FALSE(check_library_bytes(library.substr(0, length), "a.dylib").is_ok()) << length;
}

// Maps a dylib's segments and moves its pointers, which is all that a library without imports needs.
class MachoImage {
 public:
  explicit MachoImage(const std::string& file) {
    auto dylib = read_as<llvm::object::MachOObjectFile>(file);
    for (const auto& command : dylib->load_commands())
      if (command.C.cmd == llvm::MachO::LC_SEGMENT_64) {
        auto segment = dylib->getSegment64LoadCommand(command);
        size_ = std::max<size_t>(size_, segment.vmaddr + segment.vmsize);
      }
    base_ = static_cast<char*>(
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (const auto& command : dylib->load_commands())
      if (command.C.cmd == llvm::MachO::LC_SEGMENT_64) {
        auto segment = dylib->getSegment64LoadCommand(command);
        std::memcpy(base_ + segment.vmaddr, file.data() + segment.fileoff, segment.filesize);
      }
    llvm::Error error = llvm::Error::success();
    for (const auto& pointer : dylib->rebaseTable(error)) {
      uint64_t value;
      std::memcpy(&value, base_ + pointer.address(), 8);
      value += reinterpret_cast<uint64_t>(base_);
      std::memcpy(base_ + pointer.address(), &value, 8);
    }
    EXPECT_FALSE(static_cast<bool>(error));
    for (const auto& entry : dylib->exports(error)) library_ = base_ + entry.address();
    ::mprotect(base_, size_, PROT_READ | PROT_EXEC);
  }
  ~MachoImage() { ::munmap(base_, size_); }
  MachoImage(const MachoImage&) = delete;
  MachoImage& operator=(const MachoImage&) = delete;
  const MlcModelLibrary& library() const { return *reinterpret_cast<const MlcModelLibrary*>(library_); }

 private:
  char* base_ = nullptr;
  char* library_ = nullptr;
  size_t size_ = 0;
};

TEST(LinkMacho, CodeRunsWhereTheMachineIsOfItsKind) {
  LinkInput input = input_for(host_architecture() == "x86_64" ? "x86_64-apple-darwin" : "arm64-apple-darwin");
  MachoImage image(link_or_fail(input));
  const MlcModelLibrary& library = image.library();
  ASSERT_EQ(std::string_view(library.magic, 8), std::string_view(kLibraryMagic, 8));
  EXPECT_EQ(std::string_view(library.manifest, library.manifest_bytes), input.manifest);
  expect_kernels_compute(library, input);
}

TEST(LinkAndroid, PagesAre16KiBEverywhere) {
  for (std::string host : {"aarch64-linux-android", "x86_64-linux-android"}) {
    std::string library = link_or_fail(input_for(host));
    EXPECT_EQ(elf_facts(library).imports, Names{});
    auto header = read_at<Elf64_Ehdr>(library, 0);
    for (int i = 0; i < header.e_phnum; ++i) {
      auto segment = read_at<Elf64_Phdr>(library, header.e_phoff + i * sizeof(Elf64_Phdr));
      if (segment.p_type == PT_LOAD) {
        EXPECT_EQ(segment.p_align, 16384u) << host;
      }
    }
    expect_manifest(library, "ELF");
  }
}

// The custom section of that name, wherever it stands.
std::string custom_section(const llvm::object::WasmObjectFile& module, llvm::StringRef name) {
  for (const llvm::object::SectionRef& section : module.sections())
    if (module.getWasmSection(section).Name == name)
      return llvm::toStringRef(module.getWasmSection(section).Content).str();
  return "";
}

LinkInput wasm_input() { return make_input(wasm_targets()); }

TEST(LinkWasm, SideModuleExportsTheLibraryAndImportsItsPlacesAlone) {
  LinkInput input = wasm_input();
  std::string library = link_or_fail(input);
  auto module = read_as<llvm::object::WasmObjectFile>(library);
  ASSERT_TRUE(module);
  Names imports, exports;
  for (const auto& import : module->imports()) imports.push_back((import.Module + "." + import.Field).str());
  for (const auto& entry : module->exports()) exports.push_back(entry.Name.str());
  for (const std::string& name : imports)
    EXPECT_TRUE(name == "env.memory" || name == "env.__memory_base" || name == "env.__table_base" ||
                name == "env.__indirect_function_table" || name == "env.__stack_pointer")
        << name;
  EXPECT_NE(std::find(exports.begin(), exports.end(), kLibrarySymbol), exports.end());
  for (const std::string& name : exports)
    EXPECT_TRUE(name == kLibrarySymbol || name.starts_with("__wasm_")) << name;
  EXPECT_TRUE(module->dylinkInfo().Needed.empty());
  EXPECT_GT(module->dylinkInfo().MemorySize, 0u);
  std::string section = custom_section(*module, std::string(kWasmSection));
  EXPECT_TRUE(section.starts_with(input.manifest)) << section;
  EXPECT_EQ(section.size(), input.manifest.size() + sizeof(LibraryTrailer));
  expect_manifest(library, "wasm");
  EXPECT_EQ(link_or_fail(input), library) << "equal inputs, other bytes";
}

TEST(LinkWasm, KernelsRunInNode) {
  std::vector<KernelCall> calls;
  for (uint64_t kernel : {0, 1})
    calls.push_back(
        {.kernel = kernel, .tiles = 1, .dims = {1}, .buffers = {{0, 0, 0x20, 0x41}, {0, 0, 0, 0}}});  // 10.0f
  run_emulated(link_or_fail(wasm_input()), calls);
  float y[2];
  for (int i : {0, 1}) std::memcpy(&y[i], calls[i].buffers[1].data(), 4);
  EXPECT_EQ(y[0], 8.0f);
  EXPECT_EQ(y[1], 20.5f);
}

// What a WebGPU variant brings: data and no kernel.
TEST(LinkWasm, GpuVariantsLieBesideTheCpus) {
  LinkInput input = wasm_input();
  input.variants.insert(input.variants.begin(), {.header = R"({"kind": "webgpu"})",
                                                 .plan = "p",
                                                 .objects = {},
                                                 .kernel_symbols = {},
                                                 .kernel_blobs = {std::string(64, 'k')}});
  std::string library = link_or_fail(input);
  EXPECT_TRUE(read_as<llvm::object::WasmObjectFile>(library));
  EXPECT_NE(library.find(std::string(64, 'k')), std::string::npos);
  expect_manifest(library, "wasm");
}

TEST(LinkWasm, ReaderSeesDamageAnywhere) {
  const std::string library = link_or_fail(wasm_input());
  const size_t section = library.rfind(kWasmSection);
  for (size_t at : {size_t{8}, library.size() / 2, section - 3, section + 2, library.size() - 60,
                    library.size() - 30, library.size() - 1}) {
    std::string damaged = library;
    damaged[at] ^= 1;
    Result<Json> read = check_library_bytes(damaged, "a.wasm");
    ASSERT_FALSE(read.is_ok()) << at;
    EXPECT_TRUE(read.status().message().starts_with("a.wasm: ")) << read.status().message();
  }
  for (size_t length : {size_t{4}, size_t{40}, section, library.size() - 1})
    EXPECT_FALSE(check_library_bytes(library.substr(0, length), "a.wasm").is_ok()) << length;
}

TEST(LinkAr, ArchivesHaveATableOfSymbols) {
  for (std::string host : {"x86_64-pc-windows-msvc", "arm64-apple-darwin", "aarch64-linux-android"}) {
    LinkInput input = input_for(host);
    input.symbol_prefix = "toy_";
    std::string bytes = link_ar(input).value();
    auto archive = llvm::object::Archive::create(llvm::MemoryBufferRef(bytes, "library.lib"));
    ASSERT_TRUE(static_cast<bool>(archive)) << llvm::toString(archive.takeError());
    Names symbols;
    for (const auto& symbol : (*archive)->symbols()) symbols.push_back(symbol.getName().str());
    std::string wanted = str(host.find("apple") != std::string::npos ? "_" : "", "toy_", kLibrarySymbol);
    EXPECT_NE(std::find(symbols.begin(), symbols.end(), wanted), symbols.end()) << host;
    expect_manifest(bytes, "ar");
    expect_manifest(link_tar(input).value(), "tar");
  }
}

TEST(Hosts, TriplesAreReadAsPeopleWriteThem) {
  EXPECT_EQ(parse_host("arm64-apple-darwin")->suffix(), std::string(".dylib"));
  EXPECT_EQ(parse_host("amd64-pc-windows-msvc")->suffix(), std::string(".dll"));
  for (const char* web : {"wasm32-unknown-unknown-wasm", "wasm32-wasi", "wasm32-unknown-emscripten"})
    EXPECT_EQ(parse_host(web)->suffix(), std::string(".wasm")) << web;
  EXPECT_EQ(parse_host("aarch64-linux-android28")->system, System::kAndroid);
  EXPECT_EQ(parse_host("arm64-apple-ios15.0.0-simulator")->system, System::kIosSimulator);
  for (const std::string& triple : host_triples()) {
    Result<Host> host = parse_host(triple);
    ASSERT_TRUE(host.is_ok()) << triple;
    EXPECT_EQ(parse_host(host->triple)->triple, host->triple) << triple;
  }
  for (const char* unknown :
       {"", "x86_64", "linux", "vax-dec-vms", "x86_64-unknown-plan9", "i686-pc-windows-msvc"})
    EXPECT_FALSE(parse_host(unknown).is_ok()) << unknown;
  EXPECT_NE(
      parse_host("x86_64-pc-windowz-msvc").status().message().find("did you mean 'x86_64-pc-windows-msvc'"),
      std::string::npos);
}

}  // namespace
}  // namespace mlc::link
