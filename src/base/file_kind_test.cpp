// The probe by content, and what every reader refuses for it.
#include "base/file_kind.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

using namespace std::string_literals;

constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";

FileKind kind_of(const std::string& bytes) {
  return file_kind(std::string_view(bytes).substr(0, kProbeBytes), bytes.size());
}

TEST(FileKind, ByContent) {
  const std::pair<std::string, FileKind> cases[] = {
      {"", FileKind::kEmpty},
      {kPointer, FileKind::kLfsPointer},
      {"\xEF\xBB\xBF"s + kPointer, FileKind::kLfsPointer},
      {"version https://git-lfs.github.com/spec/v1\r\noid", FileKind::kLfsPointer},
      {"version https://hawser.github.com/spec/v1\n", FileKind::kLfsPointer},
      {kPointer + std::string(1000, 'x'), FileKind::kText},
      {"\r\n <!DOCTYPE HTML>\n<html>", FileKind::kErrorPage},
      {"<html lang=\"en\">", FileKind::kErrorPage},
      {"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey", FileKind::kErrorPage},
      {"<!-- saved --><html>", FileKind::kErrorPage},
      {"<?xml?><system>{{ messages }}", FileKind::kText},
      {"GGUF\3\0\0\0"s, FileKind::kGguf},
      {"FUGG\0\0\0\3"s, FileKind::kGguf},
      {"tjgg\1\0\0\0"s, FileKind::kOldGgml},
      {"\2\0\0\0\0\0\0\0{}"s, FileKind::kSafetensors},
      {"\1\0\0\0\0\0\0\0{}"s, FileKind::kOther},
      {"\0\0\0\0\0\0\0\x10{}"s, FileKind::kOther},
      {"PK\3\4zip", FileKind::kZip},
      {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", FileKind::kLegacyTorch},
      {"\x80\4\x95", FileKind::kPickle},
      {std::string(257, 'a') + "ustar", FileKind::kTar},
      {"\x1f\x8b\x08", FileKind::kGzip},
      {"\xfd"
       "7zXZ",
       FileKind::kXz},
      {"\x28\xb5\x2f\xfd", FileKind::kZstd},
      {"BZh9", FileKind::kBzip2},
      {"\x7f"
       "ELF",
       FileKind::kElf},
      {" {\"a\": 1}", FileKind::kJson},
      {"\xEF\xBB\xBF[1]", FileKind::kJson},
      {"Entry not found", FileKind::kText},
      {"\1\2\3", FileKind::kOther},
  };
  for (const auto& [bytes, kind] : cases) EXPECT_EQ(kind_name(kind_of(bytes)), kind_name(kind)) << bytes;
  EXPECT_EQ(kind_of(std::string(kProbeBytes - 1, 'a') + "\u00e9" + std::string(9, 'b')), FileKind::kText)
      << "a cut character";
}

TEST(FileKind, EveryReaderRefusesWhatOnlyStandsIn) {
  testing::TempFolder folder;
  std::string pointer = folder.write("merges.txt", kPointer),
              page = folder.write("tokenizer.model", "<!doctype html>");
  for (const Status& status :
       {read_file(pointer).status(), MappedFile::open(pointer).status(), read_json_file(pointer).status()})
    EXPECT_EQ(status.message(), pointer +
                                    ": a Git LFS pointer, not the file itself; run `git lfs pull` in its "
                                    "folder, or download the file");
  EXPECT_NE(read_file(page).status().message().find("the download was an error page"), std::string::npos);
  EXPECT_NE(parse_json(kPointer, "x.json").status().message().find("git lfs pull"), std::string::npos);
}

TEST(FileKind, WhatIsNoFileNeverWaits) {
  testing::TempFolder folder;
  std::string pipe = folder.file("pipe"), link = folder.file("link"), socket_path = folder.file("socket");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink(folder.file("gone"), link);
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(socket_path.size(), sizeof address.sun_path);
  socket_path.copy(address.sun_path, socket_path.size());
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  for (const std::string& path : {pipe, link, socket_path, folder.path(), folder.file("absent")})
    for (const Status& status : {probe_file(path).status(), read_file(path).status()})
      EXPECT_TRUE(status.message().starts_with(path + ": ")) << path << " gave " << status.message();
  EXPECT_NE(probe_file(link).status().message().find("a link to a file that does not exist"),
            std::string::npos);
  EXPECT_EQ(probe_file(folder.write("x", "GGUF")).value(), FileKind::kGguf);
}

}  // namespace
}  // namespace mlc
