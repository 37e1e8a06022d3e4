// Reads a safetensors header in one streaming pass over its JSON, so that memory follows the tensors, not the
// text.
#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_set>

#include "base/json.h"
#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxTensors = 1 << 18;
constexpr size_t kMaxRank = 16;
constexpr std::string_view kMetadata = "__metadata__";

struct NamedDType {
  std::string_view name;
  DType dtype;
};
constexpr NamedDType kDTypes[] = {
    {"BOOL", DType::kBool}, {"U8", DType::kU8},          {"I8", DType::kI8},          {"U16", DType::kU16},
    {"I16", DType::kI16},   {"U32", DType::kU32},        {"I32", DType::kI32},        {"U64", DType::kU64},
    {"I64", DType::kI64},   {"F16", DType::kF16},        {"BF16", DType::kBF16},      {"F32", DType::kF32},
    {"F64", DType::kF64},   {"F8_E4M3", DType::kF8E4M3}, {"F8_E5M2", DType::kF8E5M2},
};

// Receives the JSON events of the header. Any method that returns false has set `problem` and stops the
// parse.
class HeaderEvents {
 public:
  HeaderEvents(SafetensorsHeader& header, const std::string& what) : header_(header), what_(what) {}
  std::string problem;

  bool null() { return skipping() || unexpected("null"); }
  bool boolean(bool) { return skipping() || unexpected("a boolean"); }
  bool number_integer(int64_t value) { return skipping() || unexpected(str("the number ", value)); }
  bool number_float(double, const std::string& text) {
    return skipping() || unexpected(str("the number ", text.substr(0, 40)));
  }
  bool binary(std::vector<uint8_t>&) { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (skipping()) return true;
    if (!in_array_ || value > static_cast<uint64_t>(INT64_MAX)) return unexpected(str("the number ", value));
    if (field_ == Field::kShape) {
      if (entry_.shape.size() == kMaxRank) return fail(str("has more than ", kMaxRank, " dimensions"));
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (offset_count_ == 2) return fail("has more than two data_offsets; expected [begin, end]");
    offsets_[offset_count_++] = value;
    return true;
  }

  bool string(std::string& value) {
    if (depth_ == 2 && in_metadata_ && skipped_ == 0) {
      header_.metadata.emplace_back(std::move(key_), std::move(value));
      return true;
    }
    if (skipping()) return true;
    if (depth_ != 2 || field_ != Field::kDType || in_array_) return unexpected("a string");
    dtype_name_ = std::move(value);
    return true;
  }

  bool start_object(size_t) {
    bool is_metadata = depth_ == 1 && key_ == kMetadata && skipped_ == 0;
    if (skipping() && !is_metadata) return ++skipped_ > 0;
    if (in_array_ || depth_ == 2) return unexpected("an object");
    if (++depth_ == 1) return true;
    in_metadata_ = is_metadata;
    if (in_metadata_) return true;
    if (header_.entries.size() == kMaxTensors)
      return stop(str(what_, ": more than ", kMaxTensors, " tensors"));
    entry_ = {};
    entry_.name = std::move(key_);
    seen_ = 0;
    offset_count_ = 0;
    return true;
  }

  bool key(std::string& value) {
    if (skipped_ > 0) return true;
    if (depth_ == 1 || in_metadata_) {
      key_ = std::move(value);
      return true;
    }
    field_ = value == "dtype"          ? Field::kDType
             : value == "shape"        ? Field::kShape
             : value == "data_offsets" ? Field::kOffsets
                                       : Field::kOther;
    if (field_ == Field::kOther) return true;
    unsigned bit = 1u << static_cast<unsigned>(field_);
    if (seen_ & bit) return fail(str("has the key ", shown_name(value), " twice"));
    seen_ |= bit;
    return true;
  }

  bool end_object() {
    if (skipped_ > 0) return --skipped_ >= 0;
    if (--depth_ == 0) return true;
    if (in_metadata_) {
      in_metadata_ = false;
      return true;
    }
    return finish_entry();
  }

  bool start_array(size_t) {
    if (skipping()) return ++skipped_ > 0;
    if (depth_ != 2 || in_array_ || field_ == Field::kDType) return unexpected("an array");
    return in_array_ = true;
  }
  bool end_array() {
    if (skipped_ > 0) return --skipped_ >= 0;
    in_array_ = false;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    return stop(str(what_, ": the header is not valid JSON at its byte ", position,
                    "; the file is damaged or not safetensors"));
  }

 private:
  enum class Field { kDType, kShape, kOffsets, kOther };

  // Whether the value that comes is one that nobody reads: of the metadata, or of a key that only newer files
  // have.
  bool skipping() const {
    if (skipped_ > 0) return true;
    if (depth_ == 1) return key_ == kMetadata;
    return depth_ == 2 && (in_metadata_ || field_ == Field::kOther);
  }

  bool stop(std::string message) {
    problem = std::move(message);
    return false;
  }
  bool fail(const std::string& found) {
    return stop(str(what_, ": tensor ", shown_name(entry_.name), " ", found));
  }
  bool unexpected(const std::string& found) {
    if (depth_ == 0)
      return stop(str(what_, ": the header is ", found, "; expected a JSON object of tensors"));
    if (depth_ == 1)
      return stop(str(what_, ": header key ", shown_name(key_), " holds ", found, "; expected an object"));
    return fail(str("holds ", found,
                    " in its header entry; expected {\"dtype\": text, \"shape\": [integers], "
                    "\"data_offsets\": [begin, end]}"));
  }

  bool finish_entry() {
    if (seen_ != 7 || offset_count_ != 2) return fail("lacks dtype, shape or data_offsets in the header");
    const NamedDType* dtype = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                           [&](const NamedDType& d) { return d.name == dtype_name_; });
    entry_.type = dtype_name_;
    if (dtype == std::end(kDTypes)) return finish_unread();
    entry_.dtype = dtype->dtype;
    auto count = element_count(entry_.shape);
    auto bytes =
        count ? checked_multiply(*count, static_cast<uint64_t>(size_of(dtype->dtype))) : std::nullopt;
    if (!bytes) return fail(str("has the impossible shape ", shown_shape(entry_.shape)));
    if (offsets_[1] < offsets_[0] || offsets_[1] - offsets_[0] != *bytes)
      return fail(str("of shape ", shown_shape(entry_.shape), " and dtype ", dtype_name_,
                      " has data_offsets [", offsets_[0], ", ", offsets_[1], "]; expected ", *bytes,
                      " bytes between them"));
    entry_.offset = offsets_[0];
    entry_.size = *bytes;
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  // A dtype that we do not read: the model may not need the tensor.
  bool finish_unread() {
    std::vector<std::string> names;
    for (const NamedDType& d : kDTypes) names.emplace_back(d.name);
    entry_.unread = str("has dtype ", shown_name(dtype_name_), "; expected one of ", join(names, " "));
    if (offsets_[1] < offsets_[0])
      return fail(
          str("has data_offsets [", offsets_[0], ", ", offsets_[1], "]; expected the begin before the end"));
    entry_.dtype = DType::kU8;
    entry_.offset = offsets_[0];
    entry_.size = offsets_[1] - offsets_[0];
    entry_.shape = {static_cast<int64_t>(entry_.size)};
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  SafetensorsHeader& header_;
  const std::string& what_;
  SafetensorsEntry entry_;
  std::string key_, dtype_name_;
  int depth_ = 0;
  bool in_array_ = false, in_metadata_ = false;
  int skipped_ = 0;  // objects and arrays open inside a value that nobody reads
  Field field_ = Field::kDType;
  unsigned seen_ = 0;  // bit per Field
  std::array<uint64_t, 2> offsets_{};
  int offset_count_ = 0;
};

// Sorts by offset and requires that the tensors tile the data exactly; makes offsets absolute.
Status check_tiling(SafetensorsHeader& header, uint64_t data_begin, uint64_t file_size,
                    const std::string& what) {
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.size < b.size;
  });
  uint64_t expected = 0, data_size = file_size - data_begin;
  std::unordered_set<std::string_view> names;
  for (SafetensorsEntry& e : header.entries) {
    if (!names.insert(e.name).second)
      return Status::error(str(what, ": tensor ", shown_name(e.name), " stands twice in the header"));
    if (e.offset != expected)
      return Status::error(str(what, ": tensor ", shown_name(e.name), " begins at data byte ", e.offset,
                               "; expected ", expected, ", where the tensor before it ends (",
                               e.offset < expected ? "overlap" : "gap", ")"));
    if (!range_inside(e.offset, e.size, data_size))
      return Status::error(str(what, ": tensor ", shown_name(e.name), " ends at data byte ",
                               e.offset + e.size, " but the file holds ", data_size,
                               "; it is truncated, download it again"));
    expected = e.offset + e.size;
    e.offset += data_begin;
  }
  if (expected != data_size)
    return Status::error(str(what, ": ", data_size - expected,
                             " bytes follow the last tensor; expected none (the file is damaged)"));
  return Status::ok();
}

