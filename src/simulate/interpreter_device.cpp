// The interpreter device.
#include "simulate/interpreter_device.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "kernel/interpret.h"
#include "runtime/devices/device_of.h"
#include "simulate/host_memory.h"

namespace mlc {
namespace {

using runtime::DeviceAddress;
using runtime::KernelSet;
using runtime::Launch;

constexpr const char* kKind = "interpreter";

struct Kernels {
  std::vector<kernel::Program> programs;
};

class InterpreterDevice : public HostMemory {
 public:
  InterpreterDevice() : HostMemory("interpreter device") {}

  std::string missing_requirement(const Json& header) {
    std::string kind = find_string(header, "kind").value_or("?");
    return kind == kKind ? "" : "a device of kind " + kind;
  }
  Result<KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    auto* kernels = new Kernels;
    for (uint64_t i = 0; i < variant.kernel_count; ++i)
      kernels->programs.emplace_back(*static_cast<const kernel::Function*>(variant.kernels[i]));
    return static_cast<KernelSet>(kernels);
  }
  void unload_kernels(KernelSet kernels) { delete static_cast<Kernels*>(kernels); }
  Status submit(KernelSet kernels, std::span<const Launch> launches) {
    const auto& programs = static_cast<Kernels*>(kernels)->programs;
    for (const Launch& launch : launches) {
      if (launch.kernel >= programs.size())
        return problem(str("kernel ", launch.kernel, " of ", programs.size()));
      RETURN_IF_ERROR(run(programs[launch.kernel], launch));
    }
    return Status::ok();
  }

 private:
  Status run(const kernel::Program& program, const Launch& launch) {
    std::vector<kernel::HostBuffer> buffers;
    for (const DeviceAddress& a : launch.buffers) {
      const int64_t left = this->left(a);
      if (left < a.bytes) return problem("launch with a buffer that is not live or too small");
      buffers.push_back({pointer(a), a.bytes > 0 ? a.bytes : left});
    }
    // In four pieces, the last first: grid iterations may run in any order, so a kernel that relies on one
    // shows.
    const int64_t piece = std::max<int64_t>(1, (launch.tiles + 3) / 4);
    for (int64_t end = launch.tiles; end > 0; end -= piece)
      program.run(buffers, launch.dims, std::max<int64_t>(0, end - piece), end);
    return Status::ok();
  }
};

Result<runtime::DevicePtr> open(const runtime::DeviceOptions&) {
  return runtime::device_of(
      std::make_unique<InterpreterDevice>(),
      {.name = kKind, .description = "kernel IR, every access checked", .memory_bytes = HostMemory::kBytes});
}

}  // namespace

InterpretedLibrary::InterpretedLibrary(const Json& manifest, BuiltPlan built)
    : kernels_(std::move(built.kernels)),
      header_(json_text(Json({{"name", kKind}, {"kind", kKind}, {"requires", Json::array()}}))),
      plan_(encode_plan(built.plan)),
      manifest_(json_text(manifest)) {
  for (const kernel::Function& k : kernels_) table_.push_back(&k);
  variant_ = {.header = header_.data(),
              .header_bytes = header_.size(),
              .plan = plan_.data(),
              .plan_bytes = plan_.size(),
              .kernels = table_.data(),
              .kernel_count = table_.size()};
  std::memcpy(library_.magic, kLibraryMagic, sizeof kLibraryMagic);
  library_.abi_version = kLibraryAbiVersion;
  library_.variant_count = 1;
  library_.manifest = manifest_.data();
  library_.manifest_bytes = manifest_.size();
  library_.variants = &variant_;
}

void register_interpreter_device() {
  [[maybe_unused]] static const bool done = [] {
    runtime::register_device(kKind, open);
    return true;
  }();
}

}  // namespace mlc
