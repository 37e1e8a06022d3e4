// A CUDA driver without a GPU: the functions of runtime/devices/cuda/api.h, which run PTX by simulate/ptx.
//
// It does late what a driver may do late: copies of pinned memory, fills, launches and replays wait until
// something asks for their end. And it rejects what a driver or a GPU would let pass silently: each such call
// gives an error and leaves a sentence in complaints().
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "simulate/ptx/machine.h"

namespace mlc {

class FakeCudaDriver {
 public:
  struct Options {
    int version = 13000;    // CUDA 13.0
    int architecture = 80;  // of its GPUs
    int gpus = 2;
    bool pools = true;  // memory pools
    int64_t memory_bytes = int64_t{1} << 30;
    std::set<std::string> missing;  // symbols that it does not have
    int late_queries = 1;           // of an event, that find it not ready
  };

  // The process's CUDA driver until it is destroyed; one at a time, and no CUDA device may outlive it.
  explicit FakeCudaDriver(Options options);
  FakeCudaDriver() : FakeCudaDriver(Options{}) {}
  ~FakeCudaDriver();
  FakeCudaDriver(const FakeCudaDriver&) = delete;
  FakeCudaDriver& operator=(const FakeCudaDriver&) = delete;

  const std::vector<std::string>& complaints() const;
  // What is still alive: "3 allocations", "1 module". Empty once every device is closed.
  std::vector<std::string> alive() const;
  // The next call of that symbol gives this code and does nothing else.
  void fail_next(const std::string& symbol, int code);
  const ptx::Counts& counts() const;  // of all kernels that have run

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace mlc
