// Reads the metadata and the tensor table of a GGUF file. Every count is compared with the bytes left before
// it is used.
#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <unordered_set>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

using Type = GgufValue::Type;

constexpr uint64_t kMaxTensors = 1 << 18;
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxNameBytes = 1'024;
constexpr uint32_t kMaxRank = 16;
constexpr int kMaxNesting = 8;
constexpr size_t kMaxNotes = 8;
constexpr uint64_t kNoSize = ~uint64_t{0};  // of a tensor whose type is not known

// Bytes of a number, 0 for text and arrays.
uint64_t number_size(Type type) {
  switch (type) {
    case Type::kU8:
    case Type::kI8:
    case Type::kBool: return 1;
    case Type::kU16:
    case Type::kI16: return 2;
    case Type::kU32:
    case Type::kI32:
    case Type::kF32: return 4;
    case Type::kU64:
    case Type::kI64:
    case Type::kF64: return 8;
    case Type::kText:
    case Type::kArray: return 0;
  }
  return 0;
}

template <typename T>
double load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return static_cast<double>(value);
}

double number_at(Type type, const std::byte* p) {
  switch (type) {
    case Type::kU8:
    case Type::kBool: return load<uint8_t>(p);
    case Type::kI8: return load<int8_t>(p);
    case Type::kU16: return load<uint16_t>(p);
    case Type::kI16: return load<int16_t>(p);
    case Type::kU32: return load<uint32_t>(p);
    case Type::kI32: return load<int32_t>(p);
    case Type::kF32: return load<float>(p);
    case Type::kU64: return load<uint64_t>(p);
    case Type::kI64: return load<int64_t>(p);
    case Type::kF64: return load<double>(p);
    case Type::kText:
    case Type::kArray: break;
  }
  return 0;
}

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& what)
      : bytes_(bytes), cursor_(bytes), what_(what) {}

  Result<Gguf> parse() {
    RETURN_IF_ERROR(read_head());
    std::unordered_set<std::string_view> keys;
    for (uint64_t i = 0; i < key_count_; ++i) {
      RETURN_IF_ERROR(read_pair(i));
      if (keys.insert(file_.metadata.back().first).second) continue;
      if (file_.notes.size() < kMaxNotes)
        file_.notes.push_back(str("metadata key ", shown_name(file_.metadata.back().first),
                                  " stands twice; its first value counts"));
      file_.metadata.pop_back();
    }
    RETURN_IF_ERROR(read_alignment());
    std::unordered_set<std::string_view> names;
    for (uint64_t i = 0; i < tensor_count_; ++i) {
      RETURN_IF_ERROR(read_tensor(i));
      if (!names.insert(file_.tensors.back().name).second)
        return bad(str("tensor ", shown_name(file_.tensors.back().name), " stands twice"));
    }
    RETURN_IF_ERROR(place_tensors());
    return std::move(file_);
  }

 private:
  Status bad(const std::string& sentence) const { return Status::error(str(what_, ": ", sentence)); }
  Status truncated(const std::string& where) const {
    return bad(str("ends inside ", where, " (", bytes_.size(),
                   " bytes); it is truncated or damaged, download it again"));
  }

  Status read_head() {
    std::string_view magic;
    if (!cursor_.take_text(4, magic) || magic != "GGUF")
      return bad("does not start with \"GGUF\"; expected a GGUF file");
    if (!cursor_.read(file_.version)) return truncated("the header");
    if (file_.version == 1)
      return bad("GGUF version 1; expected 2 or 3, convert the model again with a current converter");
    if (file_.version != 2 && file_.version != 3) {
      bool swapped = __builtin_bswap32(file_.version) == 3 || __builtin_bswap32(file_.version) == 2;
      return bad(swapped ? std::string(
                               "big-endian GGUF; expected little-endian, convert it with gguf-convert-endian")
                         : str("GGUF version ", file_.version, "; expected 2 or 3"));
    }
    if (!cursor_.read(tensor_count_) || !cursor_.read(key_count_)) return truncated("the header");
    // The smallest tensor entry: name length 8, rank 4, type 4, offset 8; the smallest pair: key length 8,
    // type 4, value 1.
    if (tensor_count_ > kMaxTensors || tensor_count_ > cursor_.remaining() / 24)
      return bad(str(tensor_count_, " tensors in a file of ", bytes_.size(), " bytes; expected at most ",
                     kMaxTensors, " and 24 bytes for each"));
    if (key_count_ > kMaxKeys || key_count_ > cursor_.remaining() / 13)
      return bad(str(key_count_, " metadata keys in a file of ", bytes_.size(), " bytes; expected at most ",
                     kMaxKeys, " and 13 bytes for each"));
    return Status::ok();
  }

  Status read_pair(uint64_t index) {
    uint64_t length = 0;
    std::string_view key;
    uint32_t type = 0;
    std::string where = str("metadata key ", index);
    if (!cursor_.read(length)) return truncated(where);
    if (length > cursor_.remaining())
      return bad(
          str(where, " is ", length, " bytes long, but ", cursor_.remaining(), " are left in the file"));
    if (!cursor_.take_text(length, key) || !cursor_.read(type)) return truncated(where);
    where = "metadata key " + shown_name(key);
    if (type > static_cast<uint32_t>(Type::kF64))
      return bad(str(where, " has value type ", type, "; expected 0 to 12"));
    GgufValue value;
    value.type = static_cast<Type>(type);
    RETURN_IF_ERROR(read_value(value, where));
    file_.metadata.emplace_back(key, std::move(value));
    return Status::ok();
  }

  Status read_value(GgufValue& value, const std::string& where) {
    if (value.type == Type::kArray) return read_array(value, where, 1);
    if (value.type == Type::kText) return read_text(value.text, where);
    std::span<const std::byte> raw;
    if (!cursor_.take(number_size(value.type), raw)) return truncated(where);
    value.number = number_at(value.type, raw.data());
    if (value.type == Type::kU64 || value.type == Type::kI64) {
      std::memcpy(&value.integer, raw.data(), 8);
      if (value.type == Type::kU64 && value.integer < 0) value.integer = std::numeric_limits<int64_t>::max();
    } else if (value.is_integer()) {
      value.integer = static_cast<int64_t>(value.number);
    }
    return Status::ok();
  }

  Status read_text(std::string_view& text, const std::string& where) {
    uint64_t length = 0;
    if (!cursor_.read(length)) return truncated(where);
    if (!cursor_.take_text(length, text))
      return bad(str(where, " holds a text of ", length, " bytes, but ", cursor_.remaining(),
                     " are left in the file"));
    return Status::ok();
  }

  Status read_array(GgufValue& value, const std::string& where, int depth) {
    uint32_t type = 0;
    if (!cursor_.read(type) || !cursor_.read(value.count)) return truncated(where);
    if (type > static_cast<uint32_t>(Type::kF64))
      return bad(str(where, " is an array of value type ", type, "; expected 0 to 12"));
    value.element_type = static_cast<Type>(type);
    // A text has its length, an array its type and count.
    uint64_t size = value.element_type == Type::kText    ? 8
                    : value.element_type == Type::kArray ? 12
                                                         : number_size(value.element_type);
    if (value.count > cursor_.remaining() / size)
      return bad(str(where, " is an array of ", value.count, " elements, but ", cursor_.remaining(),
                     " bytes are left in the file"));
    if (value.element_type == Type::kArray) {
      if (depth == kMaxNesting) return bad(str(where, " nests arrays deeper than ", kMaxNesting));
      for (uint64_t i = 0; i < value.count; ++i) {
        GgufValue skipped;
        RETURN_IF_ERROR(read_array(skipped, where, depth + 1));
      }
      return Status::ok();
    }
    if (value.element_type != Type::kText) {
      bool inside = cursor_.take(value.count * size, value.elements);
      internal_check(inside, "the count was checked above");
      return Status::ok();
    }
    value.texts.reserve(value.count);
    for (uint64_t i = 0; i < value.count; ++i) {
      std::string_view text;
      RETURN_IF_ERROR(read_text(text, where));
      value.texts.push_back(text);
    }
    return Status::ok();
  }

  Status read_alignment() {
    const GgufValue* value = file_.find("general.alignment");
    if (!value) return Status::ok();
    if (!value->is_integer() || value->integer < 8 || value->integer > (1 << 20) ||
        !std::has_single_bit(static_cast<uint64_t>(value->integer)))
      return bad(str("general.alignment is ", value->is_number() ? str(value->number) : "not a number",
                     "; expected a power of two from 8 to 1048576"));
    file_.alignment = static_cast<uint64_t>(value->integer);
    return Status::ok();
  }

  Status read_tensor(uint64_t index) {
    uint64_t length = 0;
    uint32_t rank = 0, type = 0;
    GgufTensor tensor;
    std::string where = str("tensor ", index);
    if (!cursor_.read(length)) return truncated(where);
    if (length > kMaxNameBytes)
      return bad(str(where, " has a name of ", length, " bytes; expected at most ", kMaxNameBytes));
    if (!cursor_.take_text(length, tensor.name) || !cursor_.read(rank)) return truncated(where);
    where = "tensor " + shown_name(tensor.name);
    if (rank > kMaxRank) return bad(str(where, " has ", rank, " dimensions; expected at most ", kMaxRank));
    for (uint32_t i = 0; i < rank; ++i) {
      uint64_t dim = 0;
      if (!cursor_.read(dim)) return truncated(where);
      if (dim > static_cast<uint64_t>(INT64_MAX))
        return bad(str(where, " has dimension ", dim, "; expected less than 2^63"));
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
    }
    if (!cursor_.read(type) || !cursor_.read(tensor.offset)) return truncated(where);
    const GgufTypeInfo* info = find_gguf_type(type);
    tensor.stored_type = gguf_type_name(type);
    if (!info) {
      tensor.unread = str("has type ", tensor.stored_type, "; expected one of ", gguf_known_types());
      tensor.type = GgufType::kI8;
      tensor.size = kNoSize;
      return add_tensor(std::move(tensor), where);
    }
    tensor.type = info->type;
    return size_tensor(tensor, *info, where);
  }

  Status size_tensor(GgufTensor& tensor, const GgufTypeInfo& info, const std::string& where) {
    auto count = element_count(tensor.shape);
    auto size = count ? checked_multiply(*count / info.block_elements, info.block_bytes) : std::nullopt;
    // Its values as f32 must be addressable too: readers make room for them.
    if (!size || *size > static_cast<uint64_t>(INT64_MAX) || !checked_multiply(*count, 8))
      return bad(str(where, " has the impossible shape ", shown_shape(tensor.shape)));
    int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % info.block_elements != 0)
      return bad(str(where, " of type ", info.name, " has rows of ", row,
                     " elements; expected a multiple of ", info.block_elements));
    tensor.size = *size;
    return add_tensor(std::move(tensor), where);
  }

  Status add_tensor(GgufTensor tensor, const std::string& where) {
    if (tensor.offset % file_.alignment != 0)
      return bad(str(where, " begins at data byte ", tensor.offset, "; expected a multiple of the alignment ",
                     file_.alignment));
    file_.tensors.push_back(std::move(tensor));
    return Status::ok();
  }

  // Sorts by offset, makes offsets absolute, refuses what lies outside the file or on another tensor.
  Status place_tensors() {
    // A file without data may end before the padding does.
    uint64_t begin = std::min<uint64_t>(
        (cursor_.position() + file_.alignment - 1) / file_.alignment * file_.alignment, bytes_.size());
    std::stable_sort(file_.tensors.begin(), file_.tensors.end(),
                     [](const GgufTensor& a, const GgufTensor& b) {
                       return a.offset != b.offset ? a.offset < b.offset : a.size < b.size;
                     });
    uint64_t end = 0;
    uint64_t data_size = bytes_.size() - begin;
    for (size_t i = 0; i < file_.tensors.size(); ++i) {
      GgufTensor& tensor = file_.tensors[i];
      if (tensor.size == kNoSize) {
        uint64_t next =
            i + 1 < file_.tensors.size() ? std::min(file_.tensors[i + 1].offset, data_size) : data_size;
        tensor.size = next > tensor.offset ? next - tensor.offset : 0;
        tensor.shape = {static_cast<int64_t>(tensor.size)};
      }
      if (!range_inside(tensor.offset, tensor.size, data_size))
        return bad(str("tensor ", shown_name(tensor.name), " of ", tensor.size, " bytes begins at data byte ",
                       tensor.offset, " but the file holds ", data_size,
                       "; it is truncated, download it again"));
      if (tensor.offset < end)
        return bad(str("tensor ", shown_name(tensor.name), " begins at data byte ", tensor.offset,
                       "; expected ", end, " or more, where the tensor before it ends (overlap)"));
      end = tensor.offset + tensor.size;
      tensor.offset += begin;
    }
    return Status::ok();
  }

  std::span<const std::byte> bytes_;
  ByteCursor cursor_;
  const std::string& what_;
  Gguf file_;
  uint64_t tensor_count_ = 0, key_count_ = 0;
};

}  // namespace

double GgufValue::element(uint64_t i) const {
  uint64_t size = number_size(element_type);
  if (type == Type::kArray && element_type == Type::kArray && i < count)
    return std::numeric_limits<double>::quiet_NaN();
  internal_check(type == Type::kArray && size > 0 && i < count, "element() is for arrays of numbers");
  return number_at(element_type, elements.data() + i * size);
}

const GgufValue* Gguf::find(std::string_view key) const {
  for (const auto& [name, value] : metadata)
    if (name == key) return &value;
  return nullptr;
}

std::string_view Gguf::find_text(std::string_view key) const {
  const GgufValue* value = find(key);
  return value && value->type == GgufValue::Type::kText ? value->text : std::string_view();
}

Result<Gguf> parse_gguf(std::span<const std::byte> bytes, const std::string& what) {
  return GgufParser(bytes, what).parse();
}

}  // namespace mlc
