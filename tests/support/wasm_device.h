// A CPU whose memory and kernels are those of a model library in WebAssembly, in a Node process of its own
// (wasm_device.mjs): a model of this process runs on it, through its library's own structs.
//
//   LoadedModel m = WasmDevice::load("model.wasm", weights, limits);
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "base/strings.h"
#include "runtime/devices/device_of.h"
#include "support/compiled_model.h"

namespace mlc::testing {

class WasmDevice {
 public:
  // The model of a library and a folder of weights.
  static LoadedModel load(const std::string& library, const std::string& weights,
                          const runtime::ModelLimits& limits) {
    LoadedModel m;
    const MlcModelLibrary* exported = nullptr;
    m.device = must(open(library, exported));
    m.module = must(runtime::Module::wrap(*m.device, *exported, library));
    m.model = must(runtime::Model::load(*m.device, m.module, weights, limits));
    return m;
  }
  // `library` receives what the module exports, with pointers into this process that live as long as the
  // device.
  static Result<runtime::DevicePtr> open(const std::string& path, const MlcModelLibrary*& library) {
    auto device = std::make_unique<WasmDevice>();
    RETURN_IF_ERROR(device->start(path));
    ASSIGN_OR_RETURN(const std::string address, device->ask(Ask::kLibrary, {}));
    RETURN_IF_ERROR(device->copy_library(number(address, 0)));
    library = &device->library_;
    return runtime::device_of(std::move(device), {.name = "cpu",
                                                  .description = "WebAssembly in Node",
                                                  .memory_bytes = int64_t{2} << 30,
                                                  .threads = 1,
                                                  .host_memory = false});
  }
  WasmDevice() = default;
  ~WasmDevice() {
    if (to_ >= 0) close(to_);  // which ends it
    if (from_ >= 0) close(from_);
    if (process_ > 0) waitpid(process_, nullptr, 0);
  }
  WasmDevice(const WasmDevice&) = delete;
  WasmDevice& operator=(const WasmDevice&) = delete;

  Result<runtime::DeviceBuffer> allocate(int64_t bytes) {
    ASSIGN_OR_RETURN(const std::string place, ask(Ask::kAllocate, numbers({bytes})));
    return runtime::DeviceBuffer{reinterpret_cast<void*>(number(place, 0)), bytes};
  }
  void release(runtime::DeviceBuffer) {}  // with the process
  Status copy_in(runtime::DeviceAddress to, std::span<const std::byte> from) {
    if (from.empty()) return Status::ok();
    std::string request = numbers({place(to)});
    return ask(Ask::kWrite, request.append(reinterpret_cast<const char*>(from.data()), from.size())).status();
  }
  Status begin_read(std::span<std::byte> to, runtime::DeviceAddress from) {
    if (to.empty()) return Status::ok();
    ASSIGN_OR_RETURN(const std::string bytes, read(place(from), to.size()));
    std::memcpy(to.data(), bytes.data(), bytes.size());
    return Status::ok();
  }
  Result<bool> poll() { return true; }
  Status sync() { return Status::ok(); }

  std::string missing_requirement(const Json& header) {
    if (find_string(header, "kind") != "cpu")
      return "a device of kind " + find_string(header, "kind").value_or("?");
    return find_string(header, "architecture") == "wasm32" ? "" : "another CPU";
  }
  // Places in the module's table.
  Result<runtime::KernelSet> load_kernels(const MlcLibraryVariant& variant) {
    return static_cast<runtime::KernelSet>(const_cast<MlcLibraryVariant*>(&variant));
  }
  void unload_kernels(runtime::KernelSet) {}
  Status submit(runtime::KernelSet set, std::span<const runtime::Launch> launches) {
    const auto& variant = *static_cast<const MlcLibraryVariant*>(set);
    std::string request;
    for (const runtime::Launch& launch : launches) {
      request += numbers({static_cast<int64_t>(reinterpret_cast<intptr_t>(variant.kernels[launch.kernel])),
                          launch.tiles, launch.scratch_bytes, static_cast<int64_t>(launch.buffers.size())});
      for (const runtime::DeviceAddress& a : launch.buffers) request += numbers({place(a)});
      request += numbers({static_cast<int64_t>(launch.dims.size())});
      for (int64_t dim : launch.dims) request += numbers({dim});
    }
    return ask(Ask::kRun, request).status();
  }

 private:
  enum class Ask : int64_t { kLibrary = 1, kAllocate, kWrite, kRead, kRun };

