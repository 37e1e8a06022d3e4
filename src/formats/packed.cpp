// One finder for each method: from the tensors beside a module to a description and its records.
#include "formats/packed.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/checkpoint.h"

namespace mlc {
namespace {

using F = WeightFormat;
using Method = Packing::Method;
using Part = FormatRecord::Part;

constexpr int64_t kMaxSide = int64_t{1} << 31;  // of a weight

// The name without an ending it has.
std::string without(const std::string& name, std::string_view ending) {
  return name.substr(0, name.size() - ending.size());
}

bool is_fp8(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2; }

class Finder {
 public:
  Finder(const Checkpoint& checkpoint, const Packing& packing) : checkpoint_(checkpoint), packing_(packing) {}

  Result<std::vector<PackedWeight>> find() {
    for (const SourceTensor& tensor : checkpoint_.tensors()) RETURN_IF_ERROR(look_at(tensor));
    return std::move(found_);
  }

 private:
  // Takes a tensor that holds the codes of a weight.
  Status look_at(const SourceTensor& tensor) {
    const std::string& name = tensor.name;
    const bool weight = name.ends_with(".weight") && tensor.shape.size() == 2;
    switch (packing_.method) {
      case Method::kAwq: return name.ends_with(".qweight") ? awq(tensor) : Status::ok();
      case Method::kGptq: return name.ends_with(".qweight") ? gptq(tensor) : Status::ok();
      case Method::kCompressed:
        if (name.ends_with(".weight_packed")) return compressed(tensor);
        [[fallthrough]];
      case Method::kFp8:
        return weight && (is_fp8(tensor.dtype) || tensor.dtype == DType::kI8) ? scaled(tensor) : Status::ok();
      case Method::kMxFp4: return name.ends_with("_blocks") ? mxfp4(tensor) : Status::ok();
      case Method::kBitsandbytes:
        return name.find(".weight.quant_state.bitsandbytes__") != std::string::npos ? nf4(tensor)
                                                                                    : Status::ok();
      case Method::kMlx:
        return weight && tensor.dtype == DType::kU32 && part(without(name, "weight") + "scales")
                   ? mlx(tensor)
                   : Status::ok();
    }
    return Status::ok();
  }

  const SourceTensor* part(const std::string& name) const {
    const int index = checkpoint_.find(name);
    return index < 0 ? nullptr : &checkpoint_.tensors()[static_cast<size_t>(index)];
  }

  Status error(const SourceTensor& tensor, const std::string& says) const {
    return Status::error(str(checkpoint_.files()[static_cast<size_t>(tensor.file)], ": tensor ",
                             shown_name(tensor.name), " ", says));
  }

  // A part that must be there.
  Result<const SourceTensor*> needed(const SourceTensor& codes, const std::string& name) const {
    if (const SourceTensor* found = part(name)) return found;
    return error(codes, str("needs ", shown_name(name), ", which is missing; download the checkpoint again"));
  }

  Status check_matrix(const SourceTensor& codes) const {
    if (codes.shape.size() == 2 && shape_fits(codes.shape)) return Status::ok();
    return error(codes, str("has shape ", shown_shape(codes.shape), ", expected a matrix of packed codes"));
  }

  static bool shape_fits(const std::vector<int64_t>& shape) {
    return std::ranges::all_of(shape, [](int64_t dim) { return dim > 0 && dim < kMaxSide; });
  }

  // Adds a weight of `shape` whose records are tensors `base` + their names.
  Status add(const SourceTensor& codes, const std::string& base, std::string name, std::vector<int64_t> shape,
             const F& format) {
    if (!shape_fits(shape) || !element_count(shape))
      return error(codes, str("is of a weight of shape ", shown_shape(shape), ", which is out of bounds"));
    if (format.dtype != DType::kF16 && format.dtype != DType::kBF16 && format.dtype != DType::kF32)
      return error(codes, str("has scales of ", long_name(format.dtype), ", expected F16, BF16 or F32"));
    PackedWeight weight{.name = std::move(name), .shape = std::move(shape), .format = format};
    for (const FormatRecord& record : format_records(format, {weight.n(), weight.k()})) {
      ASSIGN_OR_RETURN(const SourceTensor* tensor, needed(codes, base + record.name));
      RETURN_IF_ERROR(check_record(*tensor, record, weight));
      weight.parts.push_back(checkpoint_.find(tensor->name));
      take_bytes(weight.parts.back(), weight);
    }
    found_.push_back(std::move(weight));
    return Status::ok();
  }

