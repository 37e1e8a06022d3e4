// Which matrix each row of a matmul meets: what the lowerings of matmul, expert_matmul (meaning:
// graph/ops/experts.cpp) and head_matmul (graph/ops/matmul.cpp) share on CPUs and GPUs. A weight [E, N, K] is
// one matrix of E * N rows; a matmul's is that of a single expert. A head_matmul's rows are heads: those of x
// one after the other, each with the matrix of its place among them.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

// Rows that meet the same matrix: every step-th of rows [row, end) of the result, made from those from x_row
// on of x and the weight's rows from weight_row on.
struct RowRun {
  ExprRef weight_row, x_row, row, end;
  int64_t step = 1;
};

class ExpertRows {
 public:
  // Declares operand 2 of an expert_matmul: construct it after x and the weight are declared.
  explicit ExpertRows(Lowering& low);

  // How a kernel is cut: each row of the result by itself (a single row, or slots in any order), or runs.
  bool by_row() const { return by_row_; }
  Dim rows() const { return rows_; }        // of the result
  int64_t count() const { return count_; }  // experts: a matmul has 1
  Dim most_rows() const { return most_; }   // of one run
  bool of_heads() const { return heads_; }
  bool any() const { return ids_ || runs_ || heads_; }  // else there is one run or one row

  RowRun one_row(const ExprRef& row) const;
  RowRun run(const ExprRef& expert) const;

 private:
  KernelBuilder& k_;
  Dim rows_, most_;
  int64_t count_ = 1, weight_rows_ = 0, share_ = 1;
  bool by_row_ = false, heads_ = false;
  BufferRef ids_, runs_;  // i32; null where the operand is none or the other
};

// Rows of the matrix that one row of x meets.
int64_t matrix_rows(const graph::TensorType& weight);

// How route chooses (graph/ops/experts.cpp), as its node says.
struct Routing {
  bool renormalize = false;
  int64_t groups = 1, kept_groups = 1;
  double scale = 1;
  // Of an expert whose power is that part of a sum.
  ExprRef weight(const ExprRef& power, const ExprRef& sum) const {
    return scale == 1 ? power / sum : power / sum * scale;
  }
};
Routing routing_of(const graph::Node& node);

// Logits as route meets them (graph/ops/experts.cpp): what they are compared by, of magnitude kLargestLogit
// at most, where NaN is the least; and e^(a logit - top), where top is a key.
inline constexpr double kLargestLogit = 1e38;
ExprRef logit_key(const ExprRef& logit);
ExprRef logit_power(KernelBuilder& k, const ExprRef& logit, const ExprRef& top);
// Whether an expert comes after another one in the order of keys, largest first, then numbers; with no other
// number only by keys.
ExprRef comes_after(const ExprRef& key, const ExprRef& number, const ExprRef& other_key,
                    const ExprRef& other_number);

}  // namespace mlc::kernel
