// Downloads a file into its .part, again and again until it is whole.
#include "hub/fetch_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "base/strings.h"
#include "hub/digest.h"

namespace mlc::hub {
namespace {

constexpr int64_t kMostPauseMs = 30000;

// The growing file. Closed with its owner; never removed.
class Part {
 public:
  // A link or another thing of that name gives way: nothing is written outside of the folder.
  static Result<Part> open(const std::string& path) {
    struct stat info;
    if (::lstat(path.c_str(), &info) == 0 && (!S_ISREG(info.st_mode) || info.st_nlink > 1))
      ::unlink(path.c_str());
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return Status::error(str(path, ": cannot write: ", std::strerror(errno)));
    return Part(fd);
  }
  Part(Part&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Part& operator=(Part&&) = delete;
  ~Part() {
    if (fd_ >= 0) ::close(fd_);
  }
  int64_t size() const {
    struct stat info;
    return ::fstat(fd_, &info) == 0 ? static_cast<int64_t>(info.st_size) : 0;
  }
  bool empty_it() { return ::ftruncate(fd_, 0) == 0; }
  bool write(std::span<const std::byte> bytes, int64_t offset) {
    while (!bytes.empty()) {
      const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      bytes = bytes.subspan(static_cast<size_t>(written)), offset += written;
    }
    return true;
  }

 private:
  explicit Part(int fd) : fd_(fd) {}
  int fd_;
};

std::string unquoted(std::string tag) {
  if (tag.starts_with("W/")) tag = tag.substr(2);
  if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') tag = tag.substr(1, tag.size() - 2);
  return tag;
}

int64_t number_of(const std::string& text) {
  int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : -1;
}

// First byte of "bytes 100-199/200", or -1.
int64_t range_start(const std::string& text) {
  return text.starts_with("bytes ") ? number_of(text.substr(6, text.find('-') - 6)) : -1;
}

// What one attempt found out beside the bytes.
struct Attempt {
  int64_t at = 0;
  std::string error;  // ours: the disk, or more bytes than there should be
};

// One attempt: the bytes that are missing, behind those that are there.
HttpAnswer attempt(HttpClient& client, const FetchPlan& plan, const HubFile& file, Part& part,
                   Attempt& state) {
  const ModelName& name = plan.name;
  const HttpRequest request{.url = file_url(name, plan.revision, file.name),
                            .offset = state.at,
                            .token = name.is_default_hub ? plan.options.token : "",
                            .token_origin = name.endpoint};
  auto begin = [&](int status, const Headers& headers) {
    const bool goes_on = status == 206 && range_start(header(headers, "content-range")) == state.at;
    if (goes_on || state.at == 0) return true;
    if (status != 200) return false;  // a range that nobody asked for
    plan.progress(-state.at);
    state.at = 0;
    return part.empty_it();
  };
  auto data = [&](std::span<const std::byte> bytes) {
    if (plan.stop) return false;
    if (file.size >= 0 && state.at + static_cast<int64_t>(bytes.size()) > file.size)
      return state.error = str("the hub sends more than the ", file.size, " bytes that it stated"), false;
    if (!part.write(bytes, state.at))
      return state.error = str("cannot write to ", plan.folder, ": ", std::strerror(errno),
                               "; what is there is kept, make room and run it again"),
             false;
    state.at += static_cast<int64_t>(bytes.size());
    plan.progress(static_cast<int64_t>(bytes.size()));
    return true;
  };
  return client.get(request, {begin, data});
}

// Size and digest that the hub's own answer states, where its list did not.
Status learn(const FetchPlan& plan, HubFile& file, const HttpAnswer& answer) {
  const std::string linked = unquoted(header(answer.first_headers, "x-linked-etag"));
  const std::string tag = linked.empty() ? unquoted(header(answer.first_headers, "etag")) : linked;
  const bool known = is_sha256(tag) || is_git_name(tag);
  if (file.digest.empty() && known) file.digest = tag;
  if (!linked.empty() && known && linked.size() == file.digest.size() && linked != file.digest)
    return Status::error(str(plan.name.shown, ": ", file.name,
                             ": the hub's list and its answer state different digests; try again later"));
  if (file.size < 0) file.size = number_of(header(answer.first_headers, "x-linked-size"));
  return Status::ok();
}

bool may_pass(const HttpAnswer& answer) {
  using Failure = HttpAnswer::Failure;
  return answer.failure == Failure::kCut || answer.failure == Failure::kUnreachable ||
         (answer.failure == Failure::kNone && (answer.status == 429 || answer.status >= 500));
}

// Until all bytes are there.
Status fetch_bytes(HttpClient& client, const FetchPlan& plan, HubFile& file, Part& part) {
  int failures = 0;
  int64_t furthest = part.size();  // a hub that lets us begin again and again makes no progress
  while (!plan.stop) {
    Attempt state{.at = part.size()};
    if (file.size >= 0 && state.at == file.size && state.at > 0) return Status::ok();
    if (file.size >= 0 && state.at > file.size) {
      plan.progress(-state.at);
      part.empty_it(), state.at = 0;
    }
    HttpAnswer answer = attempt(client, plan, file, part, state);
    if (!state.error.empty()) return Status::error(str(plan.name.shown, ": ", file.name, ": ", state.error));
    const bool good = answer.status == 200 || answer.status == 206;
    if (good) RETURN_IF_ERROR(learn(plan, file, answer));
    const bool arrived = good && answer.failure == HttpAnswer::Failure::kNone;
    if (arrived && file.size < 0) file.size = state.at;
    if (arrived && state.at == file.size) return Status::ok();
    if (plan.stop) break;
    failures = state.at > furthest ? 0 : failures + 1;
    furthest = std::max(furthest, state.at);
    const bool range_refused = answer.failure == HttpAnswer::Failure::kNone && answer.status == 416;
    if (range_refused || answer.failure == HttpAnswer::Failure::kStopped) {
      plan.progress(-part.size());
      part.empty_it();
    } else if (!arrived && !may_pass(answer)) {
      return refusal(plan.name, file.name, answer, !plan.options.token.empty());
    }
    if (failures > plan.options.most_failures) {
      if (!arrived) return refusal(plan.name, file.name, answer, !plan.options.token.empty());
      return Status::error(str(plan.name.shown, ": ", file.name, ": the hub ends after ", state.at, " of ",
                               file.size, " bytes; try again later"));
    }
    if (failures > 0) {
      const int64_t pause = static_cast<int64_t>(plan.options.pause_ms) << std::min(failures - 1, 10);
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(pause, kMostPauseMs)));
    }
  }
  return Status::error(str(plan.name.shown, ": ", file.name, ": stopped"));
}

}  // namespace

