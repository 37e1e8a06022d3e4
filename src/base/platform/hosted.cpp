// The parts of platform.h that the standard library has on every system with threads and folders.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/platform/platform.h"

namespace mlc::platform {

struct Threads::List {
  std::vector<std::thread> threads;
};

Threads::Threads() : list_(std::make_unique<List>()) {}
Threads::~Threads() { join(); }
void Threads::start(std::function<void()> work) { list_->threads.emplace_back(std::move(work)); }
void Threads::join() {
  for (std::thread& thread : list_->threads) thread.join();
  list_->threads.clear();
}

void let_others_run() { std::this_thread::yield(); }

int most_threads() { return 1024; }

bool make_folders(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  errno = code.value();
  return !code;
}

void remove_folder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

std::vector<std::string> folder_names(const std::string& path) {
  std::vector<std::string> names;
  std::error_code code;
  for (std::filesystem::directory_iterator it(path, code), last; !code && it != last; it.increment(code))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

bool maps_files() { return true; }

std::string absolute_path(const std::string& path) {
  std::error_code code;
  return std::filesystem::absolute(path, code).string();
}

}  // namespace mlc::platform
