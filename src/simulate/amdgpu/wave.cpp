// Registers and control flow of wavefronts.
#include "simulate/amdgpu/wave.h"

#include <algorithm>

namespace mlc::amdgpu {

Wave::Wave(const Kernel& kernel, const std::vector<uint8_t>& arguments, GlobalMemory& g, SharedMemory& s,
           int number)
    : global(g),
      shared(s),
      kernel_(kernel),
      number_(number),
      arguments_(arguments),
      vectors_(static_cast<size_t>(kernel.vectors * kernel.lanes)) {}

// Registers hold garbage but for what a kernel asked for.
void Wave::begin_group(int64_t group) {
  std::fill(std::begin(scalars), std::end(scalars), 0xFFFFFFFF);
  std::fill(vectors_.begin(), vectors_.end(), 0xFFFFFFFF);
  const auto arguments = reinterpret_cast<uint64_t>(arguments_.data());
  scalars[kernel_.arguments_at] = static_cast<uint32_t>(arguments);
  scalars[kernel_.arguments_at + 1] = static_cast<uint32_t>(arguments >> 32);
  scalars[kernel_.group_at] = static_cast<uint32_t>(group);
  scalars[kNull] = 0;
  const int mine = std::min(kernel_.lanes, kernel_.threads - number_ * kernel_.lanes);
  set_mask(kExec, mine == 64 ? ~uint64_t{0} : (uint64_t{1} << mine) - 1);
  for (int lane = 0; lane < kernel_.lanes; ++lane)
    vector(0)[lane] = static_cast<uint32_t>(number_ * kernel_.lanes + lane);
  scc = true;
  at_ = 0;
}

uint64_t Wave::get(const Operand& o) const {
  switch (o.kind) {
    case Operand::Kind::kScalar:
      return o.words == 1 ? scalars[o.first] : scalars[o.first] | uint64_t{scalars[o.first + 1]} << 32;
    case Operand::Kind::kConstant: return o.constant;
    default: throw Fault("lanes are read where one value is wanted");
  }
}

uint64_t Wave::get(const Operand& o, int lane) const {
  uint64_t bits = 0;
  if (o.kind == Operand::Kind::kVector) {
    const auto at = static_cast<size_t>(o.first * kernel_.lanes + lane);
    bits = vectors_[at];
    if (o.words > 1) bits |= uint64_t{vectors_[at + static_cast<size_t>(kernel_.lanes)]} << 32;
  } else {
    bits = get(o);
  }
  switch (o.part) {
    case Operand::Part::kWhole: return bits;
    case Operand::Part::kLow: return bits & 0xFFFF;
    case Operand::Part::kHigh: return bits >> 16 & 0xFFFF;
    default: return bits >> 8 * (static_cast<int>(o.part) - static_cast<int>(Operand::Part::kByte0)) & 0xFF;
  }
}

void Wave::set(const Operand& o, int lane, uint64_t bits) {
  if (o.kind != Operand::Kind::kVector) throw Fault("lanes are written where none are");
  const auto at = static_cast<size_t>(o.first * kernel_.lanes + lane);
  vectors_[at] = static_cast<uint32_t>(bits);
  if (o.words > 1) vectors_[at + static_cast<size_t>(kernel_.lanes)] = static_cast<uint32_t>(bits >> 32);
}

void Wave::set(const Operand& o, uint64_t bits) {
  if (o.kind != Operand::Kind::kScalar) throw Fault("a scalar is written where none is");
  set_scalar(o.first, static_cast<uint32_t>(bits));
  if (o.words > 1) set_scalar(o.first + 1, static_cast<uint32_t>(bits >> 32));
}

void Wave::set_scalar(int number, uint32_t bits) {
  if (number != kNull) scalars[number] = bits;
}

bool Wave::run(Counts& counts) {
  for (;; ++at_) {
    if (at_ >= kernel_.instructions.size()) throw Fault("the code has no end");
    const Instruction& i = kernel_.instructions[at_];
    counts.instructions++;
    switch (i.control) {
      case Control::kNothing: break;
      case Control::kEnd: return false;
      case Control::kBarrier: ++at_; return true;
      case Control::kBranch:
        if (!i.taken || i.taken(*this)) at_ = size_t{i.target} - 1;
        break;
      case Control::kNone: try { i.run(*this, i);
        } catch (const Fault& fault) {
          throw Fault(str("'", i.text, "': ", fault.what()));
        }
        break;
    }
  }
}

void Kernel::run(const GridCall& call, const LiveMemory& live, Counts& counts) const {
  // The arguments are memory too, which ends with them.
  LiveMemory memory = live;
  const auto begin = reinterpret_cast<uint64_t>(call.parameters.data());
  memory[begin] = begin + call.parameters.size();
  GlobalMemory global(memory);
  SharedMemory shared(shared_bytes, "wavefront");
  std::vector<Wave> waves;
  for (int w = 0; w * lanes < threads; ++w) waves.emplace_back(*this, call.parameters, global, shared, w);
  run_groups(name, call.groups, waves, shared, counts);
}

}  // namespace mlc::amdgpu
