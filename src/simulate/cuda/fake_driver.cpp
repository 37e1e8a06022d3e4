// Puts the fake CUDA driver in place.
#include "simulate/cuda/fake_driver.h"

#include "base/check.h"
#include "base/strings.h"
#include "simulate/cuda/state.h"

namespace mlc {
namespace {

void* lookup(const char* symbol) {
  const FakeCudaDriver::State* state = fake_cuda_state();
  return state && !state->options.missing.count(symbol) ? fake_cuda_symbol(symbol) : nullptr;
}

}  // namespace

FakeCudaDriver::State*& fake_cuda_state() {
  static FakeCudaDriver::State* current = nullptr;
  return current;
}

cuda::Context& fake_cuda_context() {
  static thread_local cuda::Context current = nullptr;
  return current;
}

FakeCudaDriver::FakeCudaDriver(Options options) : state_(std::make_unique<State>()) {
  internal_check(!fake_cuda_state(), "a second fake CUDA driver");
  state_->options = std::move(options);
  fake_cuda_state() = state_.get();
  fake_cuda_context() = nullptr;
  runtime::cuda::set_driver_for_tests(lookup);
}

FakeCudaDriver::~FakeCudaDriver() {
  runtime::cuda::set_driver_for_tests(nullptr);
  fake_cuda_state() = nullptr;
  for (const auto& [begin, end] : state_->memory) std::free(reinterpret_cast<void*>(begin));
  for (const auto& [begin, end] : state_->pinned) std::free(reinterpret_cast<void*>(begin));
}

const std::vector<std::string>& FakeCudaDriver::complaints() const { return state_->complaints; }

std::vector<std::string> FakeCudaDriver::alive() const {
  std::vector<std::string> out;
  auto note = [&](size_t count, const char* what) {
    if (count) out.push_back(str(count, " ", what, count > 1 ? "s" : ""));
  };
  note(state_->memory.size(), "allocation");
  note(state_->pinned.size(), "pinned allocation");
  note(state_->modules.size(), "module");
  note(state_->streams.size(), "stream");
  note(state_->events.size(), "event");
  note(state_->graphs.size() + state_->runs.size(), "graph");
  for (const auto& [device, count] : state_->contexts) note(static_cast<size_t>(count), "context");
  return out;
}

void FakeCudaDriver::fail_next(const std::string& symbol, int code) { state_->failing[symbol] = code; }

const ptx::Counts& FakeCudaDriver::counts() const { return state_->counts; }

}  // namespace mlc
