// What a fake driver keeps.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/devices/cuda/api.h"
#include "simulate/cuda/fake_driver.h"

namespace mlc {

namespace cuda = runtime::cuda;

struct FakeDriver::State {
  const cuda::Vendor* vendor = nullptr;
  Options options;
  std::vector<std::string> complaints;
  Counts counts;
  std::map<std::string, cuda::Code> failing;  // by symbol
  cuda::Code broken = cuda::kSuccess;         // a kernel has failed: every call does, as on a GPU

  // Handles are addresses of what the maps hold.
  struct Loaded {
    std::map<std::string, std::unique_ptr<const GridKernel>> kernels;
    std::set<const GridKernel*> functions;  // that were asked for
  };
  struct Launch {
    const GridKernel* kernel;
    GridCall call;
  };
  struct Event {
    bool recorded = false, reached = false;
    int queries_left = 0;
  };
  struct Stream {
    std::deque<std::function<void()>> waiting;
    bool capturing = false;
    std::vector<Launch> captured;
  };
  LiveMemory memory;                // of GPUs
  std::map<uint64_t, bool> pooled;  // allocation -> of the pool
  std::map<uint64_t, uint64_t> pinned;
  std::map<const void*, std::unique_ptr<Loaded>> modules;
  std::map<const void*, std::unique_ptr<Stream>> streams;
  std::map<const void*, std::unique_ptr<Event>> events;
  std::map<const void*, std::unique_ptr<std::vector<Launch>>> graphs, runs;
  std::map<cuda::DeviceNumber, int> contexts;  // retained
  bool started = false;

  cuda::Code refuse(cuda::Code code, const std::string& sentence) {
    complaints.push_back(sentence);
    return code;
  }
  int64_t live_bytes() const {
    int64_t sum = 0;
    for (const auto& [begin, end] : memory) sum += static_cast<int64_t>(end - begin);
    return sum;
  }
  bool holds(const std::map<uint64_t, uint64_t>& where, uint64_t address, uint64_t bytes) const {
    auto it = where.upper_bound(address);
    return it != where.begin() && std::prev(it)->second >= address &&
           std::prev(it)->second - address >= bytes;
  }
  // All of a stream's work, in order.
  void finish(Stream& stream) {
    while (!stream.waiting.empty()) {
      auto work = std::move(stream.waiting.front());
      stream.waiting.pop_front();
      if (broken == cuda::kSuccess) work();
    }
  }
  void finish_all() {
    for (auto& [handle, stream] : streams) finish(*stream);
  }
  void run(const Launch& launch);
};

// The State of the driver that is in place, and the context of the calling thread: null when there is none.
FakeDriver::State*& fake_state();
cuda::Context& fake_context();

inline constexpr cuda::Code kInvalidValue = 1, kNotInitialized = 3, kInvalidContext = 201,
                            kNotPermittedInCapture = 900, kInvalidHandle = 400, kNotFound = 500,
                            kLaunchFailed = 719, kIllegalAddress = 700, kInvalidImage = 200,
                            kNoBinaryForGpu = 209;

// Every function of the driver that is in place by its symbol; null: it has none of that name.
void* fake_symbol(const char* symbol);
// The symbol in that driver of what is called so in CUDA's.
const char* fake_symbol_of(const char* cuda_symbol);

// Of a GPU of CUDA: 80 of "sm_80".
int compute_capability(const FakeDriver::State& state);

// The kernels of a module's image, as the driver of `state` takes it. On an error `log` says what a driver
// writes into its log, and `complaint` is "" where a driver gives no more than the code.
cuda::Code load_image(const FakeDriver::State& state, const void* image, FakeDriver::State::Loaded& out,
                      std::string& log, std::string& complaint);

}  // namespace mlc
