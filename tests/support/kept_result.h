// What commands make out of toys, made once per build of mlc_llm: tests run as processes of their own, and
// most of them want the same converted folder and the same library.
#pragma once

#include <functional>
#include <string>

namespace mlc::testing {

// A text that differs when a file of the folder does (or the one file that `path` names); files in the order
// of their names.
std::string fingerprint(const std::string& path);

// Copies to `target` the file or folder that belongs to `key`, a text that names everything the result
// depends on but the program. Where it is not there yet, `make` writes it to the path it is given and returns
// whether it did; if not, nothing is kept. Safe beside other processes: a result appears under its name only
// when it is whole.
void copy_kept_result(const std::string& key, const std::string& target,
                      const std::function<bool(const std::string& path)>& make);

}  // namespace mlc::testing