  Status check_record(const SourceTensor& tensor, const FormatRecord& record,
                      const PackedWeight& weight) const {
    int64_t elements = weight.count();
    for (int64_t dim : record.shape) elements *= dim;
    const bool same_kind =
        is_float(tensor.dtype) == is_float(record.dtype) && size_of(tensor.dtype) == size_of(record.dtype);
    if (same_kind && tensor.byte_size == elements * size_of(record.dtype)) return Status::ok();
    const std::string inputs = weight.format.group ? str(" in groups of ", weight.format.group) : "";
    return error(tensor,
                 str("is ", tensor.stored_type, " of shape ", shown_shape(tensor.shape), ", expected ",
                     long_name(record.dtype), " of ", elements, " elements for a weight ",
                     shown_shape(weight.shape), inputs, " as ", packing_.name, " packs it"));
  }

  void take_bytes(int index, PackedWeight& weight) {
    auto buffer = std::make_shared<std::vector<std::byte>>();
    weight.bytes.push_back(checkpoint_.read(index, *buffer));
    if (!buffer->empty()) weight.owned.push_back(std::move(buffer));
  }

  // --- the methods
  Status awq(const SourceTensor& codes) {
    RETURN_IF_ERROR(check_matrix(codes));
    const std::string base = without(codes.name, "qweight");
    ASSIGN_OR_RETURN(const SourceTensor* scales, needed(codes, base + "scales"));
    F format = F::awq(packing_.group);
    format.dtype = scales->dtype;
    return add(codes, base, base + "weight", {codes.shape[1] * 8, codes.shape[0]}, format);
  }

  Status gptq(const SourceTensor& codes) {
    RETURN_IF_ERROR(check_matrix(codes));
    const std::string base = without(codes.name, "qweight");
    ASSIGN_OR_RETURN(const SourceTensor* scales, needed(codes, base + "scales"));
    F format = F::awq(packing_.group);
    format.names = F::Names::kGptq, format.bits = packing_.bits, format.dtype = scales->dtype;
    format.along = F::Along::kK, format.order = F::Order::kLowFirst;
    format.zero_plus = static_cast<uint8_t>(packing_.zero_plus);
    const int64_t k = codes.shape[0] * format.codes_per_word();
    RETURN_IF_ERROR(set_order(codes, base + "g_idx", k, format));
    return add(codes, base, base + "weight", {codes.shape[1], k}, format);
  }

  // Whether the inputs have an order of their own.
  Status set_order(const SourceTensor& codes, const std::string& name, int64_t k, F& format) const {
    const SourceTensor* index = part(name);
    if (!index && packing_.act_order)
      return error(
          codes, str("was packed with act-order (desc_act), but its ", shown_name(name),
                     " is missing, which says in which group each input is; download the whole checkpoint"));
    if (!index) return Status::ok();
    if (index->shape != std::vector<int64_t>{k} || index->dtype != DType::kI32)
      return error(*index, str("is ", index->stored_type, " of shape ", shown_shape(index->shape),
                               ", expected int32 [", k, "]"));
    std::vector<std::byte> buffer;
    const std::span<const std::byte> bytes = checkpoint_.read(checkpoint_.find(name), buffer);
    for (int64_t i = 0; i < k; ++i) {
      int32_t group;
      std::memcpy(&group, bytes.data() + 4 * i, 4);
      if (group < 0 || group >= format.groups(k))
        return error(*index, str("names group ", group, " of ", format.groups(k), "; the file is damaged"));
      if (group != (format.group ? i / format.group : 0)) format.permuted = true;
    }
    return Status::ok();
  }