  static std::string numbers(std::initializer_list<int64_t> values) {
    return {reinterpret_cast<const char*>(values.begin()), 8 * values.size()};
  }
  template <typename T = int64_t>
  static T number(const std::string& bytes, size_t at) {
    T value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  static int64_t place(runtime::DeviceAddress a) { return reinterpret_cast<intptr_t>(a.handle) + a.offset; }

  Status start(const std::string& path) {
    int out[2], in[2];
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(in, O_CLOEXEC) != 0) return Status::error("wasm device: no pipe");
    process_ = fork();
    if (process_ == 0) {
      dup2(out[0], 0);
      dup2(in[1], 1);
      execlp(MLC_NODE, MLC_NODE, MLC_SOURCE_DIR "/tests/support/wasm_device.mjs", path.c_str(), nullptr);
      _exit(127);
    }
    close(out[0]);
    close(in[1]);
    to_ = out[1];
    from_ = in[0];
    return process_ > 0 ? Status::ok() : Status::error("wasm device: no further process");
  }

  bool move(bool out, char* bytes, size_t size) {
    for (size_t done = 0; done < size;) {
      const ssize_t n =
          out ? ::write(to_, bytes + done, size - done) : ::read(from_, bytes + done, size - done);
      if (n <= 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  }
  Result<std::string> ask(Ask what, std::string request) {
    std::string head = numbers({static_cast<int64_t>(what), static_cast<int64_t>(request.size())}),
                size(8, '\0');
    const bool heard = move(true, head.data(), head.size()) && move(true, request.data(), request.size()) &&
                       move(false, size.data(), 8);
    std::string answer(heard ? static_cast<size_t>(number(size, 0)) : 0, '\0');
    if (!heard || !move(false, answer.data(), answer.size()))
      return Status::error("wasm device: Node has ended");
    return answer;
  }
  Result<std::string> read(int64_t from, size_t bytes) {
    return ask(Ask::kRead, numbers({from, static_cast<int64_t>(bytes)}));
  }

  // The bytes that the pointer at `at` of a struct leads to; fields are 8 bytes, a pointer the first 4 of
  // them.
  Result<const std::string*> follow(const std::string& fields, size_t at, size_t bytes) {
    ASSIGN_OR_RETURN(std::string found, read(number<uint32_t>(fields, at), bytes));
    return &texts_.emplace_back(std::move(found));
  }
  Status copy_library(int64_t address) {
    ASSIGN_OR_RETURN(const std::string l, read(address, sizeof(MlcModelLibrary)));
    std::memcpy(library_.magic, l.data(), sizeof library_.magic);
    library_.abi_version = number<uint32_t>(l, 8);
    library_.variant_count = number<uint32_t>(l, 12);
    library_.manifest_bytes = number<uint64_t>(l, 24);
    ASSIGN_OR_RETURN(const std::string* manifest, follow(l, 16, library_.manifest_bytes));
    library_.manifest = manifest->data();
    ASSIGN_OR_RETURN(const std::string* variants,
                     follow(l, 32, sizeof(MlcLibraryVariant) * library_.variant_count));
    for (uint32_t i = 0; i < library_.variant_count; ++i)
      RETURN_IF_ERROR(
          copy_variant(variants->substr(i * sizeof(MlcLibraryVariant), sizeof(MlcLibraryVariant))));
    library_.variants = variants_.data();
    return Status::ok();
  }
  Status copy_variant(const std::string& v) {
    MlcLibraryVariant variant{};
    variant.header_bytes = number<uint64_t>(v, 8);
    variant.plan_bytes = number<uint64_t>(v, 24);
    variant.kernel_count = number<uint64_t>(v, 40);
    ASSIGN_OR_RETURN(const std::string* header, follow(v, 0, variant.header_bytes));
    ASSIGN_OR_RETURN(const std::string* plan, follow(v, 16, variant.plan_bytes));
    ASSIGN_OR_RETURN(const std::string* kernels, follow(v, 32, 4 * variant.kernel_count));
    std::vector<const void*>& list = kernels_.emplace_back();
    for (size_t k = 0; k < variant.kernel_count; ++k)
      list.push_back(
          reinterpret_cast<const void*>(static_cast<uintptr_t>(number<uint32_t>(*kernels, 4 * k))));
    variant.header = header->data();
    variant.plan = plan->data();
    variant.kernels = list.data();
    variants_.push_back(variant);
    return Status::ok();
  }

  pid_t process_ = 0;
  int to_ = -1, from_ = -1;
  MlcModelLibrary library_{};
  std::vector<MlcLibraryVariant> variants_;
  std::deque<std::string> texts_;  // what the structs point to
  std::deque<std::vector<const void*>> kernels_;
};

}  // namespace mlc::testing
