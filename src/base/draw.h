// Logits -> probabilities -> one index. The host's sampler, the graph's ops `softmax` and `sample` and their
// kernels have this one meaning.
//
// draw() works on integers, whose sums have no order: every machine draws the same index from the same
// probabilities. The weight of a probability p is p * 2^30 rounded half to even; below 2^-31 nothing is ever
// drawn.
#pragma once

#include <cstdint>
#include <span>

namespace mlc {

// How a token is drawn, as it lies in a row of the ops' settings, f32[rows, kDrawSettings].
struct DrawSettings {
  float inverse_temperature = 0;  // 0: all mass on the largest logit, shared over exact ties
  float top_p = 0;                // <= 0: the first of the largest; >= kDrawAll: all
  float uniform = 0;              // in [0, 1]
};
inline constexpr int64_t kDrawSettings = 3;
static_assert(sizeof(DrawSettings) == 4 * kDrawSettings);

inline constexpr float kDrawAll = 1 - 1e-5f;
inline constexpr float kDrawOne = 1 << 30;  // the weight of certainty

// exp(logit * inverse_temperature), divided by the sum of all, in place (exponentials to 2e-7 of
// themselves, f64 sums; the same bits on every machine). A NaN logit counts as
// minus infinity; where the largest is an infinity, or inverse_temperature is 0, the largest share all mass.
void softmax(std::span<float> logits, float inverse_temperature);

// Precondition: p >= 0, of sum 1 but for rounding. top_p >= kDrawAll: the first index whose cumulative weight
// exceeds uniform * sum. Else the same among the fewest most probable indices that together reach top_p, the
// most probable first, equal weights in the order of their indices. Products are f32 and lose their fraction.
int32_t draw(std::span<const float> p, float top_p, float uniform);

// The first of the largest values; NaN is less than all: what draw() gives of softmax(values, 0) with top_p
// 0.
int32_t first_largest(std::span<const float> values);

}  // namespace mlc
