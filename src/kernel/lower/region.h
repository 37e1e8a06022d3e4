// A region (graph/region.h) as a kernel computes it, on vectors of any number of f32 lanes.
#pragma once

#include <vector>

#include "kernel/lower/context.h"

namespace mlc::kernel {

class LoweredRegion {
 public:
  // Declares the region's operands: call it after the node's inputs. columns: of the results.
  LoweredRegion(Lowering& low, int64_t columns);

  int accumulators() const { return region_.accumulators(); }
  // The most elements that the operands move at once at any multiple of themselves in a row.
  int lanes() const;
  // The results of a unit; computed: one for each accumulator.
  ExprRef apply(const Unit& u, const std::vector<ExprRef>& computed);

 private:
  ExprRef load(const graph::Region::Term& term, const Unit& u);

  Lowering& low_;
  const graph::Region& region_;
  std::vector<Operand> operands_;
  std::vector<graph::Access> access_;
  int64_t columns_;
};

// The slope of a query head of an attention node (alibi_slope of graph/ops/math.h); null where it has none.
ExprRef head_slope(KernelBuilder& k, const graph::Node& node, const ExprRef& head);
// A score as an attention node's region makes it of x = scale * q.k; slope: of the query's head, or null;
// distance: of the token behind the row's own, at most 0.
ExprRef score_of(Lowering& low, const ExprRef& x, const ExprRef& slope, const ExprRef& distance);

// A function of graph/ops/math.h on f32.
ExprRef apply_function(const std::string& function, const ExprRef& x);

}  // namespace mlc::kernel
