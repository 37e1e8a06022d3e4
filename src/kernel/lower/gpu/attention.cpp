// attention on GPUs: flash attention over the paged cache; a group serves some rows and query heads of one
// key/value head, which share every load of K and V.
//
// Each subgroup goes through its own blocks of S tokens with its own running maxima and sums (online softmax,
// Milakov and Gimelshein 2018): lane = token for the scores, lane = a chunk (cache.h) of a value for the
// weighted sums. Subgroups meet once, at the end. Slots past a row's limit, those before its window and
// dropped ones of a rolling window are never read.
//
// The rows of a group may belong to several sequences: the tokens are walked once for each sequence among
// them, and rows of others take no part.
//
// attention_part: a group serves a part of one row's tokens; its sums, maximum and total are joined by
// attention_join.
#include "kernel/lower/gpu/attention.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/strings.h"
#include "base/user_error.h"
#include "kernel/lower/gpu/lowerings.h"
#include "kernel/lower/region.h"
#include "kernel/lower/tree_mask.h"
#include "kernel/passes/expand_subgroups.h"

namespace mlc::kernel {
namespace {

GpuAttention::Buffers declare_buffers(GpuLowering& g, const CachePages& pages) {
  const graph::Node& node = g.node;
  GpuAttention::Buffers b;
  b.q = g.matrix(0, "q");
  b.sequences = g.vector(1, "sequences");
  b.limits = g.vector(2, "limits");
  b.indptr = g.vector(3, "page_indptr");
  b.page_ids = g.vector(4, "page_ids");
  const bool sinks = node.get_bool_or("sinks", false);
  const size_t rolling = node.inputs.size() - (sinks ? 1 : 0);  // where its operands end
  if (node.get_bool_or("masked", false)) {
    b.mask = g.vector(5, "mask");
  } else if (rolling > 5) {
    b.skip_begin = g.vector(5, "skip_begin");
    b.skip_count = g.vector(6, "skip_count");
  }
  if (rolling > 7) {
    b.factors = g.matrix(7, "key_factors");
    b.rotation = {g.cache().key_dim, node.get_int("rotary_dim"), node.get_bool_or("interleaved", false)};
    if (b.rotation.rotary_dim % 4 != 0)
      throw UserError(str("attention: rotation of ", b.rotation.rotary_dim,
                          " elements with a rolling window has no kernel on ", g.target.name,
                          ", expected a multiple of 4"));
  }
  if (sinks) b.sinks = g.vector(rolling, "sinks");
  b.kv = g.state(false);
  b.out = g.result();
  // A rotated element and its partner, half of what is rotated before it, are of different vectors.
  const int64_t half = b.rotation.rotary_dim / 2;
  b.lanes = static_cast<int>(std::gcd(std::gcd(pages.chunk, b.q.lanes()), half));
  if (b.lanes < 2)
    throw UserError(str("attention: queries are not aligned to 2 elements on ", g.target.name));
  return b;
}

// Long heads: fewer subgroups, then fewer rows and heads share a load.
GpuAttention::Tiling choose_tiling(GpuLowering& g, const CachePages& pages, const GpuAttention::Buffers& b) {
  const graph::Node& node = g.node;
  const graph::PagedState& cache = pages.cache;
  GpuAttention::Tiling t{.sharing = node.get_int("heads") / cache.kv_heads,
                         .window = node.get_int_or("window", 0)};
  if (node.op == "attention_part") t.part_tokens = node.get_int("part_pages") * cache.page_size;
  const int most = g.schedule.attention_queries;
  for (t.heads = static_cast<int>(std::min<int64_t>(most, t.sharing)); t.sharing % t.heads != 0;) --t.heads;
  if (!g.single_row() && t.part_tokens == 0) t.rows = std::max(1, most / t.heads);
  t.subgroups = g.schedule.attention_subgroups;
  const bool long_keys = GpuAttention(g, pages, b, t).keys_are_long();
  t.broadcast = g.schedule.broadcast && g.target.subgroup_size > 1 && t.subgroups == 1 && !long_keys;
  auto too_large = [&] { return GpuAttention(g, pages, b, t).shared_bytes() > g.target.shared_bytes; };
  while (too_large() && t.subgroups > 1) t.subgroups /= 2;
  auto too_many = [&] {
    return too_large() || (long_keys && GpuAttention(g, pages, b, t).sums() > GpuAttention::kMostSums);
  };
  while (too_many() && t.rows > 1) --t.rows;
  while (too_many() && t.heads > 1)
    for (--t.heads; t.sharing % t.heads != 0;) --t.heads;
  return t;
}

}  // namespace

int64_t GpuAttention::shared_bytes() const {
  const int64_t count = int64_t{tiling_.rows} * tiling_.heads;
  int64_t bytes = 0;
  if (!tiling_.broadcast) bytes += count * key_dim() * 4 + (count + 1) * threads() * 4;
  if (tiling_.subgroups > 1) bytes += tiling_.subgroups * count * (value_dim() + 2) * 4;
  if (gpu_.target.subgroup_size == gpu_.lanes) return bytes;
  bytes += std::max<int64_t>(kExchangeBytes, threads() * 4);
  return token_lanes() > 1 ? bytes + std::max<int64_t>(kExchangeBytes, threads() * 16) : bytes;
}

int GpuAttention::token_lanes() const {
  if (tiling_.broadcast || !std::has_single_bit(static_cast<unsigned>(value_lanes()))) return 1;
  return std::max(1, gpu_.lanes / value_lanes());
}

GpuAttention::Group GpuAttention::group(const ExprRef& group, const ExprRef& thread, Memory& memory) const {
  Group g;
  g.thread = thread;
  const auto count = static_cast<int64_t>(queries());
  g.lane = tiling_.subgroups == 1 ? thread : k_.let("lane", thread % gpu_.lanes);
  g.subgroup = tiling_.subgroups == 1 ? int_const(0) : k_.let("subgroup", thread / gpu_.lanes);
  if (!tiling_.broadcast) {
    memory.weights = k_.shared("weights", DType::kF32, count * threads());
    memory.places = k_.shared("places", DType::kI32, threads());
  }
  if (tiling_.subgroups > 1) {
    memory.parts =
        k_.shared("parts", Type{DType::kF32, in_.lanes}, tiling_.subgroups * count * value_vectors());
    memory.part_state = k_.shared("state", DType::kF32, tiling_.subgroups * count * 2);
  }
  place_rows(group, g);
  for (int h = 0; h < tiling_.heads; ++h) g.slope.push_back(head_slope(k_, gpu_.node, g.first_head + h));
  return g;
}

void GpuAttention::place_rows(const ExprRef& group, Group& g) const {
  int64_t head_blocks = tiling_.sharing / tiling_.heads, per_row = cache_.kv_heads * head_blocks;
  ExprRef unit = k_.let("unit", group % per_row);
  g.kv_head = k_.let("kv_head", unit / head_blocks);
  g.first_head = k_.let("head", g.kv_head * tiling_.sharing + unit % head_blocks * tiling_.heads);
  ExprRef block = k_.let("block", group / per_row);
  if (in_parts()) g.part = block;
  g.first_row = in_parts() ? int_const(0) : k_.let("first_row", block * tiling_.rows);
  ExprRef total = dim_expr(in_.q.rows);
  for (int r = 0; r < tiling_.rows; ++r) {
    ExprRef row = g.first_row + r, last = total - 1;
    g.row.push_back(tiling_.rows == 1 ? g.first_row : k_.let("row", binary(BinaryOp::kMin, row, last)));
    g.sequence.push_back(k_.let("sequence", index(in_.sequences, g.row.back())));
    ExprRef limit = index(in_.limits, g.row.back());
    if (tiling_.rows > 1) limit = select(less(row, total), limit, int_const(0));
    g.limit.push_back(k_.let("limit", limit));
    if (in_.mask.buffer) g.mask.push_back(k_.let("mask", k_.load(in_.mask.buffer, g.row.back())));
  }
  if (tiling_.window > 0) place_window(g);
}

// Queries times the scale: each lane loads a part and passes it on, or all stand in shared memory.
void GpuAttention::load_queries(const Group& g, Memory& m) const {
  const int lanes = in_.lanes, vectors = static_cast<int>(key_vectors());
  double scale = gpu_.node.get_double("scale");
  auto load = [&](const Query& q, const ExprRef& vector) {
    ExprRef column = (g.first_head + q.head) * key_dim() + vector * lanes;
    return gpu_.load(in_.q, in_.q.at(g.row[static_cast<size_t>(q.row)], column), lanes) * scale;
  };
  if (tiling_.broadcast) {
    for (const Query& q : query_)
      for (int v = 0; v < vectors; v += gpu_.lanes) {
        ExprRef vector = g.lane + v;
        if (v + gpu_.lanes > vectors) vector = binary(BinaryOp::kMin, vector, int_const(vectors - 1));
        ExprRef mine = k_.let("q", load(q, k_.let("vector", vector)));
        for (int lane = 0; lane < gpu_.lanes && v + lane < vectors; ++lane)
          m.held.push_back(k_.let("q", subgroup_broadcast(mine, lane)));
      }
    return;
  }
  m.queries = k_.shared("queries", Type{DType::kF32, lanes}, static_cast<int64_t>(queries()) * vectors);
  for (size_t q = 0; q < queries(); ++q)
    gpu_.for_units(vectors, tiling_.subgroups * gpu_.lanes, g.thread, [&](ExprRef v, ExprRef inside) {
      ExprRef value = k_.let("q", load(query_[q], v));
      gpu_.where(inside, [&] { k_.store(m.queries, v + static_cast<int64_t>(q) * vectors, value); });
    });
  k_.barrier();
}

ExprRef GpuAttention::query(const Memory& m, size_t q, int vector) const {
  int64_t at = static_cast<int64_t>(q) * key_vectors() + vector;
  return tiling_.broadcast ? m.held[static_cast<size_t>(at)] : k_.load(m.queries, int_const(at));
}

// The token's key as vectors.
std::vector<ExprRef> GpuAttention::key(const Group& g, const Token& token) const {
  std::vector<ExprRef> out;
  ExprRef first = k_.let("key", pages_.key(token.page, g.kv_head, int_const(0), token.slot));
  for (int64_t c = 0; c < key_dim() / pages_.chunk; ++c)
    for (const ExprRef& part : load(first + c * cache_.page_size * pages_.chunk)) out.push_back(part);
  return in_.factors.buffer ? rotated(std::move(out), token) : out;
}

std::vector<ExprRef> GpuAttention::rotated(std::vector<ExprRef> key, const Token& token) const {
  const int n = in_.lanes;
  int64_t half = in_.rotation.rotary_dim / 2;
  auto factor = [&](int64_t at, int lanes) {
    return k_.let("factor", gpu_.load(in_.factors, in_.factors.at(token.index, int_const(at)), lanes));
  };
  if (in_.rotation.interleaved) {
    std::vector<int> twice;  // each factor is that of a pair
    for (int i = 0; i < n; ++i) twice.push_back(i / 2);
    for (int64_t v = 0; v < in_.rotation.rotary_dim / n; ++v) {
      const int64_t at = n / 2 * v;
      ExprRef c = factor(at, n / 2), s = factor(half + at, n / 2), x = key[static_cast<size_t>(v)];
      ExprRef cosine = shuffle({c}, twice), sine = shuffle({s}, twice);
      std::vector<ExprRef> partner;
      for (int i = 0; i < n; i += 2) {
        partner.push_back(unary(UnaryOp::kNeg, extract(x, i + 1)));
        partner.push_back(extract(x, i));
      }
      key[static_cast<size_t>(v)] = k_.let("key", x * cosine + vector_of(partner) * sine);
    }
    return key;
  }
  for (int64_t v = 0; v < half / n; ++v) {
    ExprRef &a = key[static_cast<size_t>(v)], &b = key[static_cast<size_t>(v + half / n)];
    ExprRef cosine = factor(n * v, n), sine = factor(half + n * v, n), a0 = a;
    a = k_.let("key", a0 * cosine - b * sine);
    b = k_.let("key", b * cosine + a0 * sine);
  }
  return key;
}

// The queries times a token's key, as vectors of sums: a long key is met by one chunk after the other, so
// that no thread holds all of it.
std::vector<ExprRef> GpuAttention::dots(const Group& g, const Memory& m, const Token& token) const {
  std::vector<ExprRef> out;
  if (!keys_are_long()) {
    const std::vector<ExprRef> keys = key(g, token);
    for (size_t q = 0; q < queries(); ++q) {
      ExprRef dot;
      for (size_t v = 0; v < keys.size(); ++v) {
        ExprRef x = query(m, q, static_cast<int>(v));
        dot = k_.let("dot", dot ? fma(x, keys[v], dot) : x * keys[v]);
      }
      out.push_back(dot);
    }
    return out;
  }
  const Type vector{DType::kF32, in_.lanes};
  BufferRef sums = k_.registers("dots", vector, static_cast<int64_t>(queries()));
  for (size_t q = 0; q < queries(); ++q) k_.store(sums, int_const(int64_t(q)), float_const(0, vector));
  ExprRef first = k_.let("key", pages_.key(token.page, g.kv_head, int_const(0), token.slot));
  k_.loop("chunk", 0, key_dim() / pages_.chunk, LoopKind::kSerial, [&](ExprRef c) {
    ExprRef at = k_.let("at", first + c * (cache_.page_size * pages_.chunk));
    const std::vector<ExprRef> parts = load(at);
    for (size_t q = 0; q < queries(); ++q)
      for (size_t h = 0; h < parts.size(); ++h) {
        ExprRef to = int_const(int64_t(q)),
                vector_at = c * halves() + int64_t(q) * key_vectors() + int64_t(h);
        k_.store(sums, to, fma(k_.load(m.queries, vector_at), parts[h], k_.load(sums, to)));
      }
  });
  for (size_t q = 0; q < queries(); ++q) out.push_back(k_.let("dot", k_.load(sums, int_const(int64_t(q)))));
  return out;
}

std::vector<ExprRef> GpuAttention::scores(const Group& g, const Memory& m, const Walk& w, const Token& token,
                                          const ExprRef& t) const {
  const std::vector<ExprRef> products = dots(g, m, token);
  std::vector<ExprRef> out;
  for (size_t q = 0; q < queries(); ++q) {
    auto row = static_cast<size_t>(query_[q].row);
    ExprRef meant = less(t, tiling_.rows == 1 ? w.end : g.limit[row]);
    if (w.seen) {
      ExprRef begin = tiling_.rows == 1 ? w.seen : g.first_seen[row];
      meant = binary(BinaryOp::kAnd, meant, binary(BinaryOp::kLe, begin, t));
    }
    if (tiling_.rows > 1)
      meant = binary(BinaryOp::kAnd, meant, binary(BinaryOp::kEq, g.sequence[row], w.sequence));
    if (!g.mask.empty()) {
      ExprRef shown = is_shown(g.mask[row], cast(g.limit[row] - 1 - t, DType::kI32));
      meant = binary(BinaryOp::kAnd, meant, shown);
    }
    const ExprRef& slope = g.slope[static_cast<size_t>(query_[q].head)];
    ExprRef score = score_of(gpu_, sum_lanes(k_, products[q]), slope, t - (g.limit[row] - 1));
    out.push_back(k_.let("score", select(meant, score, float_const(kLowest))));
  }
  return out;
}

// Scores become weights, with the running maximum of each query; what was gathered before is scaled down to
// it.
std::vector<ExprRef> GpuAttention::online_softmax(const Memory& m, const std::vector<ExprRef>& scores) const {
  std::vector<ExprRef> largest, weights;
  for (const ExprRef& s : scores) largest.push_back(k_.let("largest", subgroup(BinaryOp::kMax, s)));
  for (size_t q = 0; q < queries(); ++q) {
    ExprRef at = int_const(static_cast<int64_t>(q)), before = k_.let("before", k_.load(m.maxima, at));
    ExprRef now = k_.let("now", binary(BinaryOp::kMax, before, largest[q]));
    ExprRef correction = k_.let("correction", call(MathFn::kExp, before - now));
    // A query without a token so far has the lowest maximum: exp(0) of its own lowest scores must not count.
    ExprRef counts = binary(BinaryOp::kGt, scores[q], float_const(kLowest));
    weights.push_back(k_.let("weight", select(counts, call(MathFn::kExp, scores[q] - now), float_const(0))));
    k_.store(m.maxima, at, now);
    k_.store(m.sums, at, fma(k_.load(m.sums, at), correction, weights[q]));
    for (int c = 0; c < chunks() * halves(); ++c) {
      ExprRef to = int_const(acc_at(q, 0, 0) + c);
      k_.store(m.acc, to, k_.load(m.acc, to) * correction);
    }
  }
  return weights;
}

// Adds weights x the value that begins at `value`, the lane's chunks of it. Lanes past the value's end read
// its last chunk; their sums are not stored.
void GpuAttention::add_value(const Group& g, const Memory& m, const std::vector<ExprRef>& weights,
                             const ExprRef& value) const {
  for (int c = 0; c < chunks(); ++c) {
    ExprRef chunk = token_lanes() > 1 ? g.lane % value_lanes() : g.lane + c * gpu_.lanes;
    if (token_lanes() == 1 && (c + 1) * gpu_.lanes > value_lanes())
      chunk = binary(BinaryOp::kMin, chunk, int_const(value_lanes() - 1));
    std::vector<ExprRef> parts = load(k_.let("at", value + chunk * pages_.value_chunk_stride()));
    for (size_t h = 0; h < parts.size(); ++h)
      for (size_t q = 0; q < queries(); ++q) {
        ExprRef to = int_const(acc_at(q, c, static_cast<int>(h)));
        k_.store(m.acc, to, fma(broadcast(weights[q], in_.lanes), parts[h], k_.load(m.acc, to)));
      }
  }
}

void GpuAttention::accumulate_values(const Group& g, const Memory& m, const Token& token,
                                     const std::vector<ExprRef>& weights) const {
  int tokens = token_lanes();
  if (tiling_.broadcast) {
    for (int j = 0; j < gpu_.lanes; ++j) {
      std::vector<ExprRef> of_token;
      for (const ExprRef& weight : weights) of_token.push_back(k_.let("w", subgroup_broadcast(weight, j)));
      ExprRef place = k_.let("place", cast(k_.let("at", subgroup_broadcast(token.value, j)), DType::kI64));
      add_value(g, m, of_token, place);
    }
    return;
  }
  int64_t lanes = gpu_.lanes, threads = lanes * tiling_.subgroups;
  ExprRef mine = k_.let("mine", g.subgroup * lanes);
  auto weight_at = [&](size_t q, const ExprRef& t) { return mine + static_cast<int64_t>(q) * threads + t; };
  for (size_t q = 0; q < queries(); ++q) k_.store(m.weights, weight_at(q, g.lane), weights[q]);
  k_.store(m.places, mine + g.lane, token.value);
  k_.barrier();
  k_.loop("j", 0, lanes / tokens, LoopKind::kSerial, [&](ExprRef j) {
    ExprRef t = k_.let("t", tokens > 1 ? j * tokens + g.lane / value_lanes() : j);
    std::vector<ExprRef> of_token;
    for (size_t q = 0; q < queries(); ++q)
      of_token.push_back(k_.let("w", k_.load(m.weights, weight_at(q, t))));
    ExprRef place = k_.let("place", cast(k_.load(m.places, mine + t), DType::kI64));
    add_value(g, m, of_token, place);
  });
  k_.barrier();
}

void GpuAttention::block(const Group& g, const Memory& m, const Walk& w, const ExprRef& step) const {
  ExprRef t = k_.let("t", w.begin + (step * threads() + g.thread));
  const Token token = find_token(g, w, t);
  accumulate_values(g, m, token, online_softmax(m, scores(g, m, w, token, t)));
}

void GpuAttention::clear_sums(Memory& m) const {
  const auto count = static_cast<int64_t>(queries());
  m.maxima = k_.registers("maxima", {DType::kF32, 1}, count);
  m.sums = k_.registers("sums", {DType::kF32, 1}, count);
  m.acc = k_.registers("acc", {DType::kF32, in_.lanes}, acc_at(queries(), 0, 0));
  for (int64_t q = 0; q < count; ++q) {
    k_.store(m.maxima, int_const(q), float_const(kLowest));
    k_.store(m.sums, int_const(q), float_const(0));
  }
  for (int64_t i = 0; i < acc_at(queries(), 0, 0); ++i)
    k_.store(m.acc, int_const(i), float_const(0, {DType::kF32, in_.lanes}));
}

Function GpuAttention::build() const {
  const Tiling& t = tiling_;
  Dim blocks = in_parts() ? in_.out.rows : t.rows == 1 ? in_.q.rows : ceildiv(in_.q.rows, t.rows);
  k_.groups(blocks * (cache_.kv_heads * (t.sharing / t.heads)), threads(), gpu_.lanes,
            [&](ExprRef block, ExprRef thread) {
              Memory m;
              const Group g = group(block, thread, m);
              load_queries(g, m);
              clear_sums(m);
              walk_all(g, m);
              store_results(g, m);
            });
  return k_.finish();
}

Function lower_gpu_attention(GpuLowering& gpu) {
  const CachePages pages = gpu.chunked_pages();
  const GpuAttention::Buffers buffers = declare_buffers(gpu, pages);
  return GpuAttention(gpu, pages, buffers, choose_tiling(gpu, pages, buffers)).build();
}

}  // namespace mlc::kernel
