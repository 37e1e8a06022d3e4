// Device functions as a library variant for any GPU device, and one launch of them on host memory.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "formats/library.h"
#include "lang/gpu_variant.h"
#include "link/code_object.h"
#include "runtime/memory.h"

namespace mlc::testing {

using Bytes = std::vector<uint8_t>;

// What a library would hold of these kernels (legal for the target), in this process.
class GpuVariant {
 public:
  GpuVariant(const std::vector<kernel::Function>& kernels, const Target& target) {
    std::vector<std::string> blobs;
    for (const kernel::Function& kernel : kernels)
      blobs.push_back(link::finish_gpu_kernel(lang::emit_gpu_kernel(kernel, target)).value());
    header_ = Json({{"name", target.name},
                    {"kind", target.kind},
                    {"requires", target.required},
                    {"limits", lang::gpu_limits(blobs, target)}})
                  .dump();
    for (const std::string& blob : blobs) {
      blobs_.emplace_back((blob.size() + 7) / 8);  // aligned to 8
      std::memcpy(blobs_.back().data(), blob.data(), blob.size());
    }
    for (const auto& blob : blobs_) table_.push_back(blob.data());
    variant_.header = header_.data();
    variant_.header_bytes = header_.size();
    variant_.kernels = table_.data();
    variant_.kernel_count = table_.size();
  }
  GpuVariant(const GpuVariant&) = delete;
  GpuVariant& operator=(const GpuVariant&) = delete;
  const MlcLibraryVariant& operator*() const { return variant_; }

 private:
  std::string header_;
  std::vector<std::vector<uint64_t>> blobs_;
  std::vector<const void*> table_;
  MlcLibraryVariant variant_{};
};

// Runs kernel `index` once: the buffers' bytes go to the device and come back.
inline Status launch_once(runtime::Device& device, runtime::KernelSet kernels, uint32_t index,
                          std::vector<Bytes>& buffers, const std::vector<int64_t>& dims, int64_t tiles) {
  std::vector<runtime::OwnedBuffer> memory;
  std::vector<runtime::DeviceAddress> addresses;
  for (const Bytes& bytes : buffers) {
    ASSIGN_OR_RETURN(auto buffer, runtime::OwnedBuffer::allocate(device, static_cast<int64_t>(bytes.size())));
    RETURN_IF_ERROR(device.copy_in(device.self, buffer.address(), std::as_bytes(std::span(bytes))));
    addresses.push_back(buffer.address());
    memory.push_back(std::move(buffer));
  }
  runtime::Launch launch{
      .kernel = index, .buffers = addresses, .dims = dims, .tiles = tiles, .scratch_bytes = 0};
  RETURN_IF_ERROR(device.submit(device.self, kernels, {&launch, 1}));
  RETURN_IF_ERROR(device.sync(device.self));
  for (size_t i = 0; i < buffers.size(); ++i)
    RETURN_IF_ERROR(runtime::read(device, std::as_writable_bytes(std::span(buffers[i])), addresses[i]));
  return Status::ok();
}

}  // namespace mlc::testing
