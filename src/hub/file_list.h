// What a hub says of a repository's files, and which of them a model needs.
//
// The list is the answer to GET <endpoint>/api/models/<repo>/revision/<revision>?blobs=true:
//   {"sha": commit, "siblings": [{"rfilename": name, "size": bytes, "blobId": git name,
//                                 "lfs": {"sha256": digest, "size": bytes}}]}
// where size, blobId and lfs may be absent (mirrors), and lfs is there for large files alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace mlc::hub {

struct HubFile {
  std::string name;    // in the repository, with slashes
  int64_t size = -1;   // bytes; -1: not said
  std::string digest;  // SHA-256 or git name (digest.h); "": not said

  // Where it lies in the folder: never in a folder of its own.
  std::string local_name() const { return name.substr(name.rfind('/') + 1); }
};

struct FileList {
  std::string commit;  // 40 hex digits, or "" where the hub says none
  std::vector<HubFile> files;
};

// Whether a file of that name may be written: no absolute path, no "..", no backslash, colon or control byte,
// no part longer than 255 bytes. Errors start with `what`.
Status check_file_name(const std::string& name, const std::string& what);

// Every name is checked. Errors start with `what`.
Result<FileList> parse_file_list(std::string_view text, const std::string& what);

// How much of a model is wanted.
enum class Need {
  kConfig,  // configs and tokenizers
  kModel,   // the weights too
};

// The files to fetch. `file`: one that is meant (all parts of it, where it is one of several). Without it, of
// kModel: shards of the MLC format, else safetensors, else PyTorch files, else the only GGUF model. Errors
// start with `what`: no model, or several to choose from.
Result<std::vector<HubFile>> choose_files(const FileList& list, Need need, const std::string& file,
                                          const std::string& what);

}  // namespace mlc::hub
