// One file of a repository: downloaded, resumed, checked.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "hub/download.h"
#include "hub/file_list.h"
#include "hub/http.h"
#include "hub/model_name.h"

namespace mlc::hub {

struct FetchPlan {
  const ModelName& name;
  const std::string& folder;
  const std::string& revision;  // the commit where the hub says it, so that all files are of one state
  const DownloadOptions& options;
  const std::atomic<bool>& stop;                 // another file has failed
  const std::function<void(int64_t)>& progress;  // bytes received; below 0: they are thrown away
};

// "https://hub/user/repo/resolve/main/file", its bytes escaped as an address wants it.
std::string file_url(const ModelName& name, const std::string& revision, const std::string& file);

// How many bytes of the file are there already, in its .part.
int64_t bytes_there(const std::string& folder, const HubFile& file);

// Fills in size and digest where only the answer's head says them. Errors start with the name.
Status fetch_file(HttpClient& client, const FetchPlan& plan, HubFile& file);

// The sentence for an answer that is no success.
Status refusal(const ModelName& name, const std::string& what, const HttpAnswer& answer, bool with_token);

}  // namespace mlc::hub
