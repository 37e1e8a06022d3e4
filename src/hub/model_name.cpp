// Reads names and addresses of models.
#include "hub/model_name.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"
#include "hub/file_list.h"

namespace mlc::hub {
namespace {

constexpr const char* kHuggingFace = "https://huggingface.co";
constexpr size_t kMostNameBytes = 96;  // of a user, a repository or a revision, as on the hub

bool has_prefix(const std::string& text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

bool is_word(const std::string& text, std::string_view more = "") {
  const bool known = std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-' ||
           more.find(static_cast<char>(c)) != more.npos;
  });
  return known && !text.empty() && text.size() <= kMostNameBytes && text[0] != '.' &&
         text.find("..") == std::string::npos;
}

Status refuse(const std::string& text, const std::string& found) {
  return Status::error(
      str(text, ": found '", found,
          "', expected HF://user/repo, HF://user/repo@revision, HF://user/repo/file.gguf or the "
          "address of a model's page"));
}

std::string without_slashes(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

// Takes the first part of a path off it.
std::string take(std::string& path) {
  const size_t slash = path.find('/');
  std::string part = path.substr(0, slash);
  path = slash == std::string::npos ? "" : path.substr(slash + 1);
  return part;
}

Status set_repo(ModelName& name, const std::string& user, const std::string& repo) {
  if (!is_word(user) || (!repo.empty() && !is_word(repo)))
    return refuse(name.shown, repo.empty() ? user : user + "/" + repo);
  name.repo = repo.empty() ? user : user + "/" + repo;
  return Status::ok();
}

// user/repo[@revision][/file]
Status parse_short(ModelName& name, std::string rest) {
  const std::string user = take(rest), repo = take(rest);
  const std::string& last = repo.empty() ? user : repo;
  const size_t at = last.find('@');
  if (at != std::string::npos) name.revision = last.substr(at + 1);
  name.file = rest;
  const std::string plain = last.substr(0, at);
  return repo.empty() ? set_repo(name, plain, "") : set_repo(name, user, plain);
}

// user/repo[/tree/revision | /resolve/revision/file | /blob/revision/file]
Status parse_page(ModelName& name, std::string rest) {
  rest = without_slashes(rest.substr(0, rest.find_first_of("?#")));
  const std::string user = take(rest);
  std::string repo = take(rest);
  if (repo.ends_with(".git")) repo.resize(repo.size() - 4);
  RETURN_IF_ERROR(set_repo(name, user, repo));
  if (rest.empty()) return Status::ok();
  const std::string kind = take(rest);
  const bool one_file = kind == "resolve" || kind == "blob";
  if (kind != "tree" && !one_file) return refuse(name.shown, kind);
  name.revision = one_file ? take(rest) : rest;
  if (one_file) name.file = rest;
  return one_file && rest.empty() ? refuse(name.shown, name.revision) : Status::ok();
}

// The host with its port, or "" where the address is none.
std::string host_of(const std::string& endpoint) {
  const size_t start = endpoint.find("://");
  const std::string host = start == std::string::npos ? "" : endpoint.substr(start + 3);
  const bool known = std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-' || c == ':' || c == '/';
  });
  return known ? host : "";
}

std::string cache_of(const ModelName& name, bool short_name) {
  std::string host = host_of(name.endpoint);
  std::replace(host.begin(), host.end(), ':', '_');
  std::string revision = name.revision;
  for (size_t at; (at = revision.find('/')) != std::string::npos;) revision.replace(at, 1, "%2F");
  return str(short_name ? "hf" : "hub/" + host, "/", name.repo,
             name.revision == "main" ? "" : "@" + revision);
}

}  // namespace

bool is_model_name(const std::string& text) {
  return has_prefix(text, "hf://") || has_prefix(text, "http://") || has_prefix(text, "https://");
}

Result<ModelName> parse_model_name(const std::string& text, const std::string& endpoint) {
  ModelName name{.shown = text, .endpoint = without_slashes(endpoint)};
  if (!has_prefix(name.endpoint, "http://") && !has_prefix(name.endpoint, "https://"))
    return Status::error(
        str("HF_ENDPOINT: found '", endpoint, "', expected an address such as ", kHuggingFace));
  if (host_of(name.endpoint).empty())
    return Status::error(str("HF_ENDPOINT: found '", endpoint, "', expected a host's name and port alone"));
  bool is_short = has_prefix(text, "hf://");
  if (is_short) {
    RETURN_IF_ERROR(parse_short(name, without_slashes(text.substr(5))));
  } else {
    const size_t slash = text.find('/', text.find("://") + 3);
    const std::string origin = text.substr(0, slash);
    if (slash == std::string::npos) return refuse(text, origin);
    std::string rest = text.substr(slash + 1);
    is_short = origin == kHuggingFace;
    // A mirror may lie in a folder of its host.
    if (text.starts_with(name.endpoint + "/")) {
      rest = text.substr(name.endpoint.size() + 1), is_short = true;
    } else if (!is_short) {
      name.endpoint = origin, name.is_default_hub = false;
      if (host_of(origin).empty()) return refuse(text, origin);
    }
    RETURN_IF_ERROR(parse_page(name, rest));
  }
  if (!is_word(name.revision, "/") || name.revision.ends_with('/')) return refuse(text, name.revision);
  if (!name.file.empty()) RETURN_IF_ERROR(check_file_name(name.file, text));
  name.cache = cache_of(name, is_short);
  return name;
}

}  // namespace mlc::hub
