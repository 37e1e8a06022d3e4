// Asks the drivers for their devices.
#include "runtime/devices/opencl/found.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace mlc::runtime::opencl {
namespace {

std::string device_text(const Api& api, cl_device_id device, cl_device_info what) {
  size_t size = 0;
  if (api.clGetDeviceInfo(device, what, 0, nullptr, &size) != CL_SUCCESS || size == 0) return "";
  std::string text(size, '\0');
  api.clGetDeviceInfo(device, what, size, text.data(), nullptr);
  return text.c_str();  // up to the zero byte
}

template <typename T>
T device_number(const Api& api, cl_device_id device, cl_device_info what) {
  T value{};
  api.clGetDeviceInfo(device, what, sizeof value, &value, nullptr);
  return value;
}

struct Vendor {
  cl_uint id;        // PCI or Khronos number
  const char* word;  // in the device's or vendor's name, lower case
  const char* feature;
};
constexpr Vendor kVendors[] = {
    {0x10DE, "nvidia", "vendor_nvidia"},   {0x1002, "advanced micro", "vendor_amd"},
    {0x8086, "intel", "vendor_intel"},     {0x106B, "apple", "vendor_apple"},
    {0x5143, "qualcomm", "vendor_adreno"}, {0x13B5, "arm", "vendor_mali"},
};

// PoCL (its documentation, "Kernel compiler cache") keeps what it compiles for the group sizes that are run;
// for a binary it compiles every kernel once more for groups of any size: two thirds of the first load of a
// library.
bool keeps_programs(const Api& api, cl_platform_id platform) {
  char name[64] = "";
  api.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, nullptr);
  return std::string_view(name) == "Portable Computing Language";
}

Found describe(const Api& api, cl_platform_id platform, cl_device_id device) {
  Found f;
  f.platform = platform;
  f.device = device;
  f.type = device_number<cl_device_type>(api, device, CL_DEVICE_TYPE);
  f.name = std::string(trim(device_text(api, device, CL_DEVICE_NAME)));
  f.vendor = std::string(trim(device_text(api, device, CL_DEVICE_VENDOR)));
  f.version = device_text(api, device, CL_DEVICE_VERSION);
  f.driver = device_text(api, device, CL_DRIVER_VERSION);
  f.memory_bytes = static_cast<int64_t>(device_number<cl_ulong>(api, device, CL_DEVICE_GLOBAL_MEM_SIZE));
  f.max_buffer_bytes =
      static_cast<int64_t>(device_number<cl_ulong>(api, device, CL_DEVICE_MAX_MEM_ALLOC_SIZE));
  f.shared_bytes = static_cast<int64_t>(device_number<cl_ulong>(api, device, CL_DEVICE_LOCAL_MEM_SIZE));
  f.group_size = static_cast<int64_t>(device_number<size_t>(api, device, CL_DEVICE_MAX_WORK_GROUP_SIZE));
  f.keeps_programs = keeps_programs(api, platform);
  f.exact_division = (device_number<cl_device_fp_config>(api, device, CL_DEVICE_SINGLE_FP_CONFIG) &
                      CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  if (f.type & CL_DEVICE_TYPE_CPU) {
    f.features.insert("software");
    return f;  // a CPU's vendor says nothing of a GPU
  }
  std::string words = f.vendor + " " + f.name;
  std::transform(words.begin(), words.end(), words.begin(), [](unsigned char c) { return std::tolower(c); });
  cl_uint id = device_number<cl_uint>(api, device, CL_DEVICE_VENDOR_ID);
  for (const Vendor& v : kVendors)
    if ((id & 0xFFFF) == v.id || words.find(v.word) != std::string::npos) {
      f.features.insert(v.feature);
      break;
    }
  return f;
}

int rank(const Found& f) { return f.type & CL_DEVICE_TYPE_GPU ? 0 : f.type & CL_DEVICE_TYPE_CPU ? 2 : 1; }

}  // namespace

Result<std::vector<Found>> find_devices(const Api& api) {
  const Status none = Status::error(
      "--device opencl: the OpenCL loader found no device; install a driver (the GPU vendor's, or "
      "pocl-opencl-icd, which runs on "
      "the CPU), or use --device cpu");
  cl_uint count = 0;
  if (api.clGetPlatformIDs(0, nullptr, &count) != CL_SUCCESS || count == 0) return none;
  std::vector<cl_platform_id> platforms(count);
  api.clGetPlatformIDs(count, platforms.data(), nullptr);
  std::vector<Found> found;
  for (cl_platform_id platform : platforms) {
    cl_uint devices = 0;
    if (api.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &devices) != CL_SUCCESS || devices == 0)
      continue;
    std::vector<cl_device_id> ids(devices);
    api.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, devices, ids.data(), nullptr);
    for (cl_device_id id : ids)
      if (device_number<cl_bool>(api, id, CL_DEVICE_AVAILABLE) &&
          device_number<cl_bool>(api, id, CL_DEVICE_COMPILER_AVAILABLE))
        found.push_back(describe(api, platform, id));
  }
  if (found.empty()) return none;
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return rank(a) < rank(b); });
  return found;
}

}  // namespace mlc::runtime::opencl