  Status compressed(const SourceTensor& codes) {
    RETURN_IF_ERROR(check_matrix(codes));
    if (packing_.bits == 0)
      return error(codes,
                   "holds packed codes, but config.json tells of no weights of 4 or 8 bits and type int");
    const std::string module = without(codes.name, "weight_packed");
    ASSIGN_OR_RETURN(const SourceTensor* scales, needed(codes, module + "weight_scale"));
    F format = F::grouped(4, scales->dtype, false);
    format.names = F::Names::kCompressed, format.bits = packing_.bits, format.group = packing_.group;
    if (part(module + "weight_zero_point")) format.zero = F::Zero::kCodes;
    int64_t k = codes.shape[1] * format.codes_per_word();
    RETURN_IF_ERROR(read_width(codes, module + "weight_shape", format.codes_per_word(), k));
    if (part(module + "weight_g_idx")) RETURN_IF_ERROR(set_order(codes, module + "weight_g_idx", k, format));
    return add(codes, module, module + "weight", {codes.shape[0], k}, format);
  }

  // The last word of a row may hold fewer codes: a tensor of [n, k] says so.
  Status read_width(const SourceTensor& codes, const std::string& name, int per_word, int64_t& k) const {
    const SourceTensor* shape = part(name);
    if (!shape) return Status::ok();
    std::vector<std::byte> buffer;
    const std::span<const std::byte> bytes = checkpoint_.read(checkpoint_.find(name), buffer);
    int64_t n = -1, width = -1;
    if (shape->dtype == DType::kI64 && bytes.size() == 16) {
      std::memcpy(&n, bytes.data(), 8), std::memcpy(&width, bytes.data() + 8, 8);
    } else if (shape->dtype == DType::kI32 && bytes.size() == 8) {
      int32_t values[2];
      std::memcpy(values, bytes.data(), 8);
      n = values[0], width = values[1];
    }
    if (n != codes.shape[0] || width > k || width <= k - per_word)
      return error(*shape, str("says that ", shown_name(codes.name), " is a weight [", n, ", ", width,
                               "], its words are one of [", codes.shape[0], ", ", k, "]"));
    k = width;
    return Status::ok();
  }

  // fp8 and int8 whose scale is of all, of a row, or of a block.
  Status scaled(const SourceTensor& codes) {
    RETURN_IF_ERROR(check_matrix(codes));
    const std::string module = without(codes.name, "weight");
    const bool inverse = part(module + "weight_scale_inv") != nullptr;
    const std::string name = module + (inverse ? "weight_scale_inv" : "weight_scale");
    ASSIGN_OR_RETURN(const SourceTensor* scale, needed(codes, name));
    const int64_t n = codes.shape[0], k = codes.shape[1];
    const auto elements = static_cast<int64_t>(*element_count(scale->shape));
    F format;
    format.kind = F::Kind::kGroup, format.bits = 8, format.container = codes.dtype,
    format.dtype = scale->dtype;
    format.code = codes.dtype == DType::kF8E4M3   ? F::Code::kE4M3
                  : codes.dtype == DType::kF8E5M2 ? F::Code::kE5M2
                                                  : F::Code::kSigned;
    format.zero = F::Zero::kNone, format.names = inverse ? F::Names::kBlockScale : F::Names::kScaled;
    if (elements == 1)
      format.group_n = 0;
    else if (elements != n || packing_.block_n)
      format.group = static_cast<int>(packing_.block_k),
      format.group_n = static_cast<int16_t>(packing_.block_n);
    return add(codes, module, codes.name, {n, k}, format);
  }

  // [count, n, groups, 16] bytes of two codes each.
  Status mxfp4(const SourceTensor& codes) {
    if (codes.shape.size() != 4 || codes.shape[3] != 16 || !shape_fits(codes.shape))
      return error(codes,
                   str("has shape ", shown_shape(codes.shape), ", expected [experts, outputs, groups, 16]"));
    F format = F::grouped(4, DType::kF16, false);
    format.code = F::Code::kE2M1, format.container = DType::kU8, format.scale_code = F::ScaleCode::kE8M0;
    format.zero = F::Zero::kNone, format.names = F::Names::kMxFp4;
    const std::string base = without(codes.name, "blocks");
    return add(codes, base, without(base, "_"), {codes.shape[0], codes.shape[1], codes.shape[2] * 32},
               format);
  }