Status parse_header(std::string_view text, SafetensorsHeader& header, const std::string& what) {
  HeaderEvents events(header, what);
  bool parsed = Json::sax_parse(text.begin(), text.end(), &events);
  if (!events.problem.empty()) return Status::error(events.problem);
  return parsed ? Status::ok() : Status::error(str(what, ": the header is not a JSON object"));
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> bytes, const std::string& what) {
  ByteCursor cursor(bytes);
  uint64_t length = 0;
  if (!cursor.read(length))
    return Status::error(
        str(what, ": ", bytes.size(), " bytes long; expected a safetensors file of at least 10"));
  if (length > kMaxHeader)
    return Status::error(str(what, ": header of ", length, " bytes; expected at most ", kMaxHeader,
                             " (not a safetensors file?)"));
  std::string_view text;
  if (!cursor.take_text(length, text))
    return Status::error(str(what, ": header of ", length, " bytes but the file has ", bytes.size(),
                             "; it is truncated, download it again"));
  SafetensorsHeader header;
  Status parsed = parse_header(text, header, what);
  if (auto standard = parsed.is_ok() ? std::nullopt : standard_json(text)) {
    header = {};
    parsed = parse_header(*standard, header, what);
  }
  RETURN_IF_ERROR(parsed);
  RETURN_IF_ERROR(check_tiling(header, 8 + length, bytes.size(), what));
  return header;
}

}  // namespace mlc
