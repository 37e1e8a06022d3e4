// Op cases run together: for each target one library with the kernels of all cases, loaded or emulated once,
// beside the kernel interpreter. Tests of ops derive from OpTest and add cases; they run when the test ends.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/interpret.h"
#include "kernel/print.h"
#include "support/native_kernels.h"
#include "support/op_case.h"

namespace mlc::testing {

class OpBatch {
 public:
  OpCase& add(const std::string& label, std::map<std::string, int64_t> dims) {
    return cases_.emplace_back(label, std::move(dims)).op;
  }
  bool empty() const { return cases_.empty(); }

  // Runs every case on the interpreter and as machine code of every target that can run here; one sentence
  // per case that disagrees.
  std::vector<std::string> disagreements(const std::vector<Target>& targets) {
    std::vector<std::string> found;
    for (const Target& target : targets) {
      std::vector<kernel::Function> kernels;
      std::map<std::string, uint64_t> index;  // of a kernel's text
      std::vector<KernelCall> calls;
      for (Entry& entry : cases_) {
        kernel::Function f = entry.op.lower(target);
        std::string text = kernel::print(f);
        if (entry.interpreted.insert(text).second)
          report(found, entry, target, "interpreted", interpret(entry.op, f));
        auto [at, added] = index.emplace(std::move(text), kernels.size());
        calls.push_back({.kernel = at->second,
                         .tiles = entry.op.tiles(f),
                         .dims = entry.op.dims(f),
                         .buffers = entry.op.memory()});
        f.name += std::to_string(kernels.size());
        if (added) kernels.push_back(std::move(f));
      }
      bool elsewhere = target.triple.rfind(host_architecture(), 0) != 0;  // in an emulator, which can run all
      if (!elsewhere && !missing_cpu_feature(target.required).empty()) continue;
      NativeKernels(kernels, target).run_calls(calls);
      for (size_t i = 0; i < calls.size(); ++i)
        report(found, cases_[i], target, "compiled", calls[i].buffers);
    }
    return found;
  }

  // What a kernel of the case leaves in memory, by the interpreter; buffers get `padding` bytes of 0xFF
  // behind them.
  static std::vector<Bytes> interpret(const OpCase& op, const kernel::Function& f) {
    std::vector<Bytes> memory = op.memory();
    std::vector<kernel::HostBuffer> buffers;
    for (Bytes& b : memory) buffers.push_back({b.data(), static_cast<int64_t>(b.size())});
    kernel::interpret(f, buffers, op.dims(f));
    return memory;
  }

 private:
  struct Entry {
    Entry(std::string text, std::map<std::string, int64_t> dims)
        : label(std::move(text)), op(std::move(dims)) {}
    std::string label;
    OpCase op;
    std::set<std::string> interpreted;  // texts of kernels that ran: targets often share one
  };

  static void report(std::vector<std::string>& found, Entry& entry, const Target& target, const char* how,
                     const std::vector<Bytes>& memory) {
    std::string difference = entry.op.difference(memory);
    if (!difference.empty())
      found.push_back(str(entry.label, " on ", target.name, ", ", how, ": ", difference));
  }

  std::deque<Entry> cases_;  // a case's graph points into it
};

class OpTest : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_FALSE(batch.empty()) << "the test added no case";
    for (const std::string& d : batch.disagreements(targets())) ADD_FAILURE() << d;
  }
  virtual std::vector<Target> targets() const { return testable_targets(); }

  OpBatch batch;
};

}  // namespace mlc::testing
