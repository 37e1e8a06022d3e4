// The journal of a conversion: appended line by line, read at the next start.
#include "weights/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"
#include "formats/md5.h"
#include "weights/convert.h"

namespace mlc::weights {

std::string conversion_fingerprint(const Plan& plan, const Checkpoint& checkpoint) {
  std::string text = str("1 ", plan.scheme.name, "\n", shard_index_text(plan.index));
  for (const std::string& file : checkpoint.files()) {
    struct stat info{};
    ::stat(file.c_str(), &info);
    text += str(file, " ", info.st_size, " ", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, "\n");
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
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (same ? 0 : O_TRUNC), 0644);
  if (fd < 0) return Status::error(str(path, ": cannot write: ", std::strerror(errno)));
  std::unique_ptr<Journal> journal(new Journal(path, fd));
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

Journal::~Journal() { ::close(fd_); }

Status Journal::append(const std::string& line) {
  std::string text = line + "\n";
  std::lock_guard lock(writing_);
  if (::write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Status::error(str(path_, ": cannot write: ", std::strerror(errno)));
  return Status::ok();
}

Status Journal::add(const std::string& shard_file) { return append(shard_file); }

void Journal::remove() { ::unlink(path_.c_str()); }

}  // namespace mlc::weights
