// PEFT adapters: a line with the config, then the safetensors file, as a folder of both.
#include "formats/lora.h"

#include <algorithm>

#include "base/file.h"
#include "base/temp_folder.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  static const TempFolder folder = std::move(TempFolder::create()).value();
  const std::string_view input = fuzz::text_of(data, size);
  const size_t line = std::min(input.find('\n'), input.size());
  const std::string_view matrices = input.substr(std::min(line + 1, input.size()));
  internal_check(write_file(folder.file("adapter_config.json"), input.substr(0, line)).is_ok() &&
                     write_file(folder.file("adapter_model.safetensors"), matrices).is_ok(),
                 "the adapter is written");
  const auto adapter = read_lora_adapter(folder.path());
  if (!adapter.is_ok()) {
    const std::string& message = adapter.status().message();
    internal_check(message.starts_with(folder.path()), "a message starts with the folder");
    fuzz::check_message(fuzz::kFile + message.substr(folder.path().size()));
    return 0;
  }
  for (const LoraModule& m : adapter->modules)
    internal_check(m.rank > 0 && m.a.size() == static_cast<size_t>(m.rank * m.in) &&
                       m.b.size() == static_cast<size_t>(m.out * m.rank),
                   "a module has both matrices whole");
  return 0;
}
