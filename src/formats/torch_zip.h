// PyTorch .bin files (torch.save since 1.6): a zip of one pickle and the raw storages. Nothing is ever
// executed.
//
// Layout (zip numbers little-endian, sizes may be in zip64 records):
//   1. entries, each: local header, name, extra, then the bytes, STORED (method 0)
//        PREFIX/data.pkl    pickle of {name: tensor}; a tensor = _rebuild_tensor_v2(storage, offset, size,
//        stride, ...)
//                           and a storage = persistent id ("storage", torch.XStorage, KEY, device, elements)
//        PREFIX/byteorder   "little" (may be absent)
//        PREFIX/data/KEY    the bytes of storage KEY
//   2. the central directory, one record for each entry
//   3. the end record, in the last 65,557 bytes (22 + a comment of at most 65,535)
//
// The pickle is read by a small machine that knows the opcodes which tensors need, and these globals:
// collections.OrderedDict, torch.XStorage, torch.Size, torch._utils._rebuild_tensor_v2 and
// _rebuild_parameter; what others would make is known by name only. Refused, each in one sentence with file,
// tensor, found and expected: files of PyTorch before 1.6 and others that are no zip; compressed or encrypted
// entries; entries outside the file or overlapping; any other opcode; globals that would run programs;
// tensors that reach outside their storage; storages of a length other than declared; big-endian; duplicate
// names; a pickle above 64 MiB; more than 2^18 tensors. Tensors that repeat elements of their storage (stride
// 0), and entries that are none, have the reason in `unread`.
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

struct TorchTensor {
  std::string name;
  std::string unread;  // "" or why the values cannot be read: dtype and shape are then those of no bytes
  DType dtype;
  std::vector<int64_t> shape;    // outermost first
  std::vector<int64_t> strides;  // in elements, >= 0; empty when contiguous
  uint64_t offset;               // of element 0, from the start of the file
  uint64_t size;                 // bytes from element 0 to the end of the last element
};

// The tensors in the order of the dictionary. `bytes` is the whole file, `what` its name for messages.
Result<std::vector<TorchTensor>> parse_torch_zip(std::span<const std::byte> bytes, const std::string& what);

}  // namespace mlc
