// The model library: the C struct behind its one exported symbol, and the trailer that lets a reader check
// and describe a library file before any of it is loaded. Versioned: fields are never reordered or removed; a
// reader refuses an ABI version it does not know in one sentence.
//
// File (ELF, PE, wasm; Mach-O and archives hold the same in a section and members, library_sections.h):
//   1. the platform's shared object (ELF, Mach-O, PE), exporting `mlc_model_library`
//   2. the manifest again, JSON text, so that it can be read without loading code
//   3. LibraryTrailer, the last 48 bytes
// Loading: read the trailer, check sizes and checksum, read the manifest, then load the object and compare
// its struct.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/status.h"

namespace mlc {

inline constexpr uint32_t kLibraryAbiVersion = 1;
inline constexpr char kLibraryMagic[8] = {'M', 'L', 'C', 'M', 'O', 'D', 'E', 'L'};
inline constexpr char kTrailerMagic[8] = {'M', 'L', 'C', 'T', 'R', 'A', 'I', 'L'};
inline constexpr const char* kLibrarySymbol = "mlc_model_library";

// A CPU kernel (kernel/ir.h, Function). Buffers and dims in the kernel's order; runs tiles [tile_begin,
// tile_end); `scratch` is this thread's own memory of the call's scratch_bytes, aligned to 64.
using CpuKernel = void (*)(void* const* buffers, const int64_t* dims, int64_t tile_begin, int64_t tile_end,
                           void* scratch);

extern "C" {

// One set of kernels with its plan. 48 bytes on 64-bit machines.
struct MlcLibraryVariant {
  const char* header;  // JSON: {"name", "kind", "requires": [...]}; of a second kind also "manifest"
  uint64_t header_bytes;
  const char* plan;  // formats/plan.h
  uint64_t plan_bytes;
  const void* const* kernels;  // in plan order; CPU: CpuKernel pointers, GPU: MlcGpuKernel blobs
  uint64_t kernel_count;
};

// What `mlc_model_library` points to. 48 bytes on 64-bit machines.
struct MlcModelLibrary {
  char magic[8];         // kLibraryMagic
  uint32_t abi_version;  // kLibraryAbiVersion
  uint32_t variant_count;
  const char* manifest;  // JSON, mlc-facts 7.2 and more
  uint64_t manifest_bytes;
  const MlcLibraryVariant* variants;
  uint64_t reserved;  // 0
};

// The last bytes of the file, little-endian.
struct LibraryTrailer {
  uint64_t object_bytes;    // length of part 1
  uint64_t manifest_bytes;  // length of part 2
  uint64_t checksum;        // checksum64 of parts 1 and 2
  uint32_t abi_version;
  uint32_t reserved;   // 0
  uint64_t reserved2;  // 0
  char magic[8];       // kTrailerMagic
};

// A GPU kernel: what each entry of a GPU variant's `kernels` points to, aligned to 8. Behind this header
// follow the name, name_bytes and one zero byte, padded with zeros to a multiple of 8; then the code,
// code_bytes and one zero byte.
//
// Grid: PlanCall::tiles groups of group_size threads, in one dimension.
// Arguments by language, i counting the kernel's buffers and dims in the order of Function (kernel/ir.h):
//   OpenCL C  entry point = name. Argument i = buffer i; then each dim as int; then for each buffer a long,
//   the byte
//             offset of the buffer in its memory object, a multiple of its element's size. Global size =
//             tiles * group_size.
//   SPIR-V    entry point = "main". Set 0, binding i = buffer i. Push constants: each dim as int, then the
//   number of groups
//             as int. The grid has rows of kGroupsPerRow (kernel/ir.h) groups: group (x, y) is number x + y *
//             kGroupsPerRow, and groups past the end do nothing. Specialization constant 0, a bool, may be
//             false when there is one row.
//   PTX       entry point = name, in a module of its own. Parameter i = address of buffer i, 8 bytes; then
//   each dim as int.
//             `tiles` groups in x.
//   AMDGPU    a linked code object of version 4 for one architecture, entry point = name. Arguments as in
//   PTX;
//             no hidden arguments. `tiles` groups in x.
//   MSL       function = name. Argument i = buffer i; the next one a constant array of the dims as int.
//             Threadgroup memory is declared inside; the grid has rows as in SPIR-V.
//   WGSL      function = name. Group 0, binding i = buffer i, storage: read-only where it is an input of i32
//   or one that
//             control flow rests on (the text says which), else writable, also inputs; the next binding a
//             uniform buffer of the dims as i32, where there are any. Rows as in SPIR-V.
// Buffers begin at multiples of 16 bytes. The variant's header names limits beside `requires`: {"limits":
// {"group_size", "shared_bytes"}}, the most that any of its kernels needs. Dims and tiles are below 2^31.
struct MlcGpuKernel {
  uint32_t language;      // GpuLanguage
  uint32_t group_size;    // threads of a group
  uint32_t shared_bytes;  // memory that a group's threads share
  uint32_t buffer_count;  // at most 32
  uint32_t dim_count;
  uint32_t written;  // bit i: buffer i is written
  uint32_t name_bytes;
  uint32_t reserved;  // 0
  uint64_t code_bytes;
};
}
inline constexpr int64_t kSpirvGroupsPerRow =
    32768;  // kernel::kGroupsPerRow for the runtime, which knows no kernel IR
enum class GpuLanguage : uint32_t { kOpenClC = 1, kSpirv = 2, kPtx = 3, kMetal = 4, kAmdgpu = 5, kWgsl = 6 };
static_assert(sizeof(MlcGpuKernel) == 40);
static_assert(sizeof(MlcLibraryVariant) == 48 && sizeof(MlcModelLibrary) == 48 &&
              sizeof(LibraryTrailer) == 48);

// The bytes of a blob; `header`'s name_bytes and code_bytes are set here.
std::string gpu_kernel_blob(MlcGpuKernel header, std::string_view name, std::string_view code);

// A blob as views into it.
struct GpuKernelView {
  MlcGpuKernel header;
  std::string_view name, code;  // both followed by a zero byte; code is aligned to 8
};
// Error when the kernel is not of `language` or a field is out of bounds. The blob is part of a library whose
// checksum was verified; its lengths are trusted.
Result<GpuKernelView> read_gpu_kernel(const void* blob, GpuLanguage language);

// FNV-1a over little-endian 64-bit words, the tail padded with zeros, the length mixed in last. Guards
// against damage, not against an attacker: a library is code and is trusted like a program.
uint64_t checksum64(std::string_view bytes);

// object + manifest + trailer.
std::string seal_library(std::string object, std::string_view manifest);

struct LibraryDescription {
  std::shared_ptr<const MappedFile> file;
  Json manifest;
};

// Reads a library file without loading its code. Errors: not a model library, truncated, damaged (checksum),
// other ABI version; each names the file and what to do.
Result<LibraryDescription> describe_library(const std::string& path);
// The same over bytes, for tests and fuzzing; returns the manifest.
Result<Json> check_library_bytes(std::string_view bytes, const std::string& what);

}  // namespace mlc
