// The journal of a conversion: appended line by line, read at the next start.
#include "weights/journal.h"

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "formats/md5.h"
#include "weights/convert.h"

namespace mlc::weights {

std::string conversion_fingerprint(const Plan& plan, const Checkpoint& checkpoint) {
  std::string text = str("1 ", plan.scheme.name, "\n", shard_index_text(plan.index));
  std::vector<std::string> files = checkpoint.files();
  if (const LoraAdapter* adapter = checkpoint.merged_adapter())
    files.insert(files.end(), adapter->files.begin(), adapter->files.end());
  for (const std::string& file : files) {
    platform::FileState info = platform::file_state(file);
    text += str(file, " ", info.bytes, " ", info.modified_seconds, ".", info.modified_nanoseconds, "\n");
  }
  return md5(std::as_bytes(std::span(text)));
}

Result<std::unique_ptr<Journal>> Journal::open(const std::string& folder, const std::string& fingerprint,
                                               const Plan& plan) {
  std::string path = path_join(folder, kJournalFile);
  std::vector<std::string> lines;
  if (file_exists(path)) {
    ASSIGN_OR_RETURN(std::string text, read_file(path));
    if (text.ends_with('\n')) text.pop_back();
    lines = split(text, '\n');
  }
  bool same = !lines.empty() && lines[0] == fingerprint;
  if (!same) platform::remove_file(path.c_str());
  platform::File file = platform::open_file(path, platform::Access::kAppend);
  if (file == platform::kNoFile) return Status::error(str(path, ": cannot write: ", platform::last_error()));
  std::unique_ptr<Journal> journal(new Journal(path, file));
  if (!same) {
    RETURN_IF_ERROR(journal->append(fingerprint));
    return journal;
  }
  std::set<std::string> listed(lines.begin() + 1, lines.end());
  for (const ShardRecord& shard : plan.index.shards) {
    std::string file = path_join(folder, shard.file);
    if (!listed.contains(shard.file) || !file_exists(file)) continue;
    ASSIGN_OR_RETURN(int64_t size, file_size(file));
    if (size == shard.size) journal->finished_.insert(shard.file);
  }
  return journal;
}

Journal::~Journal() { platform::close_file(file_); }

Status Journal::append(const std::string& line) {
  std::string text = line + "\n";
  std::lock_guard lock(writing_);
  if (platform::write_bytes(file_, std::as_bytes(std::span(text))) != static_cast<int64_t>(text.size()))
    return Status::error(str(path_, ": cannot write: ", platform::last_error()));
  return Status::ok();
}

Status Journal::add(const std::string& shard_file) { return append(shard_file); }

void Journal::remove() { platform::remove_file(path_.c_str()); }

}  // namespace mlc::weights
