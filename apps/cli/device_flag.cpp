// Resolves --device for the compiler.
#include "apps/cli/device_flag.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"
#include "lang/gpu_variant.h"
#include "runtime/devices/registry.h"

namespace mlc::cli {
namespace {

// MLC LLM's presets and kinds that this build does not compile for.
constexpr const char* kNotBuilt[] = {"android",
                                     "android:adreno",
                                     "android:adreno-so",
                                     "android:generic",
                                     "iphone",
                                     "iphone:generic",
                                     "macabi",
                                     "macabi:generic",
                                     "mali",
                                     "mali:generic",
                                     "metal",
                                     "metal:generic",
                                     "metal:x86-64",
                                     "rocm",
                                     "webgpu",
                                     "webgpu:generic",
                                     "windows:adreno_x86"};

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// The GPU name that `device` stands for: "opencl:generic" and "opencl:0" are "opencl".
std::string gpu_name(const std::string& device) {
  std::vector<std::string> parts = split(device, ':');
  bool plain = parts.size() == 2 && (parts[1] == "generic" || is_number(parts[1]));
  return plain ? parts[0] : device;
}

std::vector<std::string> built_gpu_names() {
  std::vector<std::string> names;
  for (const std::string& name : gpu_device_names())
    if (lang::has_gpu_language(split(name, '-')[0])) names.push_back(name);
  return names;
}

}  // namespace

Result<CompileTargets> compile_targets(const std::string& wanted, const std::string& host) {
  std::string device = wanted == "auto" ? runtime::choose_device() : wanted;
  std::string kind = split(device, ':')[0];
  if (kind == "cpu" || kind == "llvm") {
    ASSIGN_OR_RETURN(std::vector<Target> targets, targets_for_host(host));
    return CompileTargets{std::move(targets), "auto"};
  }
  std::string gpu = gpu_name(device);
  std::vector<std::string> built = built_gpu_names();
  if (std::find(built.begin(), built.end(), gpu) != built.end()) {
    ASSIGN_OR_RETURN(std::vector<Target> targets, targets_for_device(gpu));
    return CompileTargets{std::move(targets), host};
  }
  std::vector<std::string> names(std::begin(kNotBuilt), std::end(kNotBuilt));
  bool known = std::find(names.begin(), names.end(), device) != names.end() ||
               std::find(names.begin(), names.end(), gpu) != names.end();
  if (known) return Status::error(str("--device: ", device, " is not built yet; use --device cpu"));
  built.insert(built.begin(), {"auto", "cpu", "llvm"});
  names.insert(names.end(), built.begin(), built.end());
  return Status::error(str("--device: unknown device '", device, "', expected one of ", join(built, ", "),
                           did_you_mean(device, names)));
}

}  // namespace mlc::cli
