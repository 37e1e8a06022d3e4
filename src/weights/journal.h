// The note an interrupted conversion leaves beside its shards: which of them are finished, and of what
// conversion.
//
// Layout: line 1 the fingerprint of the conversion, then one line per finished shard: its file name.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/platform/platform.h"
#include "base/status.h"
#include "weights/plan.h"

namespace mlc::weights {

// Changes whenever any byte of the result may: the index (without md5) and the name, size and time of each
// source file, those of a merged adapter included.
std::string conversion_fingerprint(const Plan& plan, const Checkpoint& checkpoint);

class Journal {
 public:
  // Opens the journal in `folder`. finished() lists its shards if it is of this conversion and they still
  // have their sizes; a journal of another conversion is replaced.
  static Result<std::unique_ptr<Journal>> open(const std::string& folder, const std::string& fingerprint,
                                               const Plan& plan);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  const std::set<std::string>& finished() const { return finished_; }
  // Adds a shard whose file is complete under its name. Any thread.
  Status add(const std::string& shard_file);
  // Deletes the journal: the conversion is complete.
  void remove();

 private:
  Journal(std::string path, platform::File file) : path_(std::move(path)), file_(file) {}
  Status append(const std::string& line);
  std::string path_;
  platform::File file_;
  std::set<std::string> finished_;
  std::mutex writing_;
};

}  // namespace mlc::weights
