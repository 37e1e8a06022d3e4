// Streams a checkpoint into a folder of shards: blocks of rows are read, rounded, packed and written by any
// thread, each to its place in its shard, so the files are the same for any number of threads.
//
// Memory: the mapped source of the tensors in work, and some megabytes a thread. Shards appear under their
// names only when complete, the index last; a journal (kJournalFile) lets a later run of the same conversion
// keep finished shards.
#pragma once

#include <functional>
#include <string>

#include "weights/block.h"
#include "weights/plan.h"

namespace mlc::weights {

constexpr const char* kJournalFile = "convert_weight.journal";

struct ConvertOptions {
  int threads = 1;
  // Called with bytes written since the last call, from any thread; may be empty.
  std::function<void(int64_t)> progress;
  // Chooses the codes of what is packed instead of formats/quant/group.h; nullptr: none does. `choice` tells
  // it and what it was made of from others: shards of another choice are not kept.
  const RowQuantizer* quantizer = nullptr;
  std::string choice = {};
};

struct ConvertResult {
  int kept_shards = 0;             // finished by an earlier run
  std::vector<std::string> notes;  // on values that are no finite numbers, in what this run read
};

// Writes the plan's shards and indices into `folder` (created), md5 sums included. Errors name the file.
Result<ConvertResult> convert(Plan& plan, const Checkpoint& checkpoint, const std::string& folder,
                              const ConvertOptions& options);

}  // namespace mlc::weights
