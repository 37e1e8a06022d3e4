// ELF shared objects, by LLD in process.
#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>

#include <mutex>

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "formats/library.h"
#include "link/image.h"
#include "link/link.h"

LLD_HAS_DRIVER(elf)

namespace mlc::link {
namespace {

// LLD keeps its state in globals.
std::mutex linker_mutex;

Status run_linker(const std::vector<std::string>& arguments) {
  std::vector<const char*> raw;
  for (const std::string& argument : arguments) raw.push_back(argument.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  std::lock_guard<std::mutex> lock(linker_mutex);
  static bool usable = true;
  internal_check(usable, "the linker failed before in a way that it cannot recover from");
  lld::Result result = lld::lldMain(raw, stream, stream, {{lld::Gnu, &lld::elf::link}});
  usable = result.canRunAgain;
  if (result.retCode == 0) return Status::ok();
  return Status::error(str("link: ", messages.substr(0, messages.find('\n'))));
}

std::vector<std::string> arguments_for(const LinkInput& input, const std::string& output) {
  bool arm = input.triple.rfind("aarch64", 0) == 0;
  return {"ld.lld",
          "-m",
          arm ? "aarch64linux" : "elf_x86_64",
          "-shared",
          "-soname",
          input.soname,
          "-z",
          "now",
          "-z",
          "relro",
          "-z",
          "noexecstack",
          "-z",
          "defs",
          "-Bsymbolic",
          "--gc-sections",
          "--hash-style=gnu",
          "--build-id=none",
          "--threads=1",
          "-o",
          output};
}

}  // namespace

Result<std::string> link_elf(const LinkInput& input) {
  ASSIGN_OR_RETURN(std::string image, make_image(input));
  ASSIGN_OR_RETURN(TempFolder folder, TempFolder::create());
  std::string output = folder.file("library.so");
  std::vector<std::string> arguments = arguments_for(input, output);
  auto add_object = [&](const std::string& name, const std::string& bytes) {
    arguments.push_back(folder.file(name));
    return write_file(arguments.back(), bytes);
  };
  RETURN_IF_ERROR(add_object("library.o", image));
  for (size_t i = 0; i < input.variants.size(); ++i)
    for (size_t j = 0; j < input.variants[i].objects.size(); ++j)
      RETURN_IF_ERROR(add_object(object_name(i, j), input.variants[i].objects[j]));
  RETURN_IF_ERROR(run_linker(arguments));
  ASSIGN_OR_RETURN(std::string object, read_file(output));
  return seal_library(std::move(object), input.manifest);
}

}  // namespace mlc::link
