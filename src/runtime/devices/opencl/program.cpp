// Compiles OpenCL programs and keeps their binaries.
#include "runtime/devices/opencl/program.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"

namespace mlc::runtime::opencl {
namespace {

// No option may change results: nothing is "fast" or "unsafe".
std::string options_for(const Found& device) {
  return device.exact_division ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt" : "-cl-std=CL1.2";
}

std::string build_log(const Api& api, cl_program program, cl_device_id device) {
  size_t size = 0;
  api.clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, nullptr, &size);
  std::string log(size, '\0');
  if (size) api.clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, log.data(), nullptr);
  return log.c_str();
}

// The first line that says what is wrong, or the first that is not empty.
std::string first_line(const std::string& log) {
  std::string first;
  for (const std::string& line : split(log, '\n')) {
    std::string text(trim(line));
    if (text.find("error") != std::string::npos) return text;
    if (first.empty()) first = text;
  }
  return first.empty() ? "it gave no reason" : first;
}

// The built program, or why the driver refuses it.
Result<cl_program> compile(const Api& api, cl_context context, const Found& device,
                           const std::string& source) {
  const char* text = source.data();
  size_t length = source.size();
  cl_int code = CL_SUCCESS;
  cl_program program = api.clCreateProgramWithSource(context, 1, &text, &length, &code);
  if (!program) return Status::error(error_name(code));
  code = api.clBuildProgram(program, 1, &device.device, options_for(device).c_str(), nullptr, nullptr);
  if (code == CL_SUCCESS) return program;
  Status failed = Status::error(first_line(build_log(api, program, device.device)));
  api.clReleaseProgram(program);
  return failed;
}

// The kernel that does not compile alone, in a sentence.
Status refused(const Api& api, cl_context context, const Found& device,
               const std::vector<GpuKernelView>& kernels, const std::string& reason) {
  std::string where = str("opencl device: ", device.name, " (driver ", device.driver, ") refuses ");
  const std::string advice = "; update the driver, or use --device cpu";
  for (const GpuKernelView& k : kernels) {
    Result<cl_program> alone = compile(api, context, device, std::string(k.code));
    if (!alone.is_ok())
      return Status::error(str(where, "kernel ", k.name, ": ", alone.status().message(), advice));
    api.clReleaseProgram(*alone);
  }
  return Status::error(str(where, "the kernels of this library together: ", reason, advice));
}

// A cache file: the binary, then its checksum64.
constexpr size_t kChecksumBytes = 8;

std::string cache_path(const Found& device, const std::string& source) {
  std::string key = str(device.name, "|", device.vendor, "|", device.version, "|", device.driver, "|",
                        options_for(device), "|", source);
  char name[32];
  std::snprintf(name, sizeof name, "opencl-%016" PRIx64, checksum64(key));
  return path_join(path_join(env::home(), "kernel_cache"), name);
}

cl_program load_cached(const Api& api, cl_context context, const Found& device, const std::string& path) {
  auto file = read_file(path);
  if (!file.is_ok() || file->size() <= kChecksumBytes) return nullptr;
  std::string_view bytes = *file;
  std::string_view binary = bytes.substr(0, bytes.size() - kChecksumBytes);
  uint64_t stored = 0;
  std::memcpy(&stored, bytes.data() + binary.size(), kChecksumBytes);
  if (stored != checksum64(binary)) return nullptr;
  auto* data = reinterpret_cast<const unsigned char*>(binary.data());
  size_t size = binary.size();
  cl_int status = CL_SUCCESS, code = CL_SUCCESS;
  cl_program program =
      api.clCreateProgramWithBinary(context, 1, &device.device, &size, &data, &status, &code);
  if (!program) return nullptr;
  if (code == CL_SUCCESS && status == CL_SUCCESS &&
      api.clBuildProgram(program, 1, &device.device, options_for(device).c_str(), nullptr, nullptr) ==
          CL_SUCCESS)
    return program;
  api.clReleaseProgram(program);
  return nullptr;
}

void store(const Api& api, cl_program program, const std::string& path) {
  if (!make_directories(path_join(env::home(), "kernel_cache")).is_ok()) return;
  size_t size = 0;
  if (api.clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr) != CL_SUCCESS ||
      size == 0)
    return;
  std::string binary(size, '\0');
  auto* data = reinterpret_cast<unsigned char*>(binary.data());
  if (api.clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) != CL_SUCCESS) return;
  uint64_t checksum = checksum64(binary);
  binary.append(reinterpret_cast<const char*>(&checksum), kChecksumBytes);
  Status written = write_file(path, binary);
  (void)written;  // only slower the next time
}

}  // namespace

Result<Program> build_program(const Api& api, cl_context context, const Found& device,
                              const MlcLibraryVariant& variant, void (*notice)(const std::string& sentence)) {
  Program out;
  std::string source;
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], GpuLanguage::kOpenClC));
    source.append(view.code).append("\n");
    out.kernels.push_back(view);
  }
  std::string path = device.keeps_programs ? "" : cache_path(device, source);
  if (!path.empty()) out.program = load_cached(api, context, device, path);
  out.from_cache = out.program != nullptr;
  if (out.from_cache || out.kernels.empty()) return out;
  if (notice)
    notice(str("opencl: ", device.name, " compiles ", out.kernels.size(), " kernels ",
               path.empty() ? "that its own cache does not have" : str("(kept in ", path, ")")));
  Result<cl_program> compiled = compile(api, context, device, source);
  if (!compiled.is_ok()) return refused(api, context, device, out.kernels, compiled.status().message());
  out.program = *compiled;
  if (!path.empty()) store(api, out.program, path);
  return out;
}

}  // namespace mlc::runtime::opencl
