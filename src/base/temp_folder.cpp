// Makes and removes temporary folders.
#include "base/temp_folder.h"

#include <stdlib.h>

#include <filesystem>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"

namespace mlc {

Result<TempFolder> TempFolder::create() {
  std::string path = path_join(env::temp_dir(), "mlc_XXXXXX");
  if (!mkdtemp(path.data()))
    return Status::error(str("MLC_TEMP_DIR: cannot make a folder under '", env::temp_dir(),
                             "', set it to a folder that can be written"));
  return TempFolder(std::move(path));
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace mlc
