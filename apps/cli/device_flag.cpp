// Resolves --device and --host for the compiler.
#include "apps/cli/device_flag.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"
#include "base/target/wasm.h"
#include "lang/gpu_variant.h"
#include "runtime/devices/registry.h"

namespace mlc::cli {
namespace {

// MLC LLM's presets (mlc-facts 1.7): a device with a host and a suffix of its own.
struct Preset {
  const char* name;
  const char* device;  // as targets_for_device names it
  const char* host;    // "": what --host says
  const char* suffix;  // that --output must have; "": any
};
constexpr Preset kPresets[] = {
    // keep-sorted start
    {"android:adreno", "opencl-adreno", "aarch64-linux-android", ".tar"},
    {"android:adreno-so", "opencl-adreno", "aarch64-linux-android", ".so"},
    {"android:generic", "opencl", "aarch64-linux-android", ".tar"},
    {"iphone:generic", "metal", "arm64-apple-ios", ".tar"},
    {"macabi:generic", "metal", "arm64-apple-ios18.0-macabi", ".tar"},
    {"mali:generic", "opencl-mali", "aarch64-linux-gnu", ".so"},
    {"metal:x86-64", "metal", "x86_64-apple-darwin", ".dylib"},
    {"windows:adreno_x86", "opencl-adreno", "x86_64-pc-windows-msvc", ""},
    // keep-sorted end
};
constexpr const char* kGenericHints[] = {"android", "iphone", "macabi", "mali"};
constexpr const char *kWebCpu = "cpu-wasm", *kWebHost = "wasm32-unknown-unknown", *kWebSuffix = ".wasm";
constexpr const char* kKinds[] = {"cuda", "metal", "opencl", "rocm", "vulkan", "webgpu"};

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// The GPU name that `device` stands for: "opencl:generic" and "opencl:0" are "opencl", "rocm:gfx1100" is
// "rocm-gfx1100".
std::string gpu_name(const std::string& device) {
  const std::vector<std::string> parts = split(device, ':'), known = gpu_device_names();
  if (parts.size() != 2) return device;
  if (parts[1] == "generic" || is_number(parts[1])) return parts[0];
  const std::string joined = parts[0] + "-" + parts[1];
  return std::find(known.begin(), known.end(), joined) != known.end() ? joined : device;
}

bool is_built(const std::string& gpu) {
  const std::vector<std::string> known = gpu_device_names();
  return std::find(known.begin(), known.end(), gpu) != known.end() &&
         lang::has_gpu_language(split(gpu, '-')[0]);
}

// Every name that compile takes, or knows and refuses.
std::vector<std::string> device_names(bool built) {
  std::vector<std::string> names;
  if (built) names = {"auto", "cpu", kWebCpu, "llvm"};
  for (const std::string& name : gpu_device_names())
    if (is_built(name) == built) names.push_back(name);
  for (const Preset& p : kPresets)
    if (is_built(p.device) == built) names.push_back(gpu_name(p.name));
  if (!built)
    for (const char* kind : kKinds)
      if (!is_built(kind)) names.push_back(kind);
  return names;
}

Status refuse_device(const std::string& device) {
  const std::vector<std::string> built = device_names(true), missing = device_names(false);
  const std::string name = gpu_name(device);
  if (std::find(missing.begin(), missing.end(), name) != missing.end())
    return Status::error(
        str("--device: ", device, " is not built yet; use --device cpu or another of ", join(built, ", ")));
  std::vector<std::string> all = built;
  all.insert(all.end(), missing.begin(), missing.end());
  return Status::error(str("--device: unknown device '", device, "', expected one of ", join(built, ", "),
                           did_you_mean(device, all)));
}

// What --host means for a GPU's container, or a CPU's with the suffix of another system.
Result<Host> container_host(const std::string& host, const std::string& output) {
  if (host != "auto") return parse_host(host);
  const Host here = local_host();
  const bool foreign = !output.ends_with(here.suffix());
  if (foreign && output.ends_with(".dll")) return parse_host("x86_64-pc-windows-msvc");
  if (output.ends_with(kWebSuffix)) return parse_host(kWebHost);
  if (foreign && output.ends_with(".dylib")) return parse_host("arm64-apple-darwin");
  return here;
}

// Of a CPU: all levels of an architecture where the library is for another machine.
Result<CompileTargets> cpu_targets(const std::string& wanted, const std::string& output) {
  std::string host = wanted;
  if (wanted == "auto") {
    ASSIGN_OR_RETURN(Host container, container_host(wanted, output));
    if (container.system != local_host().system) host = container.triple;
  }
  ASSIGN_OR_RETURN(std::vector<Target> targets, targets_for_host(host));
  ASSIGN_OR_RETURN(Host container, parse_host(targets[0].triple));
  return CompileTargets{std::move(targets), container, "", ""};
}

// The CPU alone. Its file has no other suffix, whatever --host says.
Result<CompileTargets> web_cpu_targets(const std::string& host) {
  ASSIGN_OR_RETURN(Host web, parse_host(kWebHost));
  std::string note =
      host == "auto" ? "" : str("note: --host: not used, --device ", kWebCpu, " is for ", kWebHost);
  return CompileTargets{wasm_targets(), web, kWebSuffix, note};
}

// A browser has WebGPU or runs its CPU's kernels, from one file.
Status add_web_fallback(CompileTargets& chosen, const std::string& output) {
  const bool web = chosen.host.system == System::kWeb, named = output.ends_with(kWebSuffix);
  const std::string& kind = chosen.targets[0].kind;
  if ((web || named) && kind != "cpu" && kind != "webgpu")
    return Status::error(str(named ? "--output: '" + output + "'" : std::string("--host: WebAssembly"),
                             " takes kernels of webgpu or ", kWebCpu, ", --device says ", kind,
                             "; use --device ", "webgpu",
                             named ? ", or a name ending in .so" : ", or leave --host out"));
  if (named && !web)
    return Status::error(str("--output: '", output, "' does not fit --host, which means ", chosen.host.triple,
                             "; name a file ending in ", chosen.host.suffix(), ", or leave --host out"));
  if (web && kind == "webgpu")
    for (const Target& t : wasm_targets()) chosen.targets.push_back(t);
  return Status::ok();
}

Result<CompileTargets> resolve(const std::string& wanted, const std::string& host,
                               const std::string& output) {
  std::string device = wanted;
  if (wanted == "auto") device = output.ends_with(kWebSuffix) ? "webgpu" : runtime::choose_device();
  if (device == kWebCpu) return web_cpu_targets(host);
  std::string kind = split(device, ':')[0];
  if (kind == "cpu" || kind == "llvm") return cpu_targets(host, output);
  for (const char* hint : kGenericHints)
    if (device == hint) device += ":generic";
  for (const Preset& p : kPresets) {
    if (device != p.name || !is_built(p.device)) continue;
    ASSIGN_OR_RETURN(std::vector<Target> targets, targets_for_device(p.device));
    ASSIGN_OR_RETURN(Host own, parse_host(p.host));
    std::string note =
        host == "auto" ? "" : str("note: --host: not used, --device ", wanted, " is for ", p.host);
    return CompileTargets{std::move(targets), own, p.suffix, note};
  }
  std::string gpu = gpu_name(device);
  if (!is_built(gpu)) return refuse_device(wanted == "auto" ? device : wanted);
  ASSIGN_OR_RETURN(std::vector<Target> targets, targets_for_device(gpu));
  // Metal is Apple's alone.
  const bool apple = host == "auto" && targets[0].kind == "metal";
  ASSIGN_OR_RETURN(Host container, container_host(apple ? "arm64-apple-darwin" : host, output));
  return CompileTargets{std::move(targets), container, "", ""};
}

}  // namespace

Result<CompileTargets> compile_targets(const std::string& device, const std::string& host,
                                       const std::string& output) {
  ASSIGN_OR_RETURN(CompileTargets chosen, resolve(device, host, output));
  if (chosen.suffix.empty()) RETURN_IF_ERROR(add_web_fallback(chosen, output));
  return chosen;
}

}  // namespace mlc::cli
