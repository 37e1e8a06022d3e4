// The files of a GGUF model: one, or the parts that llama-gguf-split makes of it.
//
// Each part has split.no (from 0) and split.count, part 0 all other metadata and split.tensors.count, the
// tensors of all parts together; the names are NAME-00001-of-00003.gguf.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "formats/gguf.h"

namespace mlc {

struct GgufPart {
  std::string path;
  std::shared_ptr<const MappedFile> map;  // keeps what `gguf` views
  Gguf gguf;
};

// `path` is the file or any part. The others are looked for under the names that splitting gives, or, where
// the file was renamed, under any names in its folder. Errors name the part that is missing, or two that do
// not belong together.
Result<std::vector<GgufPart>> read_gguf_parts(const std::string& path);

}  // namespace mlc
