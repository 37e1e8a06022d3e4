// Builds kernel IR: expression helpers (types checked where they are built) and a statement builder with
// nested scopes.
//
//   KernelBuilder k("scale");
//   BufferRef x = k.input("x", DType::kF32, rows * 64), y = k.output("y", DType::kF32, rows * 64);
//   k.grid("row", rows, [&](ExprRef row) {
//     k.loop("i", 0, 64, LoopKind::kSerial, [&](ExprRef i) { k.store(y, row * 64 + i, k.load(x, row * 64 + i)
//     * 2.0f); });
//   });
//   Function f = k.finish();
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernel/ir.h"

namespace mlc::kernel {

ExprRef int_const(int64_t value, Type type = {DType::kI64, 1});
ExprRef float_const(double value, Type type = {DType::kF32, 1});
ExprRef variable(const std::string& name, Type type);
ExprRef dim_expr(const Dim& dim);  // symbols become kDim, operators become arithmetic
ExprRef unary(UnaryOp op, ExprRef a);
ExprRef binary(BinaryOp op, ExprRef a,
               ExprRef b);  // same types; a scalar constant adapts to the other's type
ExprRef select(ExprRef condition, ExprRef a, ExprRef b);
ExprRef cast(ExprRef a, DType to);
ExprRef bitcast(ExprRef a, Type to);
ExprRef broadcast(ExprRef a, int lanes);
ExprRef ramp(ExprRef base, int64_t stride, int lanes);
ExprRef shuffle(std::vector<ExprRef> operands, std::vector<int> pattern);
ExprRef extract(ExprRef a, int lane);
ExprRef fma(ExprRef a, ExprRef b, ExprRef c);
ExprRef dot4(ExprRef a, ExprRef b, ExprRef accumulator);
ExprRef dot2_u8s8(ExprRef a, ExprRef b);
ExprRef dot2_i16(ExprRef a, ExprRef b);
ExprRef reduce(BinaryOp op, ExprRef a);
ExprRef call(MathFn function, ExprRef a);
ExprRef unpack_half(ExprRef word);
ExprRef pack_half(ExprRef pair);
ExprRef half_fma(ExprRef a, ExprRef b, ExprRef c);
ExprRef subgroup(BinaryOp op, ExprRef a);  // use as let's value: KernelBuilder::let
ExprRef subgroup_xor(ExprRef a, int64_t mask);
ExprRef subgroup_broadcast(ExprRef a, int64_t lane);

ExprRef operator+(ExprRef a, ExprRef b);
ExprRef operator-(ExprRef a, ExprRef b);
ExprRef operator*(ExprRef a, ExprRef b);
ExprRef operator/(ExprRef a, ExprRef b);  // floats: division; ints: floor division

// A constant as it is written beside an expression, whose type it takes: an integer may meet floats, a real
// number meets floats only.
struct Number {
  Number(int value) : integer(value) {}  // implicit, likewise below
  Number(int64_t value) : integer(value) {}
  Number(double value) : real(value), is_real(true) {}
  int64_t integer = 0;
  double real = 0;
  bool is_real = false;
};
ExprRef operator+(ExprRef a, Number b);
ExprRef operator-(ExprRef a, Number b);
ExprRef operator*(ExprRef a, Number b);
ExprRef operator/(ExprRef a, Number b);
ExprRef operator%(ExprRef a, Number b);
ExprRef less(ExprRef a, ExprRef b);

class KernelBuilder {
 public:
  explicit KernelBuilder(std::string name);

  // Buffers of the call, in ABI order.
  BufferRef input(const std::string& name, DType dtype, Dim elements);
  BufferRef output(const std::string& name, DType dtype, Dim elements);

  // A dimension of the call by name; it joins the function's dims.
  ExprRef dimension(const std::string& name);

  ExprRef load(const BufferRef& buffer, ExprRef index, int lanes = 1, ExprRef mask = nullptr);
  ExprRef load_as(Type type, const BufferRef& bytes, ExprRef byte_index, ExprRef mask = nullptr);
  ExprRef gather(const BufferRef& buffer, ExprRef indices, ExprRef mask = nullptr);

  ExprRef let(const std::string& name, ExprRef value);  // a fresh name is made from `name`
  void store(const BufferRef& buffer, ExprRef index, ExprRef value, ExprRef mask = nullptr);
  void prefetch(const BufferRef& buffer, ExprRef index, int locality = 3);
  void barrier();
  BufferRef registers(const std::string& name, Type element, int64_t size);
  // Matrices in registers (ir.h), and what can be done with one.
  BufferRef fragments(const std::string& name, DType dtype, const Fragment& fragment, int64_t count);
  void matrix_clear(const FragmentRef& f);
  void matrix_load(const FragmentRef& f, const BufferRef& memory, ExprRef begin, int64_t stride,
                   MatrixOrder order);
  void matrix_store(const FragmentRef& f, const BufferRef& memory, ExprRef begin, int64_t stride,
                    MatrixOrder order);
  void matrix_multiply(const FragmentRef& sum, const FragmentRef& a, const FragmentRef& b);
  BufferRef shared(const std::string& name, DType dtype, int64_t size);
  BufferRef shared(const std::string& name, Type element, int64_t size);

  using Body = std::function<void(ExprRef)>;
  void grid(const std::string& name, const Dim& tiles, const Body& body);
  void loop(const std::string& name, ExprRef begin, ExprRef extent, LoopKind kind, const Body& body);
  void loop(const std::string& name, int64_t begin, int64_t extent, LoopKind kind, const Body& body);
  // A thread-bound function: the grid over `tiles` groups of `threads` threads; body(group, thread). shared()
  // inside of it declares the group's buffers. subgroup_size as in Function.
  void groups(const Dim& tiles, int64_t threads, int subgroup_size,
              const std::function<void(ExprRef, ExprRef)>& body);
  void branch(ExprRef condition, const std::function<void()>& then,
              const std::function<void()>& otherwise = nullptr);
  // Runs body(index, lanes) over [0, extent): whole vectors of `lanes`, then single elements for what is
  // left.
  void vector_loop(const std::string& name, ExprRef extent, int lanes,
                   const std::function<void(ExprRef, int)>& body);

  Function finish();  // internal error when there is no grid loop

 private:
  struct Frame {
    std::vector<StmtRef> statements;
  };
  void append(StmtRef statement);
  void note_dims(const std::vector<std::string>& names);
  Function function_;
  std::vector<Frame> frames_;
  size_t group_frame_ = 0;  // of the grid loop of a thread-bound function: where shared buffers are declared
  int next_name_ = 0;
};

}  // namespace mlc::kernel
