// Puts a fake driver in place.
#include "simulate/cuda/fake_driver.h"

#include "base/check.h"
#include "base/strings.h"
#include "simulate/cuda/state.h"

namespace mlc {
namespace {

void* lookup(const char* symbol) {
  const FakeDriver::State* state = fake_state();
  return state && !state->options.missing.count(symbol) ? fake_symbol(symbol) : nullptr;
}

}  // namespace

FakeDriver::State*& fake_state() {
  static FakeDriver::State* current = nullptr;
  return current;
}

cuda::Context& fake_context() {
  static thread_local cuda::Context current = nullptr;
  return current;
}

FakeDriver::FakeDriver(const cuda::Vendor& vendor, Options options) : state_(std::make_unique<State>()) {
  internal_check(!fake_state(), "a second fake driver");
  state_->vendor = &vendor;
  state_->options = std::move(options);
  if (state_->options.version == 0) state_->options.version = vendor.hip ? 60200000 : 13000;
  if (state_->options.architecture.empty()) state_->options.architecture = vendor.hip ? "gfx1030" : "sm_80";
  fake_state() = state_.get();
  fake_context() = nullptr;
  runtime::cuda::set_driver_for_tests(lookup, vendor);
}

FakeDriver::~FakeDriver() {
  runtime::cuda::set_driver_for_tests(nullptr, *state_->vendor);
  fake_state() = nullptr;
  for (const auto& [begin, end] : state_->memory) std::free(reinterpret_cast<void*>(begin));
  for (const auto& [begin, end] : state_->pinned) std::free(reinterpret_cast<void*>(begin));
}

const std::vector<std::string>& FakeDriver::complaints() const { return state_->complaints; }

std::vector<std::string> FakeDriver::alive() const {
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

void FakeDriver::fail_next(const std::string& symbol, int code) { state_->failing[symbol] = code; }

const Counts& FakeDriver::counts() const { return state_->counts; }

}  // namespace mlc
