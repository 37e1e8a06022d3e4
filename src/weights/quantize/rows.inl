// How a block of rows gets its codes and scales, one row in each lane; included at the end of kernels.inl.
//
// A scale is tried as m / d for the group's value m of largest magnitude, with d around both ends of the codes, and
// refined once by least squares: the one with the least weighted squared error wins. With error feedback the groups come
// from left to right: each one's rounding error moves the inputs to its right so that they make up for it; then codes
// and scales descend once each on the whole row's error (w - q) H (w - q)^T.

struct CodeRange {
  float zero, top;  // codes 0..top count from zero
};

inline Floats round_f16(Floats x) {
  const Ints bits = as_ints(x), sign = bits & INT32_MIN, size = bits ^ sign;
  const Ints normal = (size + 0xFFF + ((size >> 13) & 1)) & ~0x1FFF;
  const Ints tiny = as_ints((as_floats(size) + splat(0.5f)) - splat(0.5f));  // below 2^-14 the unit is 2^-24
  Ints half = size < 0x38800000 ? tiny : normal;
  half = half > 0x477FE000 ? Ints{} + 0x477FE000 : half;
  return as_floats(half | sign);
}
inline Floats round_bf16(Floats x) {
  const Ints bits = as_ints(x);
  return as_floats((bits + 0x7FFF + ((bits >> 16) & 1)) & ~0xFFFF);
}
inline Floats round_scale(const RowsJob& job, Floats x) { return job.bf16_scales ? round_bf16(x) : round_f16(x); }

inline Floats inverse(Floats scale) { return scale == Floats{} ? Floats{} : splat(1.f) / scale; }
// code - zero
inline Floats code_of(Floats x, Floats inverse_scale, const CodeRange& range) {
  const Floats at = multiply_add(x, inverse_scale, splat(range.zero));
  return rounded(least(most(at, Floats{}), splat(range.top))) - splat(range.zero);
}

// The scale of n values with the least sum of h (x - q s)^2.
inline Floats search_scale(const RowsJob& job, const CodeRange& range, const Floats* x, const float* h, int n) {
  constexpr int kSteps = 16;  // of each sign: 23/32 .. 38/32 of where the largest value meets an end of the codes
  Floats largest = {}, best = splat(INFINITY), scale = {};
  for (int k = 0; k < n; ++k) largest = magnitude(x[k]) > magnitude(largest) ? x[k] : largest;
  for (int candidate = 0; candidate < 2 * kSteps; ++candidate) {
    const float end = candidate < kSteps ? range.top - range.zero : -range.zero;
    const float factor = (23.f + static_cast<float>(candidate % kSteps)) / 32.f;
    Floats s = round_scale(job, largest * splat(1.f / (end * factor)));
    for (int turn = 0; turn < 2; ++turn) {
      const Floats by = inverse(s);
      Floats cost = {}, along = {}, square = {};
      for (int k = 0; k < n; ++k) {
        const Floats q = code_of(x[k], by, range), e = x[k] - q * s, hq = q * splat(h[k]);
        cost = multiply_add(e * splat(h[k]), e, cost);
        along = multiply_add(hq, x[k], along);
        square = multiply_add(hq, q, square);
      }
      const Ints better = cost < best;
      best = better ? cost : best;
      scale = better ? s : scale;
      if (turn == 0) s = round_scale(job, square > Floats{} ? along / square : s);
    }
  }
  return scale;
}

// to[l] += sum over k < n of e[k] * m[k][l], for l in [begin, end); a row of m has `stride` elements.
inline void push(const Floats* e, int n, const float* m, int64_t stride, int64_t begin, int64_t end, Floats* to) {
  int64_t l = begin;
  for (; l + 8 <= end; l += 8) {
    Floats sums[8];
    for (int i = 0; i < 8; ++i) sums[i] = to[l + i];
    for (int k = 0; k < n; ++k) {
      const float* row = m + k * stride + l;
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) sums[i] = multiply_add(e[k], splat(row[i]), sums[i]);
    }
    for (int i = 0; i < 8; ++i) to[l + i] = sums[i];
  }
  for (; l < end; ++l)
    for (int k = 0; k < n; ++k) to[l] = multiply_add(e[k], splat(m[k * stride + l]), to[l]);
}

// The rows in work: values w, codes less zero c, what they stand for q, and scales s.
struct RowBlock {
  const RowsJob& job;
  CodeRange range;
  int64_t columns, groups;
  Floats *w, *c, *q, *s;
  Floats* work;  // [columns]
  int width(int64_t g) const { return static_cast<int>(std::min<int64_t>(job.group, columns - g * job.group)); }
};

inline void round_groups(RowBlock& b, const float* equal) {
  for (int64_t g = 0; g < b.groups; ++g) {
    const int64_t at = g * b.job.group;
    const int n = b.width(g);
    const Floats s = search_scale(b.job, b.range, &b.w[at], b.job.importance ? b.job.importance + at : equal, n);
    const Floats by = inverse(s);
    b.s[g] = s;
    for (int k = 0; k < n; ++k) b.c[at + k] = code_of(b.w[at + k], by, b.range);
  }
}

