// Matrix statements of the interpreter, on the frame that keeps the fragments.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"
#include "kernel/interpret_program.h"

namespace mlc::kernel {
namespace {

float* fragment(Frame& f, int64_t slot) { return reinterpret_cast<float*>(f.memory.data() + slot); }

// Each product of 16-bit floats is exact in f32. Sums in the order of depth, or in the pairs of bf16 units.
void multiply(const Step& s, Frame& f) {
  const Fragment& sum = s.matrix->buffer->fragment;
  const Buffer& left = *s.matrix->factors[0].buffer;
  const int depth = left.fragment.columns;
  const bool pairs = left.element.dtype == DType::kBF16;
  float* c = fragment(f, s.slot);
  const float *a = fragment(f, s.factor_slots[0]), *b = fragment(f, s.factor_slots[1]);
  for (int row = 0; row < sum.rows; ++row)
    for (int column = 0; column < sum.columns; ++column) {
      auto product = [&](int k) { return a[row * depth + k] * b[k * sum.columns + column]; };
      float& to = c[row * sum.columns + column];
      if (!pairs) {
        for (int k = 0; k < depth; ++k) to += product(k);
        continue;
      }
      float even = 0, odd = 0;
      for (int k = 0; k < depth; k += 2) even += product(k), odd += product(k + 1);
      to += even + odd;
    }
}

// Where element i of a line of memory lies in the fragment.
int64_t place(const Fragment& f, MatrixOrder order, int64_t line, int64_t i) {
  if (order == MatrixOrder::kColumns) return i * f.columns + line;
  if (order == MatrixOrder::kPairs) return (2 * line + i % 2) * f.columns + i / 2;
  return line * f.columns + i;
}

void move(const Step& s, Frame& f) {
  const Stmt& m = *s.matrix;
  const Fragment& shape = m.buffer->fragment;
  const MatrixLines lines = matrix_lines(s, f);
  const DType dtype = m.buffer->element.dtype;
  for (int64_t line = 0; line < lines.count; ++line)
    for (int64_t i = 0; i < lines.bytes / size_of(dtype); ++i) {
      float& value = fragment(f, s.slot)[place(shape, m.order, line, i)];
      uint8_t* memory = f.regions[static_cast<size_t>(s.region)].data + lines.begin + line * lines.stride +
                        i * size_of(dtype);
      if (m.matrix == MatrixOp::kStore)
        std::memcpy(memory, &value, sizeof(value));
      else if (dtype == DType::kF16)
        value = f16_to_f32(read<uint16_t>(memory));
      else if (dtype == DType::kBF16)
        value = bf16_to_f32(read<uint16_t>(memory));
      else
        value = read<float>(memory);
    }
}

}  // namespace

MatrixLines matrix_lines(const Step& s, Frame& f) {
  const Stmt& m = *s.matrix;
  const Fragment& shape = m.buffer->fragment;
  int64_t count = m.order == MatrixOrder::kColumns ? shape.columns
                  : m.order == MatrixOrder::kPairs ? shape.rows / 2
                                                   : shape.rows;
  MatrixLines lines{.begin = evaluate_index(s.begin, f) * s.unit,
                    .count = count,
                    .bytes = shape.rows * shape.columns / count * size_of(m.buffer->element.dtype),
                    .stride = m.stride * s.unit};
  const Region& r = f.regions[static_cast<size_t>(s.region)];
  if (lines.begin < 0 || lines.begin + (count - 1) * lines.stride + lines.bytes > r.bytes)
    internal_error(
        str("kernel IR: a fragment at byte ", lines.begin, " of %", m.memory->name, ", which has ", r.bytes));
  return lines;
}

void run_matrix(const Step& s, Frame& f) {
  const Fragment& shape = s.matrix->buffer->fragment;
  switch (s.matrix->matrix) {
    case MatrixOp::kClear: std::fill_n(fragment(f, s.slot), shape.rows * shape.columns, 0.0f); break;
    case MatrixOp::kMultiply: multiply(s, f); break;
    case MatrixOp::kLoad:
    case MatrixOp::kStore: move(s, f); break;
  }
}

}  // namespace mlc::kernel
