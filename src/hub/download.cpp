// Folders of models: what is there, what is missing, several files at once.
#include "hub/download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/strings.h"
#include "hub/digest.h"
#include "hub/fetch_file.h"

namespace mlc::hub {
namespace {

constexpr const char* kRecord = ".mlc-download.json";
constexpr const char* kLock = ".mlc-download.lock";
constexpr size_t kMostListBytes = 64 << 20;  // of the hub's list of files

using Files = std::vector<HubFile>;

// Only one process works on a folder; the others wait and then find it done.
class FolderLock {
 public:
  FolderLock(const std::string& folder, const DownloadOptions& options, const std::string& shown)
      : fd_(::open(path_join(folder, kLock).c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
    if (options.say) options.say(shown + ": waiting for another process that downloads it");
    ::flock(fd_, LOCK_EX);
  }
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_;
};

std::string result_path(const ModelName& name, const std::string& folder) {
  return name.file.empty() ? folder
                           : path_join(folder, HubFile{.name = name.file, .digest = {}}.local_name());
}

// Of the whole download: a file that was meant is one of it.
std::string key_of(const ModelName& name) { return name.file.empty() ? "model" : "file " + name.file; }

bool has_files(const std::string& folder, const Json& files) {
  for (const Json& entry : files) {
    const std::string file = find_string(entry, "name").value_or("");
    const auto size = file_size(path_join(folder, HubFile{.name = file, .digest = {}}.local_name()));
    if (file.empty() || !size.is_ok() || *size != find_int(entry, "size").value_or(-1)) return false;
  }
  return !files.empty();
}

Json read_record(const std::string& folder) {
  auto record = read_json_file(path_join(folder, kRecord));
  return record.is_ok() && record->is_object() ? *record : Json::object();
}

// Whether an earlier call has brought all that is needed, and it is still there.
bool is_complete(const ModelName& name, const std::string& folder, Need need) {
  const Json record = read_record(folder);
  const Json* done = find(record, key_of(name));
  if (!done || find_string(*done, "repo").value_or("") != name.repo ||
      find_string(*done, "revision").value_or("") != name.revision)
    return false;
  const bool enough = need == Need::kConfig || find_string(*done, "need").value_or("") == "model";
  const Json* files = find(*done, "files");
  return enough && files && files->is_array() && has_files(folder, *files);
}

Status write_record(const ModelName& name, const std::string& folder, Need need, const std::string& commit,
                    const Files& files) {
  Json entries = Json::array();
  for (const HubFile& f : files)
    entries.push_back({{"name", f.name}, {"size", f.size}, {"digest", f.digest}});
  Json record = read_record(folder);
  record[key_of(name)] = {{"repo", name.repo},
                          {"revision", name.revision},
                          {"commit", commit},
                          {"need", need == Need::kModel ? "model" : "config"},
                          {"files", entries}};
  return write_file(path_join(folder, kRecord), json_text(record, 2) + "\n");
}

Result<FileList> ask_for_list(HttpClient& client, const ModelName& name, const DownloadOptions& options) {
  std::string revision = name.revision, text;
  for (size_t at; (at = revision.find('/')) != std::string::npos;) revision.replace(at, 1, "%2F");
  const HttpRequest request{
      .url = str(name.endpoint, "/api/models/", name.repo, "/revision/", revision, "?blobs=true"),
      .token = name.is_default_hub ? options.token : "",
      .token_origin = name.endpoint};
  const HttpAnswer answer =
      client.get(request, {[](int, const Headers&) { return true; },
                           [&](std::span<const std::byte> bytes) {
                             text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                             return text.size() <= kMostListBytes;
                           }});
  if (answer.failure == HttpAnswer::Failure::kStopped)
    return Status::error(
        str(name.shown, ": the hub's list of files is larger than ", kMostListBytes, " bytes"));
  if (answer.failure != HttpAnswer::Failure::kNone || answer.status != 200)
    return refusal(name, "", answer, !options.token.empty());
  return parse_file_list(text, name.shown);
}

// The files that are missing; those that are there are known by their digest.
Result<Files> missing_files(const Files& wanted, const std::string& folder) {
  Files missing;
  for (const HubFile& file : wanted) {
    const std::string path = path_join(folder, file.local_name());
    if (is_directory(path))
      return Status::error(str(path, ": is a folder where a file of the model belongs; remove it"));
    const auto size = file_size(path);
    const bool may_be = size.is_ok() && *size == file.size && !file.digest.empty();
    const auto digest = may_be ? file_digest(path, file.digest) : Result<std::string>(std::string());
    if (!may_be || !digest.is_ok() || *digest != file.digest) missing.push_back(file);
  }
  return missing;
}

Status check_space(const ModelName& name, const std::string& folder, int64_t bytes) {
  std::error_code code;
  const auto space = std::filesystem::space(folder, code);
  if (code || static_cast<uint64_t>(bytes) <= space.available) return Status::ok();
  return Status::error(str(name.shown, ": ", human_bytes(static_cast<double>(bytes)), " are to come, and ",
                           folder, " has room for ", human_bytes(static_cast<double>(space.available)),
                           "; make room, or set MLC_LLM_HOME to another disk"));
}

// Several at once, the largest first. The first error ends all.
Status fetch_all(const ModelName& name, const std::string& folder, const std::string& revision, Files& files,
                 const DownloadOptions& options) {
  int64_t bytes = 0;
  for (const HubFile& f : files)
    bytes += std::max<int64_t>(f.size, 0) - std::min(bytes_there(folder, f), std::max<int64_t>(f.size, 0));
  RETURN_IF_ERROR(check_space(name, folder, bytes));
  if (options.say)
    options.say(str(name.shown, ": downloading ", files.size(), files.size() == 1 ? " file, " : " files, ",
                    human_bytes(static_cast<double>(bytes)), " (kept in ", folder, ")"));
  std::sort(files.begin(), files.end(), [](const HubFile& a, const HubFile& b) { return a.size > b.size; });
  Progress bar("downloading", bytes);
  const std::function<void(int64_t)> progress = [&](int64_t more) { bar.add(more); };
  std::atomic<bool> stop = false;
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status failed = Status::ok();
  const FetchPlan plan{name, folder, revision, options, stop, progress};
  auto work = [&] {
    auto client = HttpClient::create();
    Status status = client.status();
    for (size_t i; status.is_ok() && !stop && (i = next++) < files.size();)
      status = fetch_file(**client, plan, files[i]);
    std::lock_guard lock(mutex);
    if (!status.is_ok() && !stop.exchange(true)) failed = status;
  };
  std::vector<std::thread> threads;
  const size_t count = std::clamp<size_t>(files.size(), 1, static_cast<size_t>(std::max(options.threads, 1)));
  for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  return failed;
}

Result<std::string> download(const ModelName& name, const std::string& folder,
                             const DownloadOptions& options) {
  ASSIGN_OR_RETURN(auto client, HttpClient::create());
  ASSIGN_OR_RETURN(const FileList list, ask_for_list(*client, name, options));
  ASSIGN_OR_RETURN(Files wanted, choose_files(list, options.need, name.file, name.shown));
  RETURN_IF_ERROR(make_directories(folder));
  const FolderLock lock(folder, options, name.shown);
  if (options.policy != "REDO" && is_complete(name, folder, options.need)) return result_path(name, folder);
  ASSIGN_OR_RETURN(Files missing, missing_files(wanted, folder));
  if (!missing.empty())
    RETURN_IF_ERROR(
        fetch_all(name, folder, list.commit.empty() ? name.revision : list.commit, missing, options));
  for (HubFile& file : wanted)  // what only the answers told
    for (const HubFile& fetched : missing)
      if (fetched.name == file.name) file = fetched;
  RETURN_IF_ERROR(write_record(name, folder, options.need, list.commit, wanted));
  return result_path(name, folder);
}

}  // namespace

Result<std::string> download_model(const ModelName& name, const std::string& folder,
                                   const DownloadOptions& options) {
  const std::vector<std::string> known = {"ON", "OFF", "READONLY", "REDO"};
  const std::string& policy = options.policy;
  if (std::find(known.begin(), known.end(), policy) == known.end())
    return Status::error(str("MLC_DOWNLOAD_CACHE_POLICY: found '", policy,
                             "', expected ON, OFF, REDO or READONLY", did_you_mean(policy, known)));
  if (policy == "OFF")
    return Status::error(
        str(name.shown, ": MLC_DOWNLOAD_CACHE_POLICY is OFF, so nothing is downloaded; give a folder"));
  if (policy != "REDO" && is_complete(name, folder, options.need)) return result_path(name, folder);
  if (policy == "READONLY")
    return Status::error(str(name.shown, ": MLC_DOWNLOAD_CACHE_POLICY is READONLY and ", folder,
                             " does not hold the model whole; unset it to download"));
  return download(name, folder, options);
}

}  // namespace mlc::hub
