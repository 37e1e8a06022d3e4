// Results below the build folder, in a folder of the program they were made with.
#include "support/kept_result.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/file.h"
#include "base/strings.h"

namespace mlc::testing {
namespace {

namespace fs = std::filesystem;

std::string hash(const std::string& bytes) { return str(std::hash<std::string>{}(bytes)); }

// Made on first use, when it also removes those of earlier builds of the program.
const fs::path& folder_of_the_program() {
  static const fs::path folder = [] {
    const fs::path program = MLC_LLM, all = program.parent_path() / "kept_results";
    const fs::path ours =
        all / str(fs::file_size(program), "-", fs::last_write_time(program).time_since_epoch().count());
    if (!fs::exists(ours) && fs::exists(all)) {
      std::error_code others_may_do_the_same;
      for (const auto& entry : fs::directory_iterator(all))
        if (entry.path() != ours) fs::remove_all(entry.path(), others_may_do_the_same);
    }
    fs::create_directories(ours);
    return ours;
  }();
  return folder;
}

}  // namespace

std::string fingerprint(const std::string& path) {
  std::vector<std::string> files;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path().string());
  } else {
    files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const std::string& file : files)
    text += str(fs::relative(file, path).string(), " ", hash(read_file(file).value()), "\n");
  return text;
}

void copy_kept_result(const std::string& key, const std::string& target,
                      const std::function<bool(const std::string& path)>& make) {
  const fs::path kept = folder_of_the_program() / hash(key);
  if (!fs::exists(kept)) {
    // Commands look at the ending of what they write.
    const std::string part = str(kept.string(), ".", ::getpid(), fs::path(target).extension().string());
    if (!make(part)) return;
    std::error_code another_was_first;
    fs::rename(part, kept, another_was_first);
    if (another_was_first) fs::remove_all(part);
  }
  fs::copy(kept, target, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

}  // namespace mlc::testing
