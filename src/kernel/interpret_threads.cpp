// The threads of a group in lockstep: every statement runs for all threads that reached it before the next
// one does.
#include "kernel/interpret_threads.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {
namespace {

using Active = std::vector<int>;  // the threads that run a statement, in order

// Who touched one element last. Accesses conflict when one is a store and neither a barrier nor the order of
// one thread lies between them; no barrier lies between different groups.
struct Touch {
  struct By {
    int64_t thread = -1, epoch = -1;  // thread: group * threads + thread of the group
    bool several = false;             // threads of that group, in that epoch
  };
  By writer, reader;
};

class RaceFinder {
 public:
  RaceFinder(const Program::Impl& program, int64_t threads) : program_(program), threads_(threads) {
    for (const BufferRef& b : program.function.buffers) {
      watched_.push_back(b->writable);
      unit_.push_back(size_of(b->element.dtype));
    }
    global_ = watched_.size();
    for (size_t i = 0; i < program.shared_bytes.size(); ++i) {
      watched_.push_back(true);
      unit_.push_back(program.shared_units[i]);
    }
    touched_.resize(watched_.size());
  }

  void begin_group(int64_t group) {
    group_ = group;
    ++epoch_;
    for (size_t i = global_; i < touched_.size(); ++i) touched_[i].clear();
  }
  void barrier() { ++epoch_; }

  void access(int thread, int region, int64_t byte, int64_t bytes, bool store) {
    auto r = static_cast<size_t>(region);
    if (!watched_[r]) return;
    for (int64_t at = byte; at < byte + bytes; at += unit_[r])
      touch(touched_[r][at], thread, region, at, store);
  }

 private:
  bool conflicts(const Touch::By& other, int64_t me) const {
    if (other.thread == -1 || (other.thread == me && !other.several)) return false;
    return other.thread / threads_ != group_ || other.epoch == epoch_;
  }

  void touch(Touch& t, int thread, int region, int64_t byte, bool store) {
    int64_t me = group_ * threads_ + thread;
    if (conflicts(t.writer, me)) fail(t.writer, thread, region, byte, store);
    if (store && conflicts(t.reader, me)) fail(t.reader, thread, region, byte, store);
    if (store) {
      t.writer = {me, epoch_, false};
    } else {
      bool same_epoch = t.reader.thread != -1 && t.reader.epoch == epoch_;
      t.reader = {me, epoch_, same_epoch && (t.reader.several || t.reader.thread != me)};
    }
  }

  [[noreturn]] void fail(const Touch::By& other, int thread, int region, int64_t byte, bool store) const {
    internal_error(str("kernel ", program_.function.name, ": race on %", program_.region_name(region),
                       " at byte ", byte, ": a ", store ? "store" : "load", " by thread ", thread,
                       " of group ", group_, " and an access by thread ", other.thread % threads_,
                       " of group ", other.thread / threads_, " without a barrier between them"));
  }

