// One view over every kind of source checkpoint: safetensors, PyTorch .bin and GGUF, in one file or several.
//
// What a file is, its content says, not its name. open() maps the files and checks all their headers; read()
// gives one tensor's bytes, straight from the mapping where it can; release() then lets the pages go, so that
// streaming through a checkpoint takes the memory of one tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/status.h"
#include "formats/gguf.h"
#include "formats/gguf_names.h"
#include "formats/lora.h"
#include "formats/packed.h"
#include "formats/torch_zip.h"

namespace mlc {

enum class SourceFormat { kAuto, kSafetensors, kTorch, kGguf };

// "auto", "huggingface-torch", "huggingface-safetensor", "awq" (as auto: the file's name decides), "gguf".
Result<SourceFormat> parse_source_format(std::string_view flag_value);

struct SourceTensor {
  std::string name;  // Hugging Face's; names of GGUF files are translated where they are known (gguf_names.h)
  DType dtype;       // of the bytes that read() gives
  std::vector<int64_t> shape;  // outermost first
  int64_t byte_size;           // product(shape) * size_of(dtype)
  int file;                    // index into files()
  std::string stored_name;     // in the file
  std::string stored_type;     // the file's own word: "BF16", "Q4_0", "bfloat16"
  std::string
      unread;  // "" or why its values cannot be read: "has dtype 'F4'; expected ..."; read() may give bytes
  // kPart: of a packed weight. kView: made of such parts when it is read.
  enum class Role : uint8_t { kStored, kPart, kView } role = Role::kStored;
};

// A tensor of a GGUF file as its blocks. Row r of the tensor (the last dimension is the row) lies at
// bytes[stored_row(r) * row_bytes]: converters to GGUF move rows of some weights, and read() moves them back.
struct GgufBlocks {
  GgufType type;
  std::span<const std::byte> bytes;
  int64_t rows, row_bytes;
  RowOrder order;
  int64_t stored_row(int64_t row) const { return order.stored_row(row, rows); }
};

class Checkpoint {
 public:
  // `path`: a folder, or a file: weights of any kind, an index (*.index.json), or one part of several
  // (*-00001-of-00003.*), which brings in the others. In a folder the first that is whole wins:
  // pytorch_model.bin.index.json, pytorch_model.bin, its parts, the same of model.safetensors, the only GGUF
  // model, the only other file of weights; each one passed over has a note. A format other than kAuto leaves
  // out the other kinds. Errors name the file and what was expected.
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& path,
                                                  SourceFormat format = SourceFormat::kAuto);

  SourceFormat format() const { return format_; }
  // What was passed over or does not fit and is not needed, each a sentence that starts with a file.
  const std::vector<std::string>& notes() const { return notes_; }
  void add_note(std::string sentence) { notes_.push_back(std::move(sentence)); }
  const std::vector<std::string>& files() const { return paths_; }
  // From now on tensors that the adapter changes read as if it had been merged, as f32; a note says so.
  // Errors name the adapter's folder: a module that is not here, or has another shape; then nothing has
  // changed.
  Status merge(std::shared_ptr<const LoraAdapter> adapter);
  const LoraAdapter* merged_adapter() const { return adapter_.get(); }  // nullptr: none
  std::vector<std::string> merged_tensors() const;                      // their names, sorted
  // In arrival order (mlc-facts 2.4): files in order of first appearance in weight_map, in each the
  // weight_map's order and then what it does not list; safetensors files without an index: by name as
  // a plain string; GGUF: by offset; .bin: order of its dictionary. Names are unique.
  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  // Index into tensors(), or -1.
  int find(std::string_view name) const;