inline void round_with_feedback(RowBlock& b) {
  Floats* const r = b.work;
  std::copy_n(b.w, b.columns, r);
  Floats errors[kLargestGroup];
  for (int64_t g = 0; g < b.groups; ++g) {
    const int64_t at = g * b.job.group, stride = b.columns;
    const int n = b.width(g);
    const float* u = b.job.factor + at * stride;
    const Floats s = search_scale(b.job, b.range, &r[at], b.job.importance + at, n), by = inverse(s);
    b.s[g] = s;
    for (int k = 0; k < n; ++k) {
      const float* row = u + k * stride + at;
      const Floats code = code_of(r[at + k], by, b.range);
      b.c[at + k] = code, b.q[at + k] = code * s;
      errors[k] = (b.q[at + k] - r[at + k]) * splat(1.f / row[k]);
      for (int l = k + 1; l < n; ++l) r[at + l] = multiply_add(errors[k], splat(row[l]), r[at + l]);
    }
    push(errors, n, u, stride, at + n, b.columns, r);
  }
}

// Moves the inputs of a group by `moves` in what the gradient (q - w) H is.
inline void follow(const RowBlock& b, const Floats* moves, int64_t at, int n, bool inside, Floats* gradient) {
  const float* h = b.job.moments + at * b.columns;
  push(moves, n, h, b.columns, 0, at, gradient);
  if (inside) push(moves, n, h, b.columns, at, at + n, gradient);
  push(moves, n, h, b.columns, at + n, b.columns, gradient);
}

inline void descend_codes(RowBlock& b, Floats* gradient) {
  Floats moves[kLargestGroup];
  for (int64_t g = 0; g < b.groups; ++g) {
    const int64_t at = g * b.job.group;
    const int n = b.width(g);
    const Floats s = b.s[g], by = inverse(s);
    for (int k = 0; k < n; ++k) {
      const float* h = b.job.moments + (at + k) * b.columns + at;
      const Floats wanted = b.q[at + k] - gradient[at + k] * splat(1.f / h[k]);
      const Floats code = code_of(wanted, by, b.range), value = code * s;
      moves[k] = value - b.q[at + k];
      b.c[at + k] = code, b.q[at + k] = value;
      for (int l = 0; l < n; ++l) gradient[at + l] = multiply_add(moves[k], splat(h[l]), gradient[at + l]);
    }
    follow(b, moves, at, n, false, gradient);
  }
}

inline void descend_scales(RowBlock& b, Floats* gradient) {
  Floats moves[kLargestGroup];
  for (int64_t g = 0; g < b.groups; ++g) {
    const int64_t at = g * b.job.group;
    const int n = b.width(g);
    Floats along = {}, square = {};
    for (int k = 0; k < n; ++k) {
      const float* h = b.job.moments + (at + k) * b.columns + at;
      Floats sum = {};
      for (int l = 0; l < n; ++l) sum = multiply_add(b.c[at + l], splat(h[l]), sum);
      square = multiply_add(sum, b.c[at + k], square);
      along = multiply_add(b.c[at + k], gradient[at + k], along);
    }
    const Floats s = round_scale(b.job, square > Floats{} ? b.s[g] - along / square : b.s[g]);
    for (int k = 0; k < n; ++k) {
      const Floats value = b.c[at + k] * s;
      moves[k] = value - b.q[at + k];
      b.q[at + k] = value;
    }
    b.s[g] = s;
    follow(b, moves, at, n, true, gradient);
  }
}

inline void descend(RowBlock& b) {
  Floats* const gradient = b.work;
  std::fill_n(gradient, b.columns, Floats{});
  Floats moves[kLargestGroup];
  for (int64_t g = 0; g < b.groups; ++g) {
    const int64_t at = g * b.job.group;
    for (int k = 0; k < b.width(g); ++k) moves[k] = b.q[at + k] - b.w[at + k];
    follow(b, moves, at, b.width(g), true, gradient);
  }
  descend_codes(b, gradient);
  descend_scales(b, gradient);
}

inline void quantize_rows(const RowsJob& job, int64_t row) {
  const int64_t columns = job.columns, groups = (columns + job.group - 1) / job.group;
  const int64_t rows = std::min<int64_t>(kLanes, job.rows - row);
  static thread_local std::vector<float> memory;
  memory.assign(static_cast<size_t>((4 * columns + groups + 1) * kLanes), 0.f);
  void* aligned = memory.data();
  size_t space = memory.size() * 4;
  std::align(sizeof(Floats), sizeof(Floats), aligned, space);
  Floats *w = static_cast<Floats*>(aligned), *c = w + columns, *q = c + columns, *s = q + 2 * columns;
  for (int64_t k = 0; k < columns; ++k)
    for (int64_t r = 0; r < rows; ++r) w[k][r] = job.values[(row + r) * columns + k];
  const float zero = static_cast<float>((1 << (job.bits - 1)) - 1);
  const float top = job.bits == 8 ? 2 * zero : 2 * zero + 1;  // WeightFormat::top_code()
  RowBlock block{job, {zero, top}, columns, groups, w, c, q, s, q + columns};
  if (job.factor) {
    round_with_feedback(block);
    descend(block);
  } else {
    float equal[kLargestGroup];
    for (float& h : equal) h = 1;
    round_groups(block, equal);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < columns; ++k)
      job.codes[(row + r) * columns + k] = static_cast<uint8_t>(c[k][r] + zero);
    for (int64_t g = 0; g < groups; ++g) job.scales[(row + r) * groups + g] = s[g][r];
  }
}
