// add, mul, bias, activation, cast, gated, slice: one tile per row.
#include "kernel/lower/cpu/lowerings.h"

namespace mlc::kernel {
Function lower_elementwise(CpuLowering& low) {
  KernelBuilder& k = low.k;
  std::vector<Matrix> in;
  BufferRef bias;
  in.push_back(low.matrix(0, "x"));
  if (low.node.op == "bias")
    bias = low.vector(1, "bias");
  else if (low.node.inputs.size() > 1)
    in.push_back(low.matrix(1, "y"));
  Matrix out = low.result();
  low.for_each_row(out.rows, [&](ExprRef r) {
    k.vector_loop("i", int_const(out.columns), low.lanes(), [&](ExprRef i, int lanes) {
      std::vector<ExprRef> values;
      for (const Matrix& m : in) values.push_back(k.let("v", low.load_f32(m.buffer, m.at(r, i), lanes)));
      if (bias) values.push_back(low.load_f32(bias, i, lanes));
      low.store_f32(out.buffer, out.at(r, i), elementwise_value(low.node, values));
    });
  });
  Function f = k.finish();
  f.in_place = in[0].row_stride == out.columns && in[0].buffer->element == out.buffer->element;
  return f;
}

Function lower_gated(CpuLowering& low) {
  Matrix x = low.matrix(0, "x");
  Matrix out = low.result();
  low.for_each_row(out.rows, [&](ExprRef r) {
    low.k.vector_loop("i", int_const(out.columns), low.lanes(), [&](ExprRef i, int lanes) {
      ExprRef gate = low.k.let("gate", low.load_f32(x.buffer, x.at(r, i), lanes));
      ExprRef up = low.load_f32(x.buffer, x.at(r, i + double(out.columns)), lanes);
      low.store_f32(out.buffer, out.at(r, i), apply_activation(low.node.get_string("function"), gate) * up);
    });
  });
  return low.k.finish();
}

Function lower_slice(CpuLowering& low) {
  Matrix x = low.matrix(0, "x");
  Matrix out = low.result();
  double begin = static_cast<double>(low.node.get_int("begin"));
  low.for_each_row(out.rows, [&](ExprRef r) {
    low.k.vector_loop("i", int_const(out.columns), low.lanes(), [&](ExprRef i, int lanes) {
      low.store_f32(out.buffer, out.at(r, i), low.load_f32(x.buffer, x.at(r, i + begin), lanes));
    });
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
