// The stored texts of a language: one of each case of device_cases.h.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "emit/device_cases.h"

namespace mlc::testing {

// Files tests/emit/<folder>/<case><suffix>.
struct StoredTexts {
  std::string folder, suffix;

  std::string folder_path() const { return str(MLC_SOURCE_DIR "/tests/emit/", folder); }

  // Fails where the stored text of a case is another one; MLC_BLESS=1 stores what was got.
  void expect(const std::string& name, const std::string& got) const {
    const std::string path = str(folder_path(), "/", name, suffix);
    if (env::bless()) {
      ASSERT_TRUE(write_file(path, got).is_ok());
    }
    const auto expected = read_file(path);
    ASSERT_TRUE(expected.is_ok()) << expected.status().message() << "; MLC_BLESS=1 writes it";
    EXPECT_EQ(got, *expected) << path << "; MLC_BLESS=1 accepts the new text";
  }

  // Fails where a text is stored of no case.
  void expect_no_others() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_path())) {
      const std::string name = entry.path().stem().string();
      EXPECT_TRUE(std::any_of(device_cases().begin(), device_cases().end(), [&](const DeviceCase& c) {
        return c.name == name;
      })) << name;
    }
  }
};

}  // namespace mlc::testing
