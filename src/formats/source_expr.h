// How a tensor is made from tensors of a checkpoint: a small expression, and the runs of source elements that
// any part of its result is read from.
//
// Shapes are outermost axis first, elements are counted in C order. Nothing is computed on whole tensors: a
// reader asks for a range of the result's elements and gets runs, so that converting streams.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mlc {

struct SourceExpr {
  enum class Kind : uint8_t {
    kTensor,
    kConcat,     // parts joined along `axis`
    kStack,      // parts of one shape along a new first axis
    kSlice,      // [begin, end) of `axis`, which has dims[0] elements
    kTranspose,  // the last two axes exchanged
    kPermute,    // `axis` seen as dims, reordered: place k of the result's axis is dims[order[k]]
    kReshape,    // of `from`, seen as dims
    kPlusOne,    // x + 1, rounded to the dtype in which the source is read (mlc-facts 0, on gemma)
    kExpNegExp,  // exp(-exp(x)), in float32
    kScale,      // x * factor, of and to values in the dtype of the parameter
  };
  Kind kind = Kind::kTensor;
  std::string name;  // kTensor
  std::vector<SourceExpr> parts;
  int axis = 0;
  int64_t begin = 0, end = 0;
  std::vector<int64_t> dims, from;
  std::vector<int> order;
  double factor = 1;
  // Known once the checkpoint is: the result's shape and the tensor's index in the checkpoint;
  // number_leaves() says which of source_leaves() it is.
  std::vector<int64_t> shape;
  int tensor = -1, leaf = -1;

  static SourceExpr of(std::string name);
  static SourceExpr concat(std::vector<SourceExpr> parts, int axis = 0);  // one part: itself
  static SourceExpr rows_of(const std::vector<std::string>& names);       // these tensors along axis 0
  static SourceExpr stack(std::vector<SourceExpr> parts);
  static SourceExpr slice(SourceExpr operand, int axis, int64_t length, int64_t begin, int64_t end);
  static SourceExpr transpose(SourceExpr operand);
  static SourceExpr permute(SourceExpr operand, int axis, std::vector<int64_t> dims, std::vector<int> order);
  static SourceExpr reshape(SourceExpr operand, std::vector<int64_t> from, std::vector<int64_t> dims);
  static SourceExpr plus_one(SourceExpr operand);
  static SourceExpr exp_neg_exp(SourceExpr operand);
  static SourceExpr scale(SourceExpr operand, double factor);
};

// The elements of a tensor of this shape, which has been checked not to overflow.
int64_t shape_elements(const std::vector<int64_t>& shape);

// The names of the tensors of an expression, from left to right; one that occurs twice is there twice.
std::vector<std::string> source_names(const SourceExpr& expr);

// The shape of `expr` by the shapes of its parts.
std::vector<int64_t> result_shape(const SourceExpr& expr);

// One tensor of an expression, and what is done to its elements on the way to the result, first step first.
struct SourceLeaf {
  int tensor = -1;
  std::vector<int64_t> shape;
  // Elements of a line (Checkpoint::read_lines).
  int64_t line_size() const { return shape.size() > 1 ? shape.back() : 1; }
  struct Step {
    SourceExpr::Kind kind;
    double factor;
  };
  std::vector<Step> steps;
};

void number_leaves(SourceExpr& expr);
// From left to right; shapes and tensors are known.
std::vector<SourceLeaf> source_leaves(const SourceExpr& expr);

// Elements begin, begin + stride, ... of a leaf, `count` of them.
struct SourceRun {
  int leaf = 0;
  int64_t begin = 0, count = 0, stride = 1;
};

// Where elements [begin, end) of the result come from, in order, in as few runs as follow from the
// expression's form: rows of a concat are one for each tensor, those of a transpose one for each row.
std::vector<SourceRun> source_runs(const SourceExpr& expr, int64_t begin, int64_t end);

}  // namespace mlc