  const Program::Impl& program_;
  int64_t threads_, group_ = 0, epoch_ = 0;
  size_t global_ = 0;
  std::vector<bool> watched_;
  std::vector<int64_t> unit_;
  std::vector<std::unordered_map<int64_t, Touch>> touched_;  // per region, by byte of the element
};

// Value of one lane after a subgroup operation: `lanes` points to the operand of each lane.
// Integers wrap, as on devices.
template <typename T>
T wrapping_add(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  else
    return static_cast<T>(a + b);
}

template <typename T>
void combine(const Expr& e, const std::vector<const uint8_t*>& lanes, size_t lane, uint8_t* out) {
  for (int i = 0; i < e.type.lanes; ++i) {
    auto operand = [&](size_t from) { return read<T>(lanes[from] + i * int64_t{sizeof(T)}); };
    auto from = static_cast<size_t>(e.int_value);
    T value = operand(e.kind == ExprKind::kSubgroupXor ? lane ^ from : from);
    if (e.kind == ExprKind::kSubgroup) {
      std::vector<T> tree;
      for (size_t l = 0; l < lanes.size(); ++l) tree.push_back(operand(l));
      for (size_t half = tree.size() / 2; half >= 1; half /= 2)
        for (size_t l = 0; l < half; ++l) {
          T a = tree[l], b = tree[l + half];
          tree[l] = e.binary == BinaryOp::kAdd   ? wrapping_add(a, b)
                    : e.binary == BinaryOp::kMin ? std::min(a, b)
                                                 : std::max(a, b);
        }
      value = tree[0];
    }
    std::memcpy(out + i * int64_t{sizeof(T)}, &value, sizeof(T));
  }
}

class GroupRunner : public AccessObserver {
 public:
  GroupRunner(const Program::Impl& program, const Frame& initial, GroupCounter* counter)
      : program_(program),
        threads_(thread_count(program.function)),
        races_(program, threads_),
        counter_(counter) {
    frames_.assign(static_cast<size_t>(threads_), initial);
    for (int t = 0; t < threads_; ++t) {
      frames_[static_cast<size_t>(t)].observer = this;
      frames_[static_cast<size_t>(t)].thread = t;
      all_.push_back(t);
    }
  }
  ~GroupRunner() = default;

  void run_group(int64_t group) {
    const Step& grid = program_.steps[0];
    races_.begin_group(group);
    if (counter_) counter_->begin_group();
    for (Frame& f : frames_) std::memcpy(f.memory.data() + grid.slot, &group, 8);
    for (const Step& s : grid.body) {
      if (s.kind == StmtKind::kAlloc) run_alloc(s, frames_[0]);
      if (s.kind != StmtKind::kFor) continue;
      for (int64_t t = 0; t < threads_; ++t)
        std::memcpy(frames_[static_cast<size_t>(t)].memory.data() + s.slot, &t, 8);
      run(s.body, all_);
    }
  }

  void access(const void* site, int thread, int region, int64_t byte, int64_t bytes, bool store) override {
    if (byte % bytes != 0)
      internal_error(str("kernel ", program_.function.name, ": an access of ", bytes, " bytes to %",
                         program_.region_name(region), " at byte ", byte, " is not aligned"));
    races_.access(thread, region, byte, bytes, store);
    if (counter_) counter_->access(site, thread, region, byte, bytes, store);
  }

 private:
  Frame& frame(int thread) { return frames_[static_cast<size_t>(thread)]; }

  void run(const std::vector<Step>& list, const Active& active) {
    for (const Step& s : list) {
      run(s, active);
      if (counter_) counter_->end_statement();
    }
  }

  void run(const Step& s, const Active& active) {
    switch (s.kind) {
      case StmtKind::kLet: return s.subgroup ? exchange(s, active) : let(s, active);
      case StmtKind::kStore:
        for (int t : active) run_store(s, frame(t));
        return;
      case StmtKind::kScatter:
        for (int t : active) run_scatter(s, frame(t));
        return;
      case StmtKind::kFor: return loop(s, active);
      case StmtKind::kIf: return branch(s, active);
      case StmtKind::kBlock: return run(s.body, active);
      case StmtKind::kAlloc:
        for (int t : active) run_alloc(s, frame(t));
        return;
      case StmtKind::kBarrier:
        require_all(active, "barrier");
        races_.barrier();
        if (counter_) counter_->barrier();
        return;
      case StmtKind::kPrefetch: return;
      case StmtKind::kMatrix: return matrix(s, active);
    }
  }

  void require_all(const Active& active, const char* what) const {
    if (static_cast<int64_t>(active.size()) != threads_)
      internal_error(str("kernel ", program_.function.name, ": ", active.size(), " of ", threads_,
                         " threads reach a ", what));
  }

  void let(const Step& s, const Active& active) {
    for (int t : active) {
      Frame& f = frame(t);
      const uint8_t* value = evaluate(s.value, f);
      std::memcpy(f.memory.data() + s.slot, value, static_cast<size_t>(s.bytes));
    }
  }