std::string file_url(const ModelName& name, const std::string& revision, const std::string& file) {
  std::string escaped;
  for (unsigned char c : file) {
    if (std::isalnum(c) || std::strchr("-._~/", c)) {
      escaped += static_cast<char>(c);
    } else {
      for (char part : {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]}) escaped += part;
    }
  }
  return str(name.endpoint, "/", name.repo, "/resolve/", revision, "/", escaped);
}

int64_t bytes_there(const std::string& folder, const HubFile& file) {
  struct stat info;
  const std::string path = path_join(folder, file.local_name()) + ".part";
  const bool regular = ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  return regular ? static_cast<int64_t>(info.st_size) : 0;
}

Status fetch_file(HttpClient& client, const FetchPlan& plan, HubFile& file) {
  const std::string path = path_join(plan.folder, file.local_name()), part_path = path + ".part";
  // A second time where the part that was there already is to blame.
  for (bool resumed = bytes_there(plan.folder, file) > 0;; resumed = false) {
    ASSIGN_OR_RETURN(Part part, Part::open(part_path));
    RETURN_IF_ERROR(fetch_bytes(client, plan, file, part));
    if (file.digest.empty()) {
      if (plan.options.say)
        plan.options.say(str("note: ", plan.name.shown, ": ", file.name,
                             ": the hub states no digest, only the size was checked"));
      break;
    }
    ASSIGN_OR_RETURN(const std::string digest, file_digest(part_path, file.digest));
    if (digest == file.digest) break;
    plan.progress(-part.size());
    ::unlink(part_path.c_str());
    if (!resumed)
      return Status::error(str(plan.name.shown, ": ", file.name, ": its digest is ", digest,
                               ", the hub stated ", file.digest, "; the file is thrown away, try again"));
  }
  if (::rename(part_path.c_str(), path.c_str()) != 0)
    return Status::error(str(path, ": cannot replace: ", std::strerror(errno)));
  return Status::ok();
}

Status refusal(const ModelName& name, const std::string& what, const HttpAnswer& answer, bool with_token) {
  const std::string subject = name.shown + (what.empty() ? "" : ": " + what);
  using Failure = HttpAnswer::Failure;
  if (answer.failure == Failure::kUnreachable)
    return Status::error(str(subject, ": cannot reach ", name.endpoint, ": ", answer.why,
                             "; check the network, or set HF_ENDPOINT to a mirror"));
  if (answer.failure != Failure::kNone) return Status::error(str(subject, ": ", answer.why));
  const std::string code = header(answer.first_headers, "x-error-code");
  if (answer.status == 401 || answer.status == 403) {
    const std::string page = str(name.endpoint, "/", name.repo);
    if (!name.is_default_hub)
      return Status::error(str(subject, ": ", name.endpoint, " answers ", answer.status,
                               "; set HF_ENDPOINT to this hub and HF_TOKEN to a token of it"));
    if (with_token)
      return Status::error(str(subject, ": the hub answers ", answer.status,
                               ": the token in HF_TOKEN may not read this model; accept its terms at ",
                               page));
    return Status::error(str(subject, ": the hub answers ", answer.status,
                             ": there is no such model, or it is gated or private; accept its terms at ",
                             page, " and set HF_TOKEN to a token that may read it"));
  }
  if (answer.status == 404)
    return Status::error(str(subject, ": ", name.endpoint, " has ",
                             code == "RevisionNotFound" ? "no revision " + name.revision + " of it"
                             : what.empty()             ? "no such model"
                                                        : "no such file",
                             " (404); check the name"));
  return Status::error(str(subject, ": ", name.endpoint, " answers ", answer.status, "; try again later"));
}

}  // namespace mlc::hub
