// Runs LLD, which keeps its state in globals, one link at a time.
#include "link/lld.h"

#include <lld/Common/Driver.h>
#include <llvm/Support/raw_ostream.h>

#include <mutex>

#include "base/file.h"
#include "base/strings.h"
#include "base/temp_folder.h"
#include "link/image.h"

LLD_HAS_DRIVER(coff)
LLD_HAS_DRIVER(elf)
LLD_HAS_DRIVER(macho)
LLD_HAS_DRIVER(wasm)

namespace mlc::link {
namespace {

std::mutex linker_mutex;

}  // namespace

Status run_linker(const std::vector<std::string>& arguments) {
  std::vector<const char*> raw;
  for (const std::string& argument : arguments) raw.push_back(argument.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  std::lock_guard<std::mutex> lock(linker_mutex);
  static bool usable = true;
  internal_check(usable, "the linker failed before in a way that it cannot recover from");
  lld::Result result = lld::lldMain(raw, stream, stream,
                                    {{lld::Gnu, &lld::elf::link},
                                     {lld::WinLink, &lld::coff::link},
                                     {lld::Darwin, &lld::macho::link},
                                     {lld::Wasm, &lld::wasm::link}});
  usable = result.canRunAgain;
  if (result.retCode == 0) return Status::ok();
  return Status::error(str("link: ", messages.substr(0, messages.find('\n'))));
}

Result<std::string> run_lld(const LinkInput& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(std::string image, make_image(input));
  ASSIGN_OR_RETURN(TempFolder folder, TempFolder::create());
  std::string output = folder.file("library.so");
  ASSIGN_OR_RETURN(std::vector<std::string> all, arguments(folder.path(), output));
  auto add_object = [&](const std::string& name, const std::string& bytes) {
    all.push_back(folder.file(name));
    return write_file(all.back(), bytes);
  };
  RETURN_IF_ERROR(add_object("library.o", image));
  for (size_t i = 0; i < input.variants.size(); ++i)
    for (size_t j = 0; j < input.variants[i].objects.size(); ++j)
      RETURN_IF_ERROR(add_object(object_name(i, j), input.variants[i].objects[j]));
  RETURN_IF_ERROR(run_linker(all));
  return read_file(output);
}

}  // namespace mlc::link
