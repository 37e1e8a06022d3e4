// Reading a shard index from untrusted text.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "formats/checked.h"
#include "formats/shards.h"

namespace mlc {
namespace {

constexpr size_t kMaxTensors = 1 << 20, kMaxRank = 16;

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && is_valid_utf8(name) &&
         name.find_first_of(std::string("/\\\0:", 4)) == std::string::npos;
}

bool is_md5(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

Result<std::vector<int64_t>> parse_shape(const Json& record, const std::string& what) {
  ASSIGN_OR_RETURN(const Json* list, get_array(record, "shape", what));
  std::vector<int64_t> shape;
  for (const Json& dim : *list) {
    if (!dim.is_number_integer() || (dim.is_number_unsigned() && dim.get<uint64_t>() > INT64_MAX) ||
        dim.get<int64_t>() < 0)
      return Status::error(
          str(what, ": shape holds ", json_text(dim).substr(0, 40), ", expected integers of 0 or more"));
    shape.push_back(dim.get<int64_t>());
  }
  if (shape.size() > kMaxRank)
    return Status::error(str(what, ": has ", shape.size(), " dimensions, expected at most ", kMaxRank));
  return shape;
}

Result<TensorRecord> parse_tensor(const Json& json, const ShardRecord& shard, const std::string& where) {
  TensorRecord tensor;
  ASSIGN_OR_RETURN(tensor.name, get_string(json, "name", where));
  std::string what = str(where, ": tensor ", shown_name(tensor.name));
  ASSIGN_OR_RETURN(tensor.shape, parse_shape(json, what));
  ASSIGN_OR_RETURN(std::string dtype, get_string(json, "dtype", what));
  auto parsed = parse_dtype(dtype);
  if (!parsed || long_name(*parsed) != dtype)
    return Status::error(
        str(what, ": unknown dtype ", shown_name(dtype), ", expected one like float16, uint32 or float32"));
  tensor.dtype = *parsed;
  ASSIGN_OR_RETURN(std::string format, get_string(json, "format", what));
  if (format == "raw")
    tensor.format = RecordFormat::kRaw;
  else if (format == "f32-to-bf16")
    tensor.format = RecordFormat::kF32ToBF16;
  else
    return Status::error(str(what, ": unknown format ", shown_name(format), ", expected raw or f32-to-bf16"));
  ASSIGN_OR_RETURN(tensor.size, get_int(json, "nbytes", what));
  ASSIGN_OR_RETURN(tensor.offset, get_int(json, "byteOffset", what));
  ASSIGN_OR_RETURN(int64_t expected, stored_size(tensor, where));
  if (tensor.size != expected)
    return Status::error(str(what, ": nbytes is ", tensor.size, ", expected ", expected, " for ", dtype, " ",
                             shown_shape(tensor.shape), " stored as ", format));
  if (tensor.offset < 0 ||
      !range_inside(static_cast<uint64_t>(tensor.offset), static_cast<uint64_t>(tensor.size),
                    static_cast<uint64_t>(shard.size)))
    return Status::error(str(what, ": bytes ", tensor.offset, " + ", tensor.size, " lie outside ", shard.file,
                             " of ", shard.size));
  return tensor;
}

Status check_overlaps(const ShardRecord& shard, const std::string& what) {
  std::vector<const TensorRecord*> order;
  for (const TensorRecord& t : shard.tensors)
    if (t.size > 0) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->size)
      return Status::error(str(what, ": tensors ", shown_name(order[i - 1]->name), " and ",
                               shown_name(order[i]->name), " overlap in ", shard.file));
  return Status::ok();
}

Result<ShardRecord> parse_shard(const Json& json, const std::string& what, std::set<std::string>& names) {
  ShardRecord shard;
  ASSIGN_OR_RETURN(shard.file, get_string(json, "dataPath", what));
  if (!is_plain_file_name(shard.file))
    return Status::error(str(what, ": dataPath ", shown_name(shard.file),
                             " is not a plain file name; a shard must lie beside its index"));
  std::string where = str(what, ": shard ", shown_name(shard.file));
  ASSIGN_OR_RETURN(std::string format, get_string(json, "format", where));
  if (format != "raw-shard")
    return Status::error(str(where, ": unknown format ", shown_name(format), ", expected raw-shard"));
  ASSIGN_OR_RETURN(shard.size, get_int(json, "nbytes", where));
  if (shard.size < 0) return Status::error(str(where, ": nbytes is ", shard.size, ", expected 0 or more"));
  if (const Json* md5 = find(json, "md5sum")) {
    if (!md5->is_string() || !is_md5(md5->get_ref<const std::string&>()))
      return Status::error(str(where, ": md5sum is not 32 hex digits"));
    shard.md5 = md5->get<std::string>();
  }
  ASSIGN_OR_RETURN(const Json* records, get_array(json, "records", where));
  for (const Json& record : *records) {
    ASSIGN_OR_RETURN(TensorRecord tensor, parse_tensor(record, shard, what));
    if (!names.insert(tensor.name).second)
      return Status::error(str(what, ": tensor ", shown_name(tensor.name), " is listed twice"));
    if (names.size() > kMaxTensors)
      return Status::error(str(what, ": lists more than ", kMaxTensors, " tensors"));
    shard.tensors.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(check_overlaps(shard, what));
  return shard;
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view text, const std::string& what) {
  ASSIGN_OR_RETURN(Json json, parse_json(text, what));
  ShardIndex index;
  if (const Json* metadata = find(json, "metadata")) {
    index.param_count = find_int(*metadata, "ParamSize").value_or(0);
    index.param_bytes = find_number(*metadata, "ParamBytes").value_or(-1);
    index.bits_per_param = find_number(*metadata, "BitsPerParam").value_or(-1);
  }
  ASSIGN_OR_RETURN(const Json* shards, get_array(json, "records", what));
  std::set<std::string> names, files;
  for (const Json& record : *shards) {
    ASSIGN_OR_RETURN(ShardRecord shard, parse_shard(record, what, names));
    if (!files.insert(shard.file).second)
      return Status::error(str(what, ": shard ", shown_name(shard.file), " is listed twice"));
    index.shards.push_back(std::move(shard));
  }
  return index;
}

}  // namespace mlc
