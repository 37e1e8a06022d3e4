// add, mul, bias, activation, cast, gated, slice: one tile per row.
#include "kernel/lower/context.h"

namespace mlc::kernel {
namespace {

ExprRef combine(Lowering& low, const std::vector<ExprRef>& v) {
  const std::string& op = low.node.op;
  if (op == "add" || op == "bias") return v[0] + v[1];
  if (op == "mul") return v[0] * v[1];
  if (op == "activation") return apply_activation(low.node.get_string("function"), v[0]);
  return v[0];  // cast: the store rounds
}

}  // namespace

Function lower_elementwise(Lowering& low) {
  KernelBuilder& k = low.k;
  std::vector<Matrix> in;
  BufferRef bias;
  in.push_back(low.matrix(0, "x"));
  if (low.node.op == "bias") bias = low.vector(1, "bias");
  else if (low.node.inputs.size() > 1) in.push_back(low.matrix(1, "y"));
  Matrix out = low.result();
  low.for_each_row(out.rows, [&](ExprRef r) {
    k.vector_loop("i", int_const(out.columns), low.lanes(), [&](ExprRef i, int lanes) {
      std::vector<ExprRef> values;
      for (const Matrix& m : in) values.push_back(k.let("v", low.load_f32(m.buffer, m.at(r, i), lanes)));
      if (bias) values.push_back(low.load_f32(bias, i, lanes));
      low.store_f32(out.buffer, out.at(r, i), combine(low, values));
    });
  });
  Function f = k.finish();
  f.in_place = in[0].row_stride == out.columns && in[0].buffer->element == out.buffer->element;
  return f;
}

Function lower_gated(Lowering& low) {
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

Function lower_slice(Lowering& low) {
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
