// Walks an expression with the shape that each part of it must have.
#include "weights/resolve.h"

#include "base/check.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "weights/extra.h"

namespace mlc::weights {
namespace {

using Kind = SourceExpr::Kind;
using Shape = std::vector<int64_t>;

constexpr int64_t kAny = -1;  // a length that only the sum of several is known of

class Resolver {
 public:
  Resolver(const Checkpoint& checkpoint, const std::string& what, const Wanted& wanted)
      : checkpoint_(checkpoint), what_(what), parameter_(wanted.parameter), dtype_(wanted.dtype) {}

  // `part_of`: "its rows of [..] (a + b)" where `wanted` leaves a length open.
  Status resolve(SourceExpr& e, const Shape& wanted, const std::string& part_of) {
    if (e.kind == Kind::kTensor) return find(e, wanted, part_of);
    if (e.kind == Kind::kConcat) return resolve_concat(e, wanted);
    Shape inner = wanted;
    switch (e.kind) {
      case Kind::kStack:
        internal_check(wanted.at(0) == static_cast<int64_t>(e.parts.size()),
                       parameter_ + ": as many parts as rows");
        inner.erase(inner.begin());
        break;
      case Kind::kSlice: inner[static_cast<size_t>(e.axis)] = e.dims[0]; break;
      case Kind::kTranspose: std::swap(inner[inner.size() - 1], inner[inner.size() - 2]); break;
      case Kind::kReshape: inner = e.from; break;
      default: break;
    }
    for (SourceExpr& part : e.parts) RETURN_IF_ERROR(resolve(part, inner, part_of));
    if (e.kind == Kind::kTranspose && e.parts[0].kind == Kind::kTensor) take_turned(e);
    e.shape = result_shape(e);
    if (e.kind == Kind::kPermute)
      internal_check(shape_elements(e.dims) == e.shape[static_cast<size_t>(e.axis)],
                     parameter_ + ": a permutation of another length");
    return Status::ok();
  }

 private:
  // A packed weight that is stored turned is read as it lies.
  void take_turned(SourceExpr& e) const {
    const int turned = checkpoint_.transposed(e.parts[0].tensor);
    if (turned < 0) return;
    SourceExpr tensor = std::move(e.parts[0]);
    tensor.tensor = turned;
    tensor.shape = checkpoint_.tensors()[static_cast<size_t>(turned)].shape;
    e = std::move(tensor);
  }

  Status find(SourceExpr& e, const Shape& wanted, const std::string& part_of) {
    e.tensor = checkpoint_.find(e.name);
    // A checkpoint of the decoder alone, as models that give embeddings are published, leaves the first name
    // out.
    constexpr std::string_view kDecoder = "model.";
    if (e.tensor < 0 && e.name.starts_with(kDecoder)) {
      e.tensor = checkpoint_.find(std::string_view(e.name).substr(kDecoder.size()));
      if (e.tensor >= 0) e.name.erase(0, kDecoder.size());
    }
    if (e.tensor < 0) {
      std::string hint = missing_hint(checkpoint_, e.name);
      if (hint.empty()) hint = did_you_mean(e.name, names());
      return Status::error(
          str(what_, ": tensor ", shown_name(e.name), " is missing, needed for ", parameter_, hint));
    }
    const SourceTensor& tensor = checkpoint_.tensors()[static_cast<size_t>(e.tensor)];
    RETURN_IF_ERROR(check(tensor, wanted, part_of));
    e.shape = tensor.shape;
    return Status::ok();
  }

  Status check(const SourceTensor& tensor, const Shape& wanted, const std::string& part_of) const {
    const std::string where =
        str(checkpoint_.files()[static_cast<size_t>(tensor.file)], ": tensor ", shown_name(tensor.name));
    if (!tensor.unread.empty()) return Status::error(str(where, " ", tensor.unread));
    if (!is_float(dtype_) && (!is_int(tensor.dtype) || size_of(tensor.dtype) != size_of(dtype_)))
      return Status::error(str(where, " is ", tensor.stored_type, ", expected I32 words of packed codes for ",
                               parameter_,
                               "; the checkpoint was packed by another version of the quantizer"));
    if (is_float(dtype_) && (!is_float(tensor.dtype) || tensor.dtype > DType::kF64))
      return Status::error(str(where, " is ", tensor.stored_type,
                               ", expected floats (F16, BF16 or F32); what another program quantized "
                               "cannot be converted, but the checkpoint it was made from can"));
    bool fits = tensor.shape.size() == wanted.size();
    for (size_t i = 0; fits && i < wanted.size(); ++i)
      fits = wanted[i] == kAny || wanted[i] == tensor.shape[i];
    if (fits) return Status::ok();
    return Status::error(str(where, " has shape ", shown_shape(tensor.shape), ", expected ",
                             part_of.empty() ? shown_shape(wanted) : part_of, " for ", parameter_,
                             "; does config.json belong to this checkpoint?"));
  }

  Status resolve_concat(SourceExpr& e, const Shape& wanted) {
    const size_t axis = static_cast<size_t>(e.axis);
    const std::vector<std::string> names = source_names(e);
    Shape inner = wanted;
    inner.at(axis) = kAny;
    const std::string part_of = str("its ", axis == 0 ? "rows" : "columns", " of ", shown_shape(wanted), " (",
                                    join(names, " + "), ")");
    for (SourceExpr& part : e.parts) RETURN_IF_ERROR(resolve(part, inner, part_of));
    e.shape = result_shape(e);
    if (wanted[axis] == kAny || wanted[axis] == e.shape[axis]) return Status::ok();
    std::vector<std::string> shapes;
    for (const SourceExpr& part : e.parts) shapes.push_back(shown_shape(part.shape));
    return Status::error(str(what_, ": tensors ", join(names, " + "), " have shapes ", join(shapes, " + "),
                             ", expected ", shown_shape(wanted), " together for ", parameter_));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const SourceTensor& t : checkpoint_.tensors()) names.push_back(t.name);
    return names;
  }

  const Checkpoint& checkpoint_;
  const std::string& what_;
  const std::string& parameter_;
  DType dtype_;
};

}  // namespace

Status resolve_sources(const Checkpoint& checkpoint, const std::string& what, const Wanted& wanted,
                       SourceExpr& expr) {
  RETURN_IF_ERROR(Resolver(checkpoint, what, wanted).resolve(expr, wanted.shape, ""));
  number_leaves(expr);
  return Status::ok();
}

}  // namespace mlc::weights
