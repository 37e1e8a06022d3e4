// The systems that libraries are made for, by the parts of their triples.
#include "base/target/host.h"

#include <algorithm>
#include <cctype>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/target/target.h"

namespace mlc {
namespace {

struct SystemRow {
  System system;
  const char* mark;    // what a triple of it contains; rows of more exact marks come first
  const char* x86_64;  // LLVM's triple; "" where the system has no such machines
  const char* aarch64;
};

// Windows: C calls pass arguments alike under the msvc and gnu triples; LLVM's code for msvc would refer to
// _fltused of its C library, which these libraries do not need. macOS 12, iOS 15: the oldest whose loaders
// read what LLD writes for them (targets.md, section 2); macabi as in mlc-facts 1.7.
constexpr SystemRow kSystems[] = {
    {System::kAndroid, "android", "x86_64-unknown-linux-android", "aarch64-unknown-linux-android"},
    {System::kLinux, "linux", "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"},
    {System::kWindows, "mingw", "x86_64-w64-windows-gnu", "aarch64-w64-windows-gnu"},
    {System::kWindows, "windows", "x86_64-w64-windows-gnu", "aarch64-w64-windows-gnu"},
    {System::kMacCatalyst, "macabi", "x86_64-apple-ios18.0-macabi", "aarch64-apple-ios18.0-macabi"},
    {System::kIosSimulator, "simulator", "x86_64-apple-ios15.0-simulator", "aarch64-apple-ios15.0-simulator"},
    {System::kIos, "ios", "", "aarch64-apple-ios15.0"},
    {System::kMacos, "darwin", "x86_64-apple-macosx12.0", "aarch64-apple-macosx12.0"},
    {System::kMacos, "macos", "x86_64-apple-macosx12.0", "aarch64-apple-macosx12.0"},
};

constexpr const char* kWebArchitecture = "wasm32";  // any triple of it means the same
constexpr const char* kWebTriple = "wasm32-unknown-unknown";

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string known_architecture(const std::string& name) {
  if (name == "x86_64" || name == "amd64") return "x86_64";
  return name == "aarch64" || name == "arm64" ? "aarch64" : "";
}

}  // namespace

const char* Host::suffix() const {
  if (system == System::kWeb) return ".wasm";
  return system == System::kWindows ? ".dll" : is_apple() ? ".dylib" : ".so";
}

Host local_host() {
  const std::string_view container = platform::library_container();
  const char* system = container == "PE" ? "windows" : container == "Mach-O" ? "darwin" : "linux";
  return parse_host(str(host_architecture(), "-unknown-", system)).value();
}

std::vector<std::string> host_triples() {
  std::vector<std::string> names = {"aarch64-linux-android",
                                    "aarch64-pc-windows-msvc",
                                    "aarch64-unknown-linux-gnu",
                                    "arm64-apple-darwin",
                                    "arm64-apple-ios",
                                    "arm64-apple-ios18.0-macabi",
                                    kWebTriple,
                                    "x86_64-apple-darwin",
                                    "x86_64-linux-android",
                                    "x86_64-pc-windows-msvc",
                                    "x86_64-unknown-linux-gnu",
                                    "x86_64-w64-windows-gnu"};
  return names;
}

Result<Host> parse_host(const std::string& triple) {
  const std::string text = lower(triple), first = split(text, '-')[0],
                    architecture = known_architecture(first);
  if (first == kWebArchitecture) return Host{first, System::kWeb, kWebTriple};
  for (const SystemRow& row : kSystems) {
    if (architecture.empty() || text.find(row.mark, text.find('-')) == std::string::npos) continue;
    std::string full = architecture == "x86_64" ? row.x86_64 : row.aarch64;
    if (!full.empty()) return Host{architecture, row.system, full};
    break;
  }
  std::vector<std::string> names = host_triples();
  return Status::error(str("--host: no library can be made for '", triple, "', expected one of ",
                           join(names, ", "), did_you_mean(triple, names)));
}

}  // namespace mlc
