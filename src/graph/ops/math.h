// Scalar functions and dot products of the reference interpretation: f64, obvious.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "graph/ops/registry.h"

namespace mlc::graph {

// The functions of regions: exp, tanh, sigmoid 1/(1+e^-x), silu x/(1+e^-x), quick_gelu x/(1+e^-1.702x), gelu
// x*(1+erf(x/sqrt 2))/2, gelu_tanh x*(1+tanh(sqrt(2/pi)*(x+0.044715x^3)))/2, relu max(x, 0), relu2 its
// square. NaN stays NaN.
using ScalarFunction = double (*)(double);
const std::vector<std::string>& function_names();
ScalarFunction find_function(const std::string& name);  // internal error when unknown

// The slope of a head's linear bias (arXiv:2108.12409): with n the largest power of two that is no more than
// `heads`, head h < n has 2^-((h + 1) * bias / n), the others fill the gaps: 2^-((2 (h - n) + 1) * bias /
// 2n).
double alibi_slope(int64_t head, int64_t heads, double bias);

// out[j] = sum of a[i] * b[j, i] for the four rows of b [4, n], each in eight interleaved partial sums.
void four_dots(const double* a, const double* b, int64_t n, double* out);

// Some rows of a matrix, plain or quantized, in the order given; each lies in x.
HostTensor take_rows(const HostTensor& x, const std::vector<int32_t>& rows);

// `value` rounded to f16, bf16 or f32 and back.
float round_to(DType dtype, float value);

// A float tensor of zeros.
HostTensor make_floats(std::vector<int64_t> shape);

// Writes the codes of n values and returns their scale = max|x| / 127 in f32; code = x / scale rounded half
// to even, within -127..127. Zeros (or values whose scale underflows) have scale 0 and codes 0; a group that
// holds NaN or an infinity has scale NaN and codes 0.
float quantize_group(const float* x, int64_t n, int32_t* codes);

// Quantizes [rows, K]: per row the groups of `group` (the last may be short).
HostTensor quantize_q8(const HostTensor& x, int64_t group = 32);
// What the codes stand for: code * scale, exactly, in f64 [rows, K].
std::vector<double> dequantize_q8(const HostTensor& x, int64_t group = 32);
// f32 [rows, K] as an activation of `type` holds it: itself, quantized, or rounded.
HostTensor store_as(const TensorType& type, HostTensor x);

}  // namespace mlc::graph
