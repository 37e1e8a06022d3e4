// Static libraries: objects in a tar archive.
#include <cstdio>
#include <cstring>

#include "link/image.h"
#include "link/link.h"

namespace mlc::link {
namespace {

constexpr size_t kBlock = 512;

// The header of a file in a POSIX ustar archive: octal numbers as text at fixed places, unset fields zero.
struct UstarHeader {
  char name[100], mode[8], user[8], group[8], size[12], time[12], checksum[8], type, link[100];
  char magic[6], version[2], user_name[32], group_name[32], major[8], minor[8], prefix[155], padding[12];
};
static_assert(sizeof(UstarHeader) == kBlock);

void add_member(std::string& archive, const std::string& name, const std::string& bytes) {
  UstarHeader header{};
  internal_check(name.size() < sizeof header.name, "tar: a member's name is too long");
  std::memcpy(header.name, name.c_str(), name.size());
  std::snprintf(header.mode, sizeof header.mode, "%07o", 0644u);
  std::snprintf(header.user, sizeof header.user, "%07o", 0u);
  std::snprintf(header.group, sizeof header.group, "%07o", 0u);
  std::snprintf(header.size, sizeof header.size, "%011llo", static_cast<unsigned long long>(bytes.size()));
  std::snprintf(header.time, sizeof header.time, "%011o", 0u);
  header.type = '0';
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
  // The checksum is the sum of the header's bytes, its own field counted as spaces.
  std::memset(header.checksum, ' ', sizeof header.checksum);
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += reinterpret_cast<const unsigned char*>(&header)[i];
  std::snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
  archive.append(reinterpret_cast<const char*>(&header), kBlock);
  archive += bytes;
  archive.append((kBlock - bytes.size() % kBlock) % kBlock, '\0');
}

}  // namespace

Result<std::string> link_tar(const LinkInput& input) {
  ASSIGN_OR_RETURN(auto members, archive_members(input));
  std::string archive;
  for (const auto& [name, bytes] : members) add_member(archive, name, bytes);
  archive.append(2 * kBlock, '\0');
  return archive;
}

}  // namespace mlc::link
