// Loads model libraries.
#include "runtime/module.h"

#include <cstring>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "formats/library_sections.h"
#include "runtime/dims.h"

namespace mlc::runtime {
namespace {

std::string_view text_of(const char* data, uint64_t size) { return {data, static_cast<size_t>(size)}; }

// Index of the first variant the device can run; the error lists what each one lacks.
Result<uint32_t> choose_variant(Device& device, const MlcModelLibrary& library, const std::string& what,
                                Json& header) {
  std::vector<std::string> reasons;
  for (uint32_t i = 0; i < library.variant_count; ++i) {
    const MlcLibraryVariant& v = library.variants[i];
    ASSIGN_OR_RETURN(header, parse_json(text_of(v.header, v.header_bytes), what));
    std::string missing = device.missing_requirement(device.self, header);
    if (missing.empty()) return i;
    reasons.push_back(str(find_string(header, "name").value_or("?"), " needs ", missing));
  }
  return Status::error(str(what, ": this library cannot run here: ", join(reasons, "; "),
                           find_string(header, "kind").value_or("cpu") == "cpu"
                               ? "; compile the model again with --host auto on this machine"
                               : "; compile the model again with --device " + device.properties.name));
}

// That the library is for this kind of device and its container for this machine. (The interpreter and null
// devices take what they are given, and a .wasm holds variants for several kinds.)
Status check_kind(const Device& device, const Json& manifest, const std::string& path) {
  if (platform::library_container() == "wasm") return Status::ok();
  const Json* library = find(manifest, "library");
  std::string kind = library ? find_string(*library, "kind").value_or("cpu") : "cpu",
              name = device.properties.name;
  bool real = name != "null" && name != "interpreter";
  if (real && kind != name)
    return Status::error(str(path, ": this library is for --device ", kind, ", the device is ", name,
                             "; use --device ", kind, ", or compile the model with --device ", name));
  std::string arch = find_string(manifest, "architecture").value_or(host_architecture());
  if (real && arch != host_architecture())
    return Status::error(
        str(path, ": this library needs a CPU of kind ", arch, "; compile the model again with --host auto"));
  return Status::ok();
}

Status check_container(const MappedFile& file, const std::string& path) {
  const std::string_view container =
      container_of({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  if (is_archive(container))
    return Status::error(str(path,
                             ": a static library; link it into a program and name it system://PREFIX, "
                             "or compile the model with --output model.so"));
  if (container != platform::library_container())
    return Status::error(str(path, ": a library in ", container, " format, this system loads ",
                             platform::library_container(),
                             "; compile the model again with --host auto on this machine"));
  return Status::ok();
}

}  // namespace

Result<std::shared_ptr<Module>> Module::load(Device& device, const std::string& path) {
  constexpr std::string_view kSystem = "system://";
  if (path.rfind(kSystem, 0) == 0) {
    std::string symbol = path.substr(kSystem.size()) + kLibrarySymbol;
    auto* linked = static_cast<const MlcModelLibrary*>(platform::find_program_symbol(symbol.c_str()));
    if (!linked)
      return Status::error(
          str(path, ": this program has no symbol ", symbol, "; link the static library into it"));
    return wrap(device, *linked, path);
  }
  ASSIGN_OR_RETURN(LibraryDescription description, describe_library(path));
  RETURN_IF_ERROR(check_container(*description.file, path));
  RETURN_IF_ERROR(check_kind(device, description.manifest, path));
  std::string error;
  void* handle = platform::open_library(platform::absolute_path(path), error);
  if (!handle) return Status::error(str(path, ": cannot load the library: ", split(error, '\n')[0]));
  auto* library = static_cast<const MlcModelLibrary*>(platform::find_symbol(handle, kLibrarySymbol));
  if (!library) {
    platform::close_library(handle);
    return Status::error(
        str(path, ": the library does not export ", kLibrarySymbol, "; compile the model again"));
  }
  auto module = wrap(device, *library, path);
  if (!module.is_ok()) {
    platform::close_library(handle);
    return module.status();
  }
  (*module)->handle_ = handle;
  return module;
}

Result<std::shared_ptr<Module>> Module::wrap(Device& device, const MlcModelLibrary& library,
                                             const std::string& what) {
  if (std::memcmp(library.magic, kLibraryMagic, sizeof library.magic) != 0)
    return Status::error(what + ": the exported symbol is no model library; compile the model again");
  if (library.abi_version != kLibraryAbiVersion)
    return Status::error(str(what, ": library ABI version ", library.abi_version,
                             ", this mlc_llm reads version ", kLibraryAbiVersion,
                             "; compile the model again with this mlc_llm"));
  Json header;
  ASSIGN_OR_RETURN(uint32_t index, choose_variant(device, library, what, header));
  const MlcLibraryVariant& v = library.variants[index];
  std::shared_ptr<Module> module(new Module(device));
  module->path_ = what;
  module->variant_ = find_string(header, "name").value_or("?");
  if (const Json* own = find(header, "manifest")) {
    module->manifest_ = *own;
  } else {
    ASSIGN_OR_RETURN(module->manifest_, parse_json(text_of(library.manifest, library.manifest_bytes), what));
  }
  ASSIGN_OR_RETURN(module->plan_, decode_plan(text_of(v.plan, v.plan_bytes), what));
  for (const std::string& symbol : module->plan_.symbols)
    if (!find_symbol(symbol))
      return Status::error(
          str(what, ": the plan inside the library uses the dimension '", symbol.substr(0, 40),
              "', which this mlc_llm does not know; use a newer mlc_llm or compile the model again"));
  if (module->plan_.kernels.size() != v.kernel_count)
    return Status::error(str(what, ": damaged library: ", v.kernel_count, " kernels where its plan names ",
                             module->plan_.kernels.size(), "; compile the model again"));
  ASSIGN_OR_RETURN(module->kernels_, device.load_kernels(device.self, v));
  return module;
}

Module::~Module() {
  if (kernels_) device_.unload_kernels(device_.self, kernels_);
  if (handle_) platform::close_library(handle_);
}

}  // namespace mlc::runtime
