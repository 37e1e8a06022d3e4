// MD5 against the test suite of RFC 1321 and against itself: many files at once equal one at a time.
#include "formats/md5.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

std::string of(std::string_view text) { return md5(std::as_bytes(std::span(text))); }

TEST(Md5, MatchesTheRfc) {
  EXPECT_EQ(of(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(of("a"), "0cc175b9c0f1b6a831c399e269772661");
  EXPECT_EQ(of("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
  EXPECT_EQ(of("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
  EXPECT_EQ(of("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(Md5, FilesOfAllLengthsTogetherEqualEachAlone) {
  testing::TempFolder folder;
  std::vector<std::string> paths, expected;
  int i = 0;
  for (size_t size :
       {0u, 1u, 55u, 56u, 63u, 64u, 65u, 119u, 120u, 128u, 1000u, 65535u, 65536u, 65537u, 200000u, 300001u}) {
    std::string bytes(size, '\0');
    for (size_t j = 0; j < size; ++j) bytes[j] = static_cast<char>(j * 131 + size);
    paths.push_back(folder.file(std::to_string(i++)));
    ASSERT_TRUE(write_file(paths.back(), bytes).is_ok());
    expected.push_back(of(bytes));
  }
  auto digests = md5_files(paths);
  ASSERT_TRUE(digests.is_ok()) << digests.status().message();
  EXPECT_EQ(*digests, expected);
  paths.push_back(folder.file("absent"));
  EXPECT_FALSE(md5_files(paths).is_ok());
}

}  // namespace
}  // namespace mlc
