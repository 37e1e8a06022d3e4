// The pickle inside a PyTorch .bin: a stack machine for the opcodes and globals that tensors need, and no
// others.
//
// The machine's values are plain data; no opcode calls anything: what a class or a function of the file would
// make is an object of which only the name is known. Work and memory are in proportion to the bytes read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"

namespace mlc {

// A tensor as the pickle describes it; nothing here has been compared with the storages.
struct PickledTensor {
  std::string_view name;  // views into the pickle's bytes
  std::string unread;  // "" or why this entry is no tensor that can be read; the other fields but `name` say
                       // nothing then
  std::string_view storage_key;
  DType dtype = DType::kU8;
  uint64_t storage_elements = 0;
  uint64_t offset = 0;                  // of element 0 in the storage, in elements
  std::vector<int64_t> shape, strides;  // same length, all >= 0
};

// The entries of the outermost dictionary, in its order; numbers, texts and None beside them are skipped,
// lists, dictionaries and objects (an optimizer's state, say) come with the reason in `unread`. At least one
// is a tensor.
Result<std::vector<PickledTensor>> parse_torch_pickle(std::span<const std::byte> pickle,
                                                      const std::string& what);

}  // namespace mlc
