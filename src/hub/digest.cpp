// Digests through libmd.
#include "hub/digest.h"

#include <sha.h>
#include <sha2.h>

#include <vector>

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::hub {
namespace {

constexpr size_t kPieceBytes = 1 << 18;  // read at once: small, and large enough for the disk

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Feeds the whole file to `update`.
template <typename Update>
Status read_pieces(const std::string& path, platform::File file, const Update& update) {
  std::vector<std::byte> piece(kPieceBytes);
  while (true) {
    const int64_t got = platform::read_bytes(file, piece);
    if (got < 0) return Status::error(str(path, ": cannot read: ", platform::last_error()));
    if (got == 0) return Status::ok();
    update(reinterpret_cast<const uint8_t*>(piece.data()), static_cast<size_t>(got));
  }
}

std::string hex(const uint8_t* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    for (int shift : {4, 0}) text += "0123456789abcdef"[bytes[i] >> shift & 15];
  return text;
}

Result<std::string> sha256(const std::string& path, platform::File file) {
  SHA2_CTX context;
  SHA256Init(&context);
  RETURN_IF_ERROR(
      read_pieces(path, file, [&](const uint8_t* at, size_t size) { SHA256Update(&context, at, size); }));
  uint8_t digest[SHA256_DIGEST_LENGTH];
  SHA256Final(digest, &context);
  return hex(digest, sizeof digest);
}

Result<std::string> git_name(const std::string& path, platform::File file) {
  const std::string head = str("blob ", platform::file_state(file).bytes);
  SHA1_CTX context;
  SHA1Init(&context);
  SHA1Update(&context, reinterpret_cast<const uint8_t*>(head.c_str()),
             head.size() + 1);  // with its zero byte
  RETURN_IF_ERROR(
      read_pieces(path, file, [&](const uint8_t* at, size_t size) { SHA1Update(&context, at, size); }));
  uint8_t digest[SHA1_DIGEST_LENGTH];
  SHA1Final(digest, &context);
  return hex(digest, sizeof digest);
}

}  // namespace

bool is_sha256(std::string_view text) { return is_hex(text, 64); }
bool is_git_name(std::string_view text) { return is_hex(text, 40); }

Result<std::string> file_digest(const std::string& path, std::string_view like) {
  const platform::File file = platform::open_file(path, platform::Access::kRead);
  if (file == platform::kNoFile) return Status::error(str(path, ": cannot read: ", platform::last_error()));
  Result<std::string> digest = is_sha256(like) ? sha256(path, file) : git_name(path, file);
  platform::close_file(file);
  return digest;
}

}  // namespace mlc::hub
