// Detects the host CPU and chooses the variants for a --host value.
#include "base/target/target.h"

#include <algorithm>

#include "base/env.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/target/host.h"
#include "base/target/wasm.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mlc {
namespace {

#if defined(__x86_64__)
// Whether the CPU multiplies matrix tiles of bf16 and the system lets this process use their registers.
bool may_use_bf16_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;  // leaf 7, edx
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (kBf16 | kTiles)) != (kBf16 | kTiles)) return false;
  return platform::grants_cpu_feature("amx_bf16");
}
#endif

std::vector<std::string> detect() {
  std::vector<std::string> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
#define MLC_DETECT(name) \
  if (__builtin_cpu_supports(name)) found.push_back(name)
  MLC_DETECT("avx2");
  MLC_DETECT("fma");
  MLC_DETECT("avx512f");
  MLC_DETECT("avx512bw");
  MLC_DETECT("avx512dq");
  MLC_DETECT("avx512vl");
  MLC_DETECT("avx512cd");
  MLC_DETECT("avx512vnni");
  MLC_DETECT("avxvnni");
  MLC_DETECT("avx512bf16");
#undef MLC_DETECT
  if (__builtin_cpu_supports("f16c")) found.push_back("f16c");
  if (may_use_bf16_tiles()) found.push_back("amx_bf16");
#elif defined(__aarch64__)
  for (const char* feature : {"dotprod", "i8mm"})
    if (platform::grants_cpu_feature(feature)) found.push_back(feature);
#endif
  std::string allowed = env::cpu_features();
  if (!allowed.empty()) {
    std::vector<std::string> names = split(allowed, ',');
    std::erase_if(
        found, [&](const std::string& f) { return std::find(names.begin(), names.end(), f) == names.end(); });
  }
  return found;
}

}  // namespace

const std::vector<std::string>& host_cpu_features() {
  static const std::vector<std::string> features = detect();
  return features;
}

std::string missing_cpu_feature(const std::vector<std::string>& required) {
  const auto& have = host_cpu_features();
  for (const std::string& feature : required)
    if (std::find(have.begin(), have.end(), feature) == have.end()) return feature;
  return "";
}

std::string host_architecture() {
  if (platform::library_container() == "wasm") return "wasm32";
#if defined(__aarch64__)
  return "aarch64";
#else
  return "x86_64";
#endif
}

Result<std::vector<Target>> targets_for_host(const std::string& host) {
  std::vector<Target> native = host_architecture() == "x86_64" ? x86_64_targets() : aarch64_targets();
  if (host == "auto") {
    for (const Target& t : native)
      if (missing_cpu_feature(t.required).empty()) return std::vector<Target>{t};
    internal_error("the generic variant requires nothing");
  }
  if (auto triple = parse_host(host); triple.is_ok()) {
    std::vector<Target> targets = triple->architecture == "x86_64"   ? x86_64_targets()
                                  : triple->architecture == "wasm32" ? wasm_targets()
                                                                     : aarch64_targets();
    for (Target& t : targets) t.triple = triple->triple;
    return targets;
  }
  std::vector<std::string> names = host_triples();
  names.insert(names.begin(), "auto");
  for (auto& list : {x86_64_targets(), aarch64_targets(), wasm_targets()})
    for (const Target& t : list) {
      if (t.name == host) return std::vector<Target>{t};
      names.push_back(t.name);
    }
  return Status::error(str("--host: unknown host '", host, "', expected one of ", join(names, ", "),
                           did_you_mean(host, names)));
}

}  // namespace mlc
