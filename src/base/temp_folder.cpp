// Makes and removes temporary folders.
#include "base/temp_folder.h"

#include "base/env.h"
#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc {

Result<TempFolder> TempFolder::create() {
  std::string path = platform::make_unique_folder(env::temp_dir());
  if (path.empty())
    return Status::error(str("MLC_TEMP_DIR: cannot make a folder under '", env::temp_dir(),
                             "', set it to a folder that can be written"));
  return TempFolder(std::move(path));
}

TempFolder::~TempFolder() {
  if (!path_.empty()) platform::remove_folder(path_);
}

}  // namespace mlc