  void exchange(const Step& s, const Active& active) {
    require_all(active, "subgroup operation");
    for (int t : active) evaluate(s.value->operands[0], frame(t));
    auto size = static_cast<size_t>(program_.function.subgroup_size);
    for (size_t first = 0; first < frames_.size(); first += size) {
      std::vector<const uint8_t*> lanes;
      for (size_t l = 0; l < size; ++l)
        lanes.push_back(frames_[first + l].memory.data() + s.value->operands[0]->out);
      for (size_t l = 0; l < size; ++l) {
        uint8_t* out = frames_[first + l].memory.data() + s.slot;
        switch (s.subgroup->type.dtype) {
          case DType::kF32: combine<float>(*s.subgroup, lanes, l, out); break;
          case DType::kI32: combine<int32_t>(*s.subgroup, lanes, l, out); break;
          default: combine<uint32_t>(*s.subgroup, lanes, l, out);
        }
      }
    }
  }

  void matrix(const Step& s, const Active& active) {
    require_all(active, "matrix");
    auto size = static_cast<size_t>(program_.function.subgroup_size);
    for (size_t first = 0; first < frames_.size(); first += size) {
      if (s.begin) tell_of_lines(s, first, size);
      run_matrix(s, frames_[first]);
    }
  }

  // Lanes are told of as they would take part in moving a fragment: each moves 16 bytes of a line (a word
  // where lines are not aligned), neighbouring lanes in neighbouring lines.
  void tell_of_lines(const Step& s, size_t first, size_t lanes) {
    const MatrixLines lines = matrix_lines(s, frames_[first]);
    for (size_t l = 1; l < lanes; ++l)
      if (evaluate_index(s.begin, frames_[first + l]) * s.unit != lines.begin)
        internal_error(str("kernel ", program_.function.name,
                           ": lanes of a subgroup want a fragment at different places of %",
                           s.matrix->memory->name));
    const int64_t step = (lines.begin | lines.stride | lines.bytes) % 16 == 0 ? 16 : 4;
    size_t turn = 0;
    for (int64_t at = 0; at < lines.bytes; at += step)
      for (int64_t line = 0; line < lines.count; ++line)
        access(&s, static_cast<int>(first + turn++ % lanes), s.region, lines.begin + line * lines.stride + at,
               step, s.matrix->matrix == MatrixOp::kStore);
  }

  void branch(const Step& s, const Active& active) {
    Active then, otherwise;
    for (int t : active) (*evaluate(s.value, frame(t)) ? then : otherwise).push_back(t);
    if (counter_) {
      counter_->end_statement();
      counter_->branch(active, then);
    }
    if (!then.empty()) run(s.body, then);
    if (!otherwise.empty()) run(s.otherwise, otherwise);
  }

  void loop(const Step& s, const Active& active) {
    std::vector<int64_t> index(frames_.size()), end(frames_.size());
    for (int t : active) {
      auto i = static_cast<size_t>(t);
      index[i] = evaluate_index(s.begin, frame(t));
      end[i] = index[i] + evaluate_index(s.extent, frame(t));
    }
    if (counter_) counter_->end_statement();
    for (Active left = active;;) {
      Active next;
      for (int t : left)
        if (index[static_cast<size_t>(t)] < end[static_cast<size_t>(t)]) next.push_back(t);
      if (counter_) counter_->branch(left, next);
      if (next.empty()) return;
      for (int t : next) std::memcpy(frame(t).memory.data() + s.slot, &index[static_cast<size_t>(t)], 8);
      run(s.body, next);
      for (int t : next) ++index[static_cast<size_t>(t)];
      left = std::move(next);
    }
  }

  const Program::Impl& program_;
  int64_t threads_;
  RaceFinder races_;
  GroupCounter* counter_;
  std::vector<Frame> frames_;
  Active all_;
};

}  // namespace

void run_groups(const Program::Impl& program, const Frame& initial, int64_t group_begin, int64_t group_end,
                GroupCounter* counter) {
  GroupRunner runner(program, initial, counter);
  for (int64_t g = group_begin; g < group_end; ++g) runner.run_group(g);
}

}  // namespace mlc::kernel
