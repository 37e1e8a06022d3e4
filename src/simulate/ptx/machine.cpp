// Warps and paths of lanes.
#include "simulate/ptx/machine.h"

#include <algorithm>

#include "simulate/ptx/warp.h"

namespace mlc::ptx {

Warp::Warp(const Entry& entry, const GridCall& grid, GlobalMemory& g, SharedMemory& s, int number,
           int64_t groups)
    : global(g),
      shared(s),
      call(grid),
      entry_(entry),
      number_(number),
      registers_(size_t{entry.slots} * kLanes) {
  const int mine = std::min(kLanes, entry.threads - number * kLanes);
  all_ = mine == kLanes ? 0xFFFFFFFF : (1u << mine) - 1;
  for (const auto& [slot, bits] : entry.constants) std::fill_n(lanes(slot), kLanes, bits);
  for (int lane = 0; lane < kLanes; ++lane) {
    lanes(kThread)[lane] = static_cast<uint64_t>(thread(lane));
    lanes(kLane)[lane] = static_cast<uint64_t>(lane);
    lanes(kThreads)[lane] = static_cast<uint64_t>(entry.threads);
    lanes(kGroups)[lane] = static_cast<uint64_t>(groups);
  }
}

void Warp::begin_group(int64_t group) {
  std::fill_n(lanes(kGroup), kLanes, static_cast<uint64_t>(group));
  now_ = {0, all_};
  others_.clear();
  waiting_.clear();
}

// Lanes whose next instruction stands first go first, so that all meet again where their paths join.
void Warp::take_lowest() {
  others_.push_back(now_);
  auto lowest = std::min_element(others_.begin(), others_.end(),
                                 [](const Path& a, const Path& b) { return a.at < b.at; });
  now_ = {lowest->at, 0};
  std::erase_if(others_, [&](const Path& p) {
    if (p.at == now_.at) now_.mask |= p.mask;
    return p.at == now_.at;
  });
}

void Warp::branch(const Instruction& i, uint32_t taken) {
  const uint32_t rest = now_.mask & ~taken;
  if (rest == 0) {
    now_.at = i.target;
    return;
  }
  ++now_.at;
  if (taken == 0) return;
  now_.mask = rest;
  others_.push_back({i.target, taken});
}

uint32_t Warp::guarded(const Instruction& i) {
  if (i.guard < 0) return now_.mask;
  const uint64_t* p = lanes(static_cast<uint32_t>(i.guard));
  uint32_t yes = 0;
  for_lanes(now_.mask, [&](int lane) { yes |= static_cast<uint32_t>(p[lane] != 0) << lane; });
  return i.guard_inverted ? now_.mask & ~yes : yes;
}

// Lanes stop before what all of them must run together, until the others have come there too: a compiler may
// place a branch behind the instruction at which it joins again.
bool Warp::meet(const Instruction& i, uint32_t mask) {
  for (size_t w = 0; w < waiting_.size(); ++w)
    if (waiting_[w].at == now_.at) {
      now_.mask = mask |= waiting_[w].mask;
      waiting_.erase(waiting_.begin() + static_cast<long>(w));
      break;
    }
  if (mask == all_) return true;
  if (mask != now_.mask || others_.empty())
    throw Fault(str("line ", i.line, ": a ", i.control == Control::kBarrier ? "barrier" : "shuffle or matrix",
                    " that not all lanes of a warp reach together"));
  waiting_.push_back(now_);
  now_ = others_.back();
  others_.pop_back();
  return false;
}

// False: no lane is left.
bool Warp::leave(uint32_t mask) {
  now_.mask &= ~mask;
  ++now_.at;
  if (now_.mask) return true;
  if (others_.empty()) {
    if (!waiting_.empty()) throw Fault("lanes return while others of their warp wait for them");
    return false;
  }
  now_ = others_.back();
  others_.pop_back();
  return true;
}

bool Warp::run(Counts& counts) {
  for (;;) {
    if (!others_.empty()) take_lowest();
    const Instruction& i = entry_.instructions[now_.at];
    uint32_t mask = guarded(i);
    if (i.together && mask != all_) {
      if (!meet(i, mask)) continue;
      mask = all_;
    }
    counts.instructions++;
    switch (i.control) {
      case Control::kNone:
        if (mask) i.run(*this, i, mask);
        ++now_.at;
        break;
      case Control::kBranch: branch(i, mask); break;
      case Control::kBarrier: ++now_.at; return true;
      case Control::kReturn:
        if (!leave(mask)) return false;
        break;
    }
  }
}

void Entry::run(const GridCall& call, const LiveMemory& live, Counts& counts) const {
  GlobalMemory global(live);
  SharedMemory shared(shared_bytes, "thread");
  std::vector<Warp> warps;
  for (int w = 0; w * kLanes < threads; ++w) warps.emplace_back(*this, call, global, shared, w, call.groups);
  run_groups(name, call.groups, warps, shared, counts);
}

}  // namespace mlc::ptx
