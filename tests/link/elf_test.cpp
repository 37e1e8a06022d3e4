// Model libraries as files: what they export and need, what the struct holds, and that their kernels run.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <thread>

#include "link/elf_facts.h"
#include "link/two_kernels.h"
#include "support/temp_folder.h"

namespace mlc::link {
namespace {

using Names = std::vector<std::string>;

TEST(LinkElf, ExportsOneSymbolAndNeedsNothing) {
  for (const auto& targets : {x86_64_targets(), aarch64_targets()}) {
    ElfFacts facts = elf_facts(link_or_fail(make_input(targets)));
    EXPECT_EQ(facts.machine, targets[0].triple[0] == 'x' ? EM_X86_64 : EM_AARCH64);
    EXPECT_EQ(facts.exports, Names{kLibrarySymbol});
    EXPECT_EQ(facts.imports, Names{});
    EXPECT_EQ(facts.needed, Names{});
    EXPECT_EQ(facts.soname, "model.so");
    EXPECT_TRUE(facts.binds_now);
    EXPECT_TRUE(facts.has_relro);
    EXPECT_FALSE(facts.executable_stack);
  }
}

TEST(LinkElf, TrailerDescribesTheLibrary) {
  std::string library = link_or_fail(make_input(x86_64_targets()));
  Result<Json> manifest = check_library_bytes(library, "model.so");
  ASSERT_TRUE(manifest.is_ok()) << manifest.status().message();
  EXPECT_EQ((*manifest)["model_type"], "toy");
}

TEST(LinkElf, LoadedStructHoldsEveryVariant) {
  std::vector<Target> targets = host_architecture() == "x86_64" ? x86_64_targets() : aarch64_targets();
  LinkInput input = make_input(targets);
  LoadedLibrary library(link_or_fail(input));
  EXPECT_EQ(std::string(library->magic, 8), std::string(kLibraryMagic, 8));
  EXPECT_EQ(library->abi_version, kLibraryAbiVersion);
  EXPECT_EQ(std::string(library->manifest, library->manifest_bytes), input.manifest);
  ASSERT_EQ(library->variant_count, targets.size());
  EXPECT_EQ(library->reserved, 0u);
  expect_kernels_compute(*library, input);
}

#ifndef __aarch64__  // there the test above runs such a library without an emulator
TEST(LinkElf, AarchLibraryRunsInTheEmulator) {
  std::vector<KernelCall> calls;
  for (uint64_t kernel : {0, 1})
    calls.push_back(
        {.kernel = kernel, .tiles = 1, .dims = {1}, .buffers = {{0, 0, 0x20, 0x41}, {0, 0, 0, 0}}});  // 10.0f
  run_emulated(link_or_fail(make_input(aarch64_targets())), calls);
  float y[2];
  for (int i : {0, 1}) std::memcpy(&y[i], calls[i].buffers[1].data(), 4);
  EXPECT_EQ(y[0], 8.0f);
  EXPECT_EQ(y[1], 20.5f);
}
#endif

TEST(LinkElf, BytesAreTheSameEveryTimeAndFromManyThreads) {
  LinkInput input = make_input(x86_64_targets());
  std::vector<std::string> libraries(4);
  std::vector<std::thread> threads;
  for (std::string& library : libraries) threads.emplace_back([&] { library = link_or_fail(input); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& library : libraries) EXPECT_EQ(library, libraries[0]);
}

TEST(LinkElf, UnusedKernelsAreDropped) {
  LinkInput input = make_input({x86_64_targets()[0]});
  size_t both = link_or_fail(input).size();
  std::string name = input.variants[0].kernel_symbols[1];
  EXPECT_NE(link_or_fail(input).find(name), std::string::npos);
  input.variants[0].kernel_symbols.pop_back();
  std::string one = link_or_fail(input);
  EXPECT_EQ(one.find(name), std::string::npos);
  EXPECT_LE(one.size(), both);
}

TEST(LinkElf, LibraryWithoutMachineCodeLinks) {
  LinkInput input{.triple = "x86_64-unknown-linux-gnu", .soname = "gpu.so", .manifest = "{}"};
  input.variants.push_back({.header = "{}", .plan = "p"});
  std::string library = link_or_fail(input);
  EXPECT_EQ(elf_facts(library).exports, Names{kLibrarySymbol});
}

TEST(LinkElf, MissingKernelIsReportedOnce) {
  LinkInput input = make_input({x86_64_targets()[0]});
  input.variants[0].kernel_symbols.push_back("nowhere");
  Result<std::string> library = link_library(input);
  ASSERT_FALSE(library.is_ok());
  EXPECT_NE(library.status().message().find("nowhere"), std::string::npos) << library.status().message();
  EXPECT_EQ(library.status().message().find('\n'), std::string::npos);
  EXPECT_FALSE(link_or_fail(make_input({x86_64_targets()[0]})).empty());  // and the next link works
}

TEST(LinkElf, UnknownPlatformSaysWhatIsPossible) {
  Result<std::string> library =
      link_library({.triple = "x86_64-pc-plan9", .soname = "a.so", .manifest = "{}"});
  ASSERT_FALSE(library.is_ok());
  EXPECT_EQ(library.status().message().rfind("--host: ", 0), 0u) << library.status().message();
}

// The members of a tar archive, by name.
std::map<std::string, std::string> members(const std::string& archive) {
  std::map<std::string, std::string> found;
  for (size_t at = 0; at + 512 <= archive.size() && archive[at] != 0;) {
    size_t size = std::stoul(archive.substr(at + 124, 11), nullptr, 8);
    found[archive.c_str() + at] = archive.substr(at + 512, size);
    at += 512 + (size + 511) / 512 * 512;
  }
  return found;
}

TEST(LinkTar, ObjectsLinkIntoAProgramUnderTheirPrefix) {
  LinkInput input = make_input(runnable_targets());
  input.symbol_prefix = "toy_q4f16_1_";
  auto parts = members(link_tar(input).value());
  EXPECT_EQ(parts["manifest.json"], input.manifest);
  std::string symbol = input.symbol_prefix + kLibrarySymbol;
  testing::TempFolder folder;
  std::string command = "c++ -shared -nostdlib -o " + folder.file("program.so");
  for (const auto& [name, bytes] : parts) {
    if (!name.ends_with(".o")) continue;
    command += " " + folder.write(name, bytes);
  }
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::string program = read_file(folder.file("program.so")).value();
  EXPECT_EQ(elf_facts(program).exports, Names{symbol});
  LoadedLibrary library(program, symbol);
  EXPECT_EQ(library->variant_count, input.variants.size());
  EXPECT_EQ(std::string_view(library->manifest, library->manifest_bytes), input.manifest);
}

TEST(LinkElf, NothingIsLeftInTheTemporaryDirectory) {
  testing::TempFolder folder;
  ASSERT_EQ(setenv("MLC_TEMP_DIR", folder.path().c_str(), 1), 0);
  LinkInput input = make_input({x86_64_targets()[0]});
  link_or_fail(input);
  input.variants[0].kernel_symbols.push_back("nowhere");
  EXPECT_FALSE(link_library(input).is_ok());
  unsetenv("MLC_TEMP_DIR");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace mlc::link