  // The tensor's bytes: little-endian, C order, of tensors()[index].dtype. A view into the mapping where the
  // file stores just that; else `buffer` is resized and filled: GGUF blocks as f32, .bin bfloat16 as f32 (as
  // the original loads it), strided views made contiguous, moved rows moved back. The view is aligned to one
  // byte only. Valid until `buffer` changes or the checkpoint dies. Threads may read at once, each with its
  // own buffer.
  std::span<const std::byte> read(int index, std::vector<std::byte>& buffer) const;
  // Rows [row_begin, row_end) of the first dimension only; as read().
  std::span<const std::byte> read_rows(int index, int64_t row_begin, int64_t row_end,
                                       std::vector<std::byte>& buffer) const;
  // The same in lines: of tensors of three or more dimensions the rows of the last one, whatever they are in.
  std::span<const std::byte> read_lines(int index, int64_t line_begin, int64_t line_end,
                                        std::vector<std::byte>& buffer) const;
  // The tensor's pages will not be needed again soon.
  void release(int index) const;

  // The weights that `packing` tells of become tensors of floats, beside the tensors that they are made of:
  // f32 under the name of a plain weight and, where AWQ's records can hold them, those too, as X.qweight and
  // so on. To be called once. Errors are find_packed()'s.
  Status add_packed(const Packing& packing);
  // Who packed them, for sentences: "gptq"; "" for plain checkpoints.
  const std::string& packer() const { return packer_; }
  // What a tensor of floats is made of, or nullptr.
  const PackedWeight* packed(int index) const;
  // Of a stacked weight that models store as [count, inputs, outputs] but packers as [count, outputs,
  // inputs]: the tensor of the latter; else -1.
  int transposed(int index) const;
  // Bytes of the files that reading the tensor maps.
  int64_t mapped_bytes(int index) const;

  // GGUF only: the blocks as stored. nullopt for other formats, and where an adapter changes them.
  std::optional<GgufBlocks> blocks(int index) const;
  // GGUF only: Hugging Face's config.json and the tokenizer's data from the metadata (gguf_names.h).
  Result<Json> gguf_config() const;
  Result<GgufTokenizer> gguf_tokenizer() const;
  // GGUF only: the metadata and tensors, of all parts. nullptr for other formats.
  const Gguf* gguf() const { return format_ == SourceFormat::kGguf ? &gguf_ : nullptr; }

 private:
  friend class CheckpointOpener;
  // Where the bytes of a tensor lie and how they become what read() gives.
  struct Place {
    uint64_t offset = 0, size = 0;  // in the file, as stored
    std::optional<GgufType> gguf_type;
    RowOrder order;                    // GGUF
    DType stored_dtype = DType::kF32;  // not GGUF
    std::vector<int64_t> strides;      // .bin, in elements from offset; empty = contiguous
    // A view: the packed weight, and which of AWQ's records (-1: its values), or that it is turned.
    int packed = -1, record = -1, turned = -1;
  };

  // A tensor that an adapter changes.
  struct Merged {
    const LoraModule* module;
    SourceTensor stored;  // without it
  };

  int find_module(const std::string& module) const;
  std::optional<GgufBlocks> stored_blocks(int index) const;
  std::span<const std::byte> read_stored(const SourceTensor& tensor, int index, int64_t row_begin,
                                         int64_t row_end, std::vector<std::byte>& buffer) const;
  std::span<const std::byte> read_gguf(const SourceTensor& tensor, int index, int64_t row_begin,
                                       int64_t row_end, std::vector<std::byte>& buffer) const;
  std::span<const std::byte> read_merged(const Merged& merged, int index, int64_t row_begin, int64_t row_end,
                                         std::vector<std::byte>& buffer) const;
  std::span<const std::byte> read_view(int index, int64_t line_begin, int64_t line_end,
                                       std::vector<std::byte>& buffer) const;
  void add_views(int weight, std::vector<SourceTensor>& tensors, std::vector<Place>& places);

  SourceFormat format_ = SourceFormat::kAuto;
  std::vector<std::string> paths_;
  std::vector<std::shared_ptr<const MappedFile>> maps_;
  std::vector<SourceTensor> tensors_;
  std::vector<Place> places_;
  std::unordered_map<std::string, int> index_;
  Gguf gguf_;
  std::vector<PackedWeight> packed_;
  std::string packer_;
  std::vector<std::string> notes_;
  std::shared_ptr<const LoraAdapter> adapter_;
  std::unordered_map<int, Merged> merged_;  // by tensor
};

}  // namespace mlc
