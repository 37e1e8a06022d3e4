// Brings a model from a hub into a folder, whole or not at all.
//
// Each file grows as <name>.part, which a later call goes on with, and gets its name when its size and digest
// are what the hub stated. When all are there, .mlc-download.json says so: then no network is asked again.
//   {"repo", "revision", "commit", "need": "config" | "model", "files": [{"name", "size", "digest"}]}
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "hub/file_list.h"
#include "hub/model_name.h"

namespace mlc::hub {

struct DownloadOptions {
  Need need = Need::kModel;
  std::string policy = "ON";                         // MLC_DOWNLOAD_CACHE_POLICY
  std::string token;                                 // for the default hub; "": none
  int threads = 4;                                   // files at once
  int most_failures = 5;                             // of one file in a row, without a byte in between
  int pause_ms = 1000;                               // after the first of them; doubled each time
  std::function<void(const std::string& line)> say;  // what is begun, and notes; from any thread
};

// What is there is kept where its digest fits. Returns the folder, or the file in it where `name` means one.
// Errors: one sentence that starts with the name: policy, network, permission, disk, digest.
Result<std::string> download_model(const ModelName& name, const std::string& folder,
                                   const DownloadOptions& options);

}  // namespace mlc::hub
