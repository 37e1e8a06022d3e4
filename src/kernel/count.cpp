// Sectors, banks, barriers and divergence.
#include "kernel/count.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/interpret_threads.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kSector = 32, kBanks = 32, kBankBytes = 4;

struct Access {
  const void* site;
  int thread, region;
  int64_t byte, bytes;
  bool store;
  int turn = 0;  // how many accesses of this site by this thread went before in the statement
};

class Counter final : public GroupCounter {
 public:
  Counter(const Function& f, KernelCount& count)
      : count_(count), lanes_(f.subgroup_size ? f.subgroup_size : 32) {}

  void access(const void* site, int thread, int region, int64_t byte, int64_t bytes, bool store) override {
    statement_.push_back({site, thread, region, byte, bytes, store});
  }
  void begin_group() override {}
  void barrier() override { ++count_.barriers; }

  void branch(const std::vector<int>& reached, const std::vector<int>& taken) override {
    std::map<int, std::pair<int, int>> lanes;  // subgroup -> reached, taken
    for (int t : reached) ++lanes[t / lanes_].first;
    for (int t : taken) ++lanes[t / lanes_].second;
    for (const auto& [subgroup, n] : lanes) count_.divergent += n.second > 0 && n.second < n.first;
  }

  void end_statement() override {
    if (statement_.empty()) return;
    std::map<std::pair<const void*, int>, int> turns;
    for (Access& a : statement_) a.turn = turns[{a.site, a.thread}]++;
    auto key = [&](const Access& a) { return std::tuple(a.site, a.turn, a.thread / lanes_, a.store); };
    std::stable_sort(statement_.begin(), statement_.end(),
                     [&](const Access& a, const Access& b) { return key(a) < key(b); });
    for (size_t begin = 0, end; begin < statement_.size(); begin = end) {
      for (end = begin + 1; end < statement_.size() && key(statement_[end]) == key(statement_[begin]);) ++end;
      together(std::span(statement_).subspan(begin, end - begin));
    }
    statement_.clear();
  }

 private:
  // One access of one subgroup.
  void together(std::span<const Access> lanes) {
    BufferCount& b = count_.buffers[static_cast<size_t>(lanes[0].region)];
    for (const Access& a : lanes) (a.store ? b.stored : b.loaded) += a.bytes;
    if (b.shared) return banks(b, lanes);
    std::set<int64_t> sectors, bytes;
    for (const Access& a : lanes)
      for (int64_t at = a.byte; at < a.byte + a.bytes; ++at) {
        sectors.insert(at / kSector);
        bytes.insert(at);
      }
    (lanes[0].store ? b.written : b.fetched) += kSector * static_cast<int64_t>(sectors.size());
    (lanes[0].store ? b.written_used : b.fetched_used) += static_cast<int64_t>(bytes.size());
  }

  void banks(BufferCount& b, std::span<const Access> lanes) {
    auto words = std::max<int64_t>(1, lanes[0].bytes / kBankBytes);
    auto at_once = static_cast<size_t>(std::max<int64_t>(1, kBanks / words));
    for (size_t begin = 0; begin < lanes.size(); begin += at_once) {
      std::map<int64_t, std::set<int64_t>> wanted;  // bank -> words
      for (const Access& a : lanes.subspan(begin, std::min(at_once, lanes.size() - begin)))
        for (int64_t w = a.byte / kBankBytes; w * kBankBytes < a.byte + a.bytes; ++w)
          wanted[w % kBanks].insert(w);
      size_t most = 1;
      for (const auto& [bank, different] : wanted) most = std::max(most, different.size());
      b.conflicts += static_cast<int64_t>(most) - 1;
    }
  }

  KernelCount& count_;
  int lanes_;
  std::vector<Access> statement_;
};

void scale(KernelCount& c) {
  if (c.counted_groups == c.groups || c.counted_groups == 0) return;
  auto all = [&](int64_t& n) {
    n = static_cast<int64_t>(double(n) * double(c.groups) / double(c.counted_groups));
  };
  all(c.barriers);
  all(c.divergent);
  for (BufferCount& b : c.buffers)
    for (int64_t* n :
         {&b.loaded, &b.stored, &b.fetched, &b.fetched_used, &b.written, &b.written_used, &b.conflicts})
      all(*n);
}

}  // namespace

const BufferCount& KernelCount::find(const std::string& wanted) const {
  for (const BufferCount& b : buffers)
    if (b.name.rfind(wanted, 0) == 0) return b;
  internal_error(str("kernel ", name, " has no buffer ", wanted));
}

int64_t KernelCount::moved() const {
  int64_t sum = 0;
  for (const BufferCount& b : buffers) sum += b.fetched + b.written;
  return sum;
}

int64_t KernelCount::conflicts() const {
  int64_t sum = 0;
  for (const BufferCount& b : buffers) sum += b.conflicts;
  return sum;
}

KernelCount count(const Function& function, std::span<const HostBuffer> buffers,
                  std::span<const int64_t> dims, int64_t most_groups) {
  internal_check(thread_count(function) > 0, "kernel ", function.name, " is not thread-bound");
  Program program(function);
  KernelCount c{.name = function.name, .groups = program.tiles(dims), .threads = thread_count(function)};
  for (const BufferRef& b : function.buffers) c.buffers.push_back({.name = b->name});
  for (const StmtRef& s : function.body[0]->body)
    if (s->kind == StmtKind::kAlloc) c.buffers.push_back({.name = s->buffer->name, .shared = true});
  Counter counter(function, c);
  int64_t step = most_groups > 0 ? std::max<int64_t>(1, c.groups / most_groups) : 1;
  for (int64_t g = 0; g < c.groups && (most_groups <= 0 || c.counted_groups < most_groups);
       g += step, ++c.counted_groups)
    program.run(buffers, dims, g, g + 1, &counter);
  scale(c);
  return c;
}

}  // namespace mlc::kernel
