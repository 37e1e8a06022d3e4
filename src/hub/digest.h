// The two digests that a model hub states for a file: SHA-256 of what is kept outside of git (LFS), and git's
// own name of a blob.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc::hub {

// What kind of digest a text is, by its length: 64 hex digits or 40.
bool is_sha256(std::string_view text);
bool is_git_name(std::string_view text);

// Of a file on disk, in the kind of `like` (one of the two above): lower-case hex digits. A git name is the
// SHA-1 of "blob <size>", a zero byte and the content. Errors: the file cannot be read.
Result<std::string> file_digest(const std::string& path, std::string_view like);

}  // namespace mlc::hub
