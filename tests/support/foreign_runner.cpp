// Runs kernel calls of a model library inside an emulator: foreign_runner LIBRARY CALLS RESULT. Built for the
// foreign architecture. CALLS is a list of KernelCall in the format of foreign_kernels.h; RESULT receives all
// buffers in order.
#include <dlfcn.h>

#include <cstdio>

#include "formats/library.h"
#include "support/kernel_call.h"

namespace {

int64_t read_number(std::FILE* file) {
  int64_t value = 0;
  if (std::fread(&value, 8, 1, file) != 1) std::abort();
  return value;
}

mlc::KernelCall read_call(std::FILE* file) {
  mlc::KernelCall call;
  call.kernel = static_cast<uint64_t>(read_number(file));
  call.tiles = read_number(file);
  call.piece = read_number(file);
  call.scratch_bytes = read_number(file);
  call.dims.resize(read_number(file));
  for (int64_t& dim : call.dims) dim = read_number(file);
  call.buffers.resize(read_number(file));
  for (auto& buffer : call.buffers) {
    buffer.resize(read_number(file));
    if (std::fread(buffer.data(), 1, buffer.size(), file) != buffer.size()) std::abort();
  }
  return call;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  void* handle = dlopen(argv[1], RTLD_NOW);
  if (!handle) return std::fprintf(stderr, "%s\n", dlerror()), 3;
  const auto* library = static_cast<const mlc::MlcModelLibrary*>(dlsym(handle, mlc::kLibrarySymbol));
  if (!library || library->abi_version != mlc::kLibraryAbiVersion) return 4;
  std::FILE* in = std::fopen(argv[2], "rb");
  std::FILE* out = std::fopen(argv[3], "wb");
  if (!in || !out) return 5;
  for (int64_t calls = read_number(in); calls > 0; --calls) {
    mlc::KernelCall call = read_call(in);
    if (call.kernel >= library->variants[0].kernel_count) return 6;
    mlc::run_call(
        reinterpret_cast<mlc::KernelEntry>(const_cast<void*>(library->variants[0].kernels[call.kernel])),
        call);
    for (const auto& buffer : call.buffers) std::fwrite(buffer.data(), 1, buffer.size(), out);
  }
  return std::fclose(out) == 0 ? 0 : 7;
}