  // A tensor of JSON text says what the weight was.
  Status nf4(const SourceTensor& state) {
    const std::string name = state.name.substr(0, state.name.find(".quant_state."));
    std::vector<std::byte> buffer;
    const std::span<const std::byte> bytes = checkpoint_.read(checkpoint_.find(state.name), buffer);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ASSIGN_OR_RETURN(Json json, parse_json(text, str(checkpoint_.files()[static_cast<size_t>(state.file)],
                                                     ": tensor ", shown_name(state.name))));
    const Json* shape = mlc::find(json, "shape");
    const int64_t block = find_int(json, "blocksize").value_or(0);
    const int64_t nested = find_int(json, "nested_blocksize").value_or(0);
    auto whole = [](const Json& v) { return v.is_number_integer() && v > 0 && v < kMaxSide; };
    if (!shape || !shape->is_array() || shape->size() != 2 || !whole((*shape)[0]) || !whole((*shape)[1]))
      return error(state, "names no shape [outputs, inputs]");
    const int64_t n = (*shape)[0].get<int64_t>(), k = (*shape)[1].get<int64_t>();
    if (block < 16 || block > 4096 || nested < 0 || nested > 1024 || block * nested > INT16_MAX ||
        k % block != 0)
      return error(state, str("says blocks of ", block, " (of ", nested, ") for rows of ", k,
                              ", expected blocks that fill the rows, of at most ", INT16_MAX, " together"));
    return add_nf4(state, json, name, {n, k}, static_cast<int>(block), static_cast<int>(nested));
  }

  Status add_nf4(const SourceTensor& state, const Json& json, const std::string& name,
                 std::vector<int64_t> shape, int block, int nested) {
    F format = F::grouped(4, DType::kF32, false);
    format.code = F::Code::kNf4, format.group = block, format.container = DType::kU8;
    format.order = F::Order::kHighFirst, format.zero = F::Zero::kNone, format.names = F::Names::kNf4;
    const bool twice = part(name + ".nested_absmax") != nullptr;
    if (twice && nested == 0) return error(state, "names no nested_blocksize");
    if (twice)
      format.scale_code = F::ScaleCode::kU8, format.super_group = static_cast<int16_t>(block * nested);
    RETURN_IF_ERROR(add(state, without(name, "weight"), name, std::move(shape), format));
    if (!twice) return Status::ok();
    const auto offset = static_cast<float>(find_number(json, "nested_offset").value_or(0));
    auto bytes = std::make_shared<std::vector<std::byte>>(4);
    std::memcpy(bytes->data(), &offset, 4);
    found_.back().bytes.push_back(*bytes);
    found_.back().owned.push_back(std::move(bytes));
    return Status::ok();
  }

  Status mlx(const SourceTensor& codes) {
    const std::string module = without(codes.name, "weight");
    ASSIGN_OR_RETURN(const SourceTensor* scales, needed(codes, module + "scales"));
    F format = F::grouped(4, scales->dtype, false);
    format.bits = packing_.bits, format.group = packing_.group;
    if (const Json* own = mlc::find(packing_.modules, without(module, "."))) {
      const int64_t bits = find_int(*own, "bits").value_or(packing_.bits);
      const int64_t group = find_int(*own, "group_size").value_or(packing_.group);
      if ((bits != 2 && bits != 4 && bits != 8) || group < 16 || group > 4096)
        return error(codes, str("has ", bits, " bits in groups of ", group, ", expected 2, 4 or 8 bits"));
      format.bits = static_cast<int>(bits), format.group = static_cast<int>(group);
    }
    format.zero = F::Zero::kFloat, format.names = F::Names::kMlx;
    return add(codes, module, codes.name, {codes.shape[0], codes.shape[1] * format.codes_per_word()}, format);
  }

  const Checkpoint& checkpoint_;
  const Packing& packing_;
  std::vector<PackedWeight> found_;
};

}  // namespace

WeightReader PackedWeight::reader(int64_t i) const {
  std::vector<std::span<const std::byte>> records;
  for (const std::span<const std::byte>& all : bytes) {
    const size_t size = all.size() / static_cast<size_t>(count());
    records.push_back(count() == 1 ? all : all.subspan(static_cast<size_t>(i) * size, size));
  }
  return WeightReader(format, n(), k(), records);
}

Result<std::vector<PackedWeight>> find_packed(const Checkpoint& checkpoint, const Packing& packing) {
  return Finder(checkpoint, packing).find();
}

}  // namespace mlc
