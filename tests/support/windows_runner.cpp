// On Windows: loads a DLL and calls its first variant's kernels, and proves what base/platform says it does
// there. windows_runner LIBRARY FOLDER; prints "ok" or what is wrong.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "base/threads.h"
#include "formats/library.h"

namespace {

using namespace mlc;

[[noreturn]] void fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::exit(1);
}

void expect(bool right, const std::string& what) {
  if (!right) fail(what);
}

std::string value_of(Result<std::string> text) {
  if (!text.is_ok()) fail(text.status().message());
  return *text;
}

void check_files(const std::string& folder) {
  const std::string path = path_join(folder, "caf\xc3\xa9.txt"), text(100'000, 'x');
  for (int i : {1, 2}) {  // the second time over a file that is there
    Status written = write_file(path, text + std::to_string(i));
    expect(written.is_ok(), written.message());
    expect(value_of(read_file(path)) == text + std::to_string(i), "another text came back");
  }
  auto file = AtomicFile::create(path);
  expect(file.is_ok() && (*file)->write(std::as_bytes(std::span("abcdef", 6))).is_ok() &&
             (*file)->write_at(2, std::as_bytes(std::span("XY", 2))).is_ok() && (*file)->commit().is_ok(),
         "pieces cannot be written");
  expect(value_of(read_file(path)) == "abXYef", "pieces went to other places");
  expect(!read_file(folder).is_ok() && !read_file(path_join(folder, "none")).is_ok(),
         "reads what is no file");
  expect(is_directory(folder) && !is_directory(path), "folders and files are mistaken for each other");
  expect(make_directories(path_join(folder, "a/b")).is_ok() && is_directory(folder + "/a/b"), "no folders");
  expect(platform::remove_file(path.c_str()) && !file_exists(path), "a file cannot be removed");
  auto temporary = TempFolder::create();
  expect(temporary.is_ok() && is_directory(temporary->path()), "no temporary folder");
}

void check_process() {
  std::vector<int> seen(100);
  parallel_for(4, 100, [&](int64_t i) { seen[static_cast<size_t>(i)] += 1; });
  expect(seen == std::vector<int>(100, 1), "threads left work out");
  expect(platform::usable_cores() > 0 && platform::physical_memory() > (int64_t{64} << 20), "no machine");
  auto* pages = static_cast<char*>(platform::allocate_pages(1 << 20));
  expect(pages && pages[0] == 0 && pages[(1 << 20) - 1] == 0, "no zeroed memory");
  platform::release_pages(pages, 1 << 20);
  expect(platform::ask_apart([] { return std::string("yes"); }, 5).text == "yes", "no answer");
  std::string error;
  expect(!platform::open_library("none.dll", error) && !error.empty(), "loads what is not there");
  expect(platform::local_time(1'000'000'000).tm_year == 101, "another year");
}

// y = x - 2 and y = x * 2 + 0.5, as the test links them.
void check_library(const std::string& path) {
  std::string error;
  void* handle = platform::open_library(platform::absolute_path(path), error);
  expect(handle != nullptr, error);
  const auto* library = static_cast<const MlcModelLibrary*>(platform::find_symbol(handle, kLibrarySymbol));
  expect(library && std::memcmp(library->magic, kLibraryMagic, 8) == 0, "no model library");
  const MlcLibraryVariant& variant = library->variants[library->variant_count - 1];  // the one for all CPUs
  expect(variant.kernel_count == 2, "other kernels");
  float x = 10, y = 0;
  void* buffers[] = {&x, &y};
  int64_t n = 1;
  const float factor = 1.0f + static_cast<float>(library->variant_count);
  for (int k : {0, 1}) {
    reinterpret_cast<CpuKernel>(const_cast<void*>(variant.kernels[k]))(buffers, &n, 0, 1, nullptr);
    expect(y == (k == 0 ? 10 - factor : 10 * factor + 0.5f), str("kernel ", k, " computed ", y));
  }
  platform::close_library(handle);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  check_files(argv[2]);
  check_process();
  check_library(argv[1]);
  std::printf("ok\n");
}
