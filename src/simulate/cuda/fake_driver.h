// A CUDA or HIP driver without a GPU: the functions of runtime/devices/cuda/api.h. CUDA's runs PTX by
// simulate/ptx, HIP's code objects by simulate/amdgpu.
//
// It does late what a driver may do late: copies of pinned memory, fills, launches and replays wait until
// something asks for their end. And it rejects what a driver or a GPU would let pass silently: each such call
// gives an error and leaves a sentence in complaints().
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/devices/cuda/api.h"
#include "simulate/grid.h"

namespace mlc {

class FakeDriver {
 public:
  struct Options {
    int version = 0;           // as the driver counts it
    std::string architecture;  // of its GPUs: "sm_80", "gfx1030"
    int gpus = 2;
    bool pools = true;  // memory pools
    int64_t memory_bytes = int64_t{1} << 30;
    std::set<std::string> missing;  // symbols that it does not have
    int late_queries = 1;           // of an event, that find it not ready
  };

  // The process's driver of that vendor until it is destroyed; one at a time, and no device of it may outlive
  // it.
  FakeDriver(const runtime::cuda::Vendor& vendor, Options options);
  ~FakeDriver();
  FakeDriver(const FakeDriver&) = delete;
  FakeDriver& operator=(const FakeDriver&) = delete;

  const std::vector<std::string>& complaints() const;
  // What is still alive: "3 allocations", "1 module". Empty once every device is closed.
  std::vector<std::string> alive() const;
  // The next call of that symbol gives this code and does nothing else.
  void fail_next(const std::string& symbol, int code);
  const Counts& counts() const;  // of all kernels that have run

  struct State;

 private:
  std::unique_ptr<State> state_;
};

class FakeCudaDriver : public FakeDriver {
 public:
  explicit FakeCudaDriver(Options options) : FakeDriver(runtime::cuda::kCudaVendor, std::move(options)) {}
  FakeCudaDriver() : FakeCudaDriver(Options{}) {}
};

// As ROCm 6 and 7 have it.
class FakeHipDriver : public FakeDriver {
 public:
  explicit FakeHipDriver(Options options) : FakeDriver(runtime::cuda::kRocmVendor, std::move(options)) {}
  FakeHipDriver() : FakeHipDriver(Options{}) {}
};

}  // namespace mlc
