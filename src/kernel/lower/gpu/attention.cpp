// attention on GPUs: flash attention over the paged cache; a group serves some rows and query heads of one key/value head,
// which share every load of K and V.
//
// Each subgroup goes through its own blocks of S tokens with its own running maxima and sums (online softmax, Milakov and
// Gimelshein 2018): lane = token for the scores, lane = 16 bytes of a value for the weighted sums. Subgroups meet once, at
// the end. Slots past a row's position and dropped ones of a sliding window are never read.
//
// The rows of a group may belong to several sequences: the tokens are walked once for each sequence among them, and rows of
// others take no part.
//
// attention_part: a group serves a part of one row's tokens; its sums, maximum and total are joined by attention_join.
#include <algorithm>
#include <bit>

#include "base/strings.h"
#include "base/user_error.h"
#include "kernel/lower/gpu/cache.h"
#include "kernel/lower/gpu/lowerings.h"
#include "kernel/passes/expand_subgroups.h"

namespace mlc::kernel {
namespace {

constexpr double kLowest = -3e38;  // below every score; not infinite, so that differences are numbers

struct Query {  // one row and head of the group
  int row = 0, head = 0;
};

class GpuAttention {
 public:
  GpuAttention(GpuLowering& g, const graph::KvCache& c);
  Function build();

 private:
  bool in_parts() const { return part_tokens_ > 0; }
  int64_t size() const { return cache_.head_dim; }
  int value_lanes() const { return static_cast<int>(size()) / pages_.chunk; }     // that cover a value
  int chunks() const { return (value_lanes() + gpu_.lanes - 1) / gpu_.lanes; }    // of a value in a lane
  int halves() const { return pages_.chunk / 4; }                                 // f32x4 of a chunk
  void fit_memory();
  int64_t shared_bytes() const;
  int token_lanes() const;                                                        // tokens whose values are met at once
  size_t queries() const { return query_.size(); }
  int64_t acc_at(size_t q, int chunk, int half) const {
    return (static_cast<int64_t>(q) * chunks() + chunk) * halves() + half;
  }
  ExprRef index(const Words& from, const ExprRef& at) { return gpu_.load_index(from, at); }

  void prepare(const ExprRef& group);
  void load_queries();
  ExprRef query(size_t q, int vector);
  void walk_all();
  void walk(const ExprRef& sequence);
  void block(const ExprRef& step);
  void find_token(const ExprRef& t);
  std::vector<ExprRef> key();
  std::vector<ExprRef> rotated(std::vector<ExprRef> key);
  void score(const ExprRef& t);
  void soften();
  void weigh();
  void add_value(const std::vector<ExprRef>& weights, const ExprRef& value);
  void merge_token_lanes();
  void finish();
  void finish_group();
  void find_part();
  void put(size_t q, const ExprRef& d, const ExprRef& sums, const ExprRef& total);
  void put_state(size_t q, const ExprRef& largest, const ExprRef& total);

  GpuLowering& gpu_;
  KernelBuilder& k_;
  const graph::KvCache& cache_;
  CachePages pages_;
  WordMatrix q_, out_, factors_;
  Words sequences_, positions_, indptr_, page_ids_, skip_begin_, skip_count_, kv_;
  Rotation rotation_;
  int64_t sharing_ = 1, part_tokens_ = 0;  // part_tokens_: of a part; 0: the whole sequence
  int heads_ = 1, rows_ = 1, subgroups_ = 1;  // of a group
  std::vector<Query> query_;
  bool broadcast_ = false;
  BufferRef shared_queries_, shared_weights_, shared_places_, parts_, part_state_;
  BufferRef maxima_, sums_, acc_;  // registers
  std::vector<ExprRef> held_;      // queries in registers: [query][vector]
  ExprRef thread_, lane_, subgroup_, kv_head_, first_head_, first_row_;
  std::vector<ExprRef> row_, sequence_, length_;  // of the group's rows; length 0 for rows past the last
  // Of the sequence that is walked, and of the lane's token of the block.
  ExprRef part_, walked_, begin_, end_, first_page_, window_begin_, window_count_;  // live tokens begin_ .. end_
  ExprRef token_, page_, slot_, value_place_;
  std::vector<ExprRef> score_;
};

GpuAttention::GpuAttention(GpuLowering& g, const graph::KvCache& c) : gpu_(g), k_(g.k), cache_(c), pages_(g, c) {
  const graph::Node& node = g.low.node;
  q_ = g.matrix(0, "q");
  sequences_ = g.vector(1, "sequences");
  positions_ = g.vector(2, "positions");
  indptr_ = g.vector(3, "page_indptr");
  page_ids_ = g.vector(4, "page_ids");
  if (node.inputs.size() > 5) {
    skip_begin_ = g.vector(5, "skip_begin");
    skip_count_ = g.vector(6, "skip_count");
  }
  if (node.inputs.size() > 7) {
    factors_ = g.matrix(7, "key_factors");
    rotation_ = {c.head_dim, node.get_int("rotary_dim"), node.get_bool_or("interleaved", false)};
    if (rotation_.rotary_dim % 8 != 0)
      throw UserError(str("attention: rotation of ", rotation_.rotary_dim, " elements with a sliding window has no kernel on ",
                          g.low.target.name, ", expected a multiple of 8"));
  }
  kv_ = g.state(false);
  out_ = g.result();
  if (q_.lanes() < 4) throw UserError(str("attention: queries are not aligned to 4 elements on ", g.low.target.name));
  sharing_ = node.get_int("heads") / c.kv_heads;
  if (node.op == "attention_part") part_tokens_ = node.get_int("part_pages") * c.page_size;
  int most = gpu_.schedule.attention_queries;
  for (heads_ = static_cast<int>(std::min<int64_t>(most, sharing_)); sharing_ % heads_ != 0;) --heads_;
  if (!g.low.single_row() && !in_parts()) rows_ = std::max(1, most / heads_);
  subgroups_ = gpu_.schedule.attention_subgroups;
  broadcast_ = gpu_.schedule.broadcast && g.low.target.subgroup_size > 1 && subgroups_ == 1;
  fit_memory();
  for (int r = 0; r < rows_; ++r)
    for (int h = 0; h < heads_; ++h) query_.push_back({r, h});
}

// Of a group, with what sums over a subgroup take where it is expanded.
int64_t GpuAttention::shared_bytes() const {
  int64_t threads = int64_t{subgroups_} * gpu_.lanes, count = int64_t{rows_} * heads_, bytes = 0;
  if (!broadcast_) bytes += count * size() * 4 + (count + 1) * threads * 4;
  if (subgroups_ > 1) bytes += subgroups_ * count * (size() + 2) * 4;
  if (gpu_.low.target.subgroup_size == gpu_.lanes) return bytes;
  bytes += std::max(kExchangeBytes, threads * 4);
  return token_lanes() > 1 ? bytes + std::max(kExchangeBytes, threads * 16) : bytes;
}

// Long heads: fewer subgroups, then fewer rows and heads share a load.
void GpuAttention::fit_memory() {
  const int64_t most = gpu_.low.target.shared_bytes;
  while (shared_bytes() > most && subgroups_ > 1) subgroups_ /= 2;
  while (shared_bytes() > most && rows_ > 1) --rows_;
  while (shared_bytes() > most && heads_ > 1)
    for (--heads_; sharing_ % heads_ != 0;) --heads_;
}

int GpuAttention::token_lanes() const {
  if (broadcast_ || !std::has_single_bit(static_cast<unsigned>(value_lanes()))) return 1;
  return std::max(1, gpu_.lanes / value_lanes());
}

void GpuAttention::prepare(const ExprRef& group) {
  int64_t head_blocks = sharing_ / heads_, per_row = cache_.kv_heads * head_blocks;
  ExprRef unit = k_.let("unit", group % per_row);
  kv_head_ = k_.let("kv_head", unit / double(head_blocks));
  first_head_ = k_.let("head", kv_head_ * double(sharing_) + unit % head_blocks * double(heads_));
  ExprRef block = k_.let("block", group / double(per_row));
  if (in_parts()) part_ = block;
  first_row_ = in_parts() ? int_const(0) : k_.let("first_row", block * double(rows_));
  ExprRef total = dim_expr(q_.rows);
  for (int r = 0; r < rows_; ++r) {
    ExprRef row = first_row_ + double(r), last = total - 1.0;
    row_.push_back(rows_ == 1 ? first_row_ : k_.let("row", binary(BinaryOp::kMin, row, last)));
    sequence_.push_back(k_.let("sequence", index(sequences_, row_.back())));
    ExprRef length = index(positions_, row_.back()) + 1.0;
    if (rows_ > 1) length = select(less(row, total), length, int_const(0));
    length_.push_back(k_.let("length", length));
  }
}

// Queries times the scale: each lane loads a part and passes it on, or all stand in shared memory.
void GpuAttention::load_queries() {
  int vectors = static_cast<int>(size() / 4);
  double scale = gpu_.low.node.get_double("scale");
  auto load = [&](const Query& q, const ExprRef& vector) {
    ExprRef column = (first_head_ + double(q.head)) * double(size()) + vector * 4.0;
    return gpu_.load(q_.words, q_.at(row_[static_cast<size_t>(q.row)], column), 4) * scale;
  };
  if (broadcast_) {
    for (const Query& q : query_)
      for (int v = 0; v < vectors; v += gpu_.lanes) {
        ExprRef vector = lane_ + double(v);
        if (v + gpu_.lanes > vectors) vector = binary(BinaryOp::kMin, vector, int_const(vectors - 1));
        ExprRef mine = k_.let("q", load(q, k_.let("vector", vector)));
        for (int lane = 0; lane < gpu_.lanes && v + lane < vectors; ++lane)
          held_.push_back(k_.let("q", subgroup_broadcast(mine, lane)));
      }
    return;
  }
  shared_queries_ = k_.shared("queries", Type{DType::kF32, 4}, static_cast<int64_t>(queries()) * vectors);
  for (size_t q = 0; q < queries(); ++q)
    gpu_.for_units(vectors, subgroups_ * gpu_.lanes, thread_, [&](ExprRef v, ExprRef inside) {
      ExprRef value = k_.let("q", load(query_[q], v));
      gpu_.where(inside, [&] { k_.store(shared_queries_, v + double(static_cast<int64_t>(q) * vectors), value); });
    });
  k_.barrier();
}

ExprRef GpuAttention::query(size_t q, int vector) {
  int64_t at = static_cast<int64_t>(q) * (size() / 4) + vector;
  return broadcast_ ? held_[static_cast<size_t>(at)] : k_.load(shared_queries_, int_const(at));
}

// The storage place of live token `token`.
void GpuAttention::find_token(const ExprRef& t) {
  token_ = k_.let("token", binary(BinaryOp::kMin, t, end_ - 1.0));
  ExprRef stored = token_;
  if (window_begin_) stored = k_.let("stored", token_ + select(less(token_, window_begin_), int_const(0), window_count_));
  double page_size = static_cast<double>(cache_.page_size);
  page_ = k_.let("page", pages_.page(index(page_ids_, first_page_ + stored / page_size)));
  slot_ = k_.let("slot", stored % cache_.page_size);
  value_place_ = k_.let("value", cast(pages_.value(page_, kv_head_, slot_), DType::kI32));
}

// The token's key as f32x4 values.
std::vector<ExprRef> GpuAttention::key() {
  std::vector<ExprRef> out;
  ExprRef first = k_.let("key", pages_.key(page_, kv_head_, int_const(0), slot_));
  for (int c = 0; c < value_lanes(); ++c)
    for (const ExprRef& part : gpu_.load_chunk(kv_, first + double(int64_t{c} * cache_.page_size * pages_.chunk)))
      out.push_back(part);
  return factors_.words.buffer ? rotated(std::move(out)) : out;
}

std::vector<ExprRef> GpuAttention::rotated(std::vector<ExprRef> key) {
  int64_t half = rotation_.rotary_dim / 2;
  auto factor = [&](int64_t at, int n) { return k_.let("factor", gpu_.load(factors_.words, factors_.at(token_, int_const(at)), n)); };
  if (rotation_.interleaved) {
    for (int64_t v = 0; v < rotation_.rotary_dim / 4; ++v) {
      ExprRef c = factor(2 * v, 2), s = factor(half + 2 * v, 2), x = key[static_cast<size_t>(v)];
      ExprRef cosine = shuffle({c}, {0, 0, 1, 1}), sine = shuffle({s}, {0, 0, 1, 1});
      ExprRef partner = vector_of({unary(UnaryOp::kNeg, extract(x, 1)), extract(x, 0),
                                   unary(UnaryOp::kNeg, extract(x, 3)), extract(x, 2)});
      key[static_cast<size_t>(v)] = k_.let("key", x * cosine + partner * sine);
    }
    return key;
  }
  for (int64_t v = 0; v < half / 4; ++v) {
    ExprRef &a = key[static_cast<size_t>(v)], &b = key[static_cast<size_t>(v + half / 4)];
    ExprRef cosine = factor(4 * v, 4), sine = factor(half + 4 * v, 4), a0 = a;
    a = k_.let("key", a0 * cosine - b * sine);
    b = k_.let("key", b * cosine + a0 * sine);
  }
  return key;
}

void GpuAttention::score(const ExprRef& t) {
  std::vector<ExprRef> keys = key();
  score_.clear();
  for (size_t q = 0; q < queries(); ++q) {
    ExprRef dot;
    for (size_t v = 0; v < keys.size(); ++v) {
      ExprRef x = query(q, static_cast<int>(v));
      dot = k_.let("dot", dot ? fma(x, keys[v], dot) : x * keys[v]);
    }
    auto row = static_cast<size_t>(query_[q].row);
    ExprRef meant = less(t, rows_ == 1 ? end_ : length_[row]);
    if (rows_ > 1) meant = binary(BinaryOp::kAnd, meant, binary(BinaryOp::kEq, sequence_[row], walked_));
    score_.push_back(k_.let("score", select(meant, sum_lanes(k_, dot), float_const(kLowest))));
  }
}

// Scores become weights, with the running maximum of each query; what was gathered before is scaled down to it.
void GpuAttention::soften() {
  std::vector<ExprRef> largest;
  for (const ExprRef& s : score_) largest.push_back(k_.let("largest", subgroup(BinaryOp::kMax, s)));
  for (size_t q = 0; q < queries(); ++q) {
    ExprRef at = int_const(static_cast<int64_t>(q)), before = k_.let("before", k_.load(maxima_, at));
    ExprRef now = k_.let("now", binary(BinaryOp::kMax, before, largest[q]));
    ExprRef correction = k_.let("correction", call(MathFn::kExp, before - now));
    // A query without a token so far has the lowest maximum: exp(0) of its own lowest scores must not count.
    ExprRef counts = binary(BinaryOp::kGt, score_[q], float_const(kLowest));
    score_[q] = k_.let("weight", select(counts, call(MathFn::kExp, score_[q] - now), float_const(0)));
    k_.store(maxima_, at, now);
    k_.store(sums_, at, fma(k_.load(sums_, at), correction, score_[q]));
    for (int c = 0; c < chunks() * halves(); ++c) {
      ExprRef to = int_const(acc_at(q, 0, 0) + c);
      k_.store(acc_, to, k_.load(acc_, to) * correction);
    }
  }
}

// Adds weights x the value that begins at `value`, the lane's chunks of it. Lanes past the value's end read its last chunk;
// their sums are not stored.
void GpuAttention::add_value(const std::vector<ExprRef>& weights, const ExprRef& value) {
  for (int c = 0; c < chunks(); ++c) {
    ExprRef chunk = token_lanes() > 1 ? lane_ % value_lanes() : lane_ + double(c * gpu_.lanes);
    if (token_lanes() == 1 && (c + 1) * gpu_.lanes > value_lanes())
      chunk = binary(BinaryOp::kMin, chunk, int_const(value_lanes() - 1));
    std::vector<ExprRef> parts = gpu_.load_chunk(kv_, k_.let("at", value + chunk * double(pages_.chunk)));
    for (size_t h = 0; h < parts.size(); ++h)
      for (size_t q = 0; q < queries(); ++q) {
        ExprRef to = int_const(acc_at(q, c, static_cast<int>(h)));
        k_.store(acc_, to, fma(broadcast(weights[q], 4), parts[h], k_.load(acc_, to)));
      }
  }
}

void GpuAttention::weigh() {
  int tokens = token_lanes();
  if (broadcast_) {
    for (int j = 0; j < gpu_.lanes; ++j) {
      std::vector<ExprRef> weights;
      for (const ExprRef& w : score_) weights.push_back(k_.let("w", subgroup_broadcast(w, j)));
      ExprRef place = k_.let("place", cast(k_.let("at", subgroup_broadcast(value_place_, j)), DType::kI64));
      add_value(weights, place);
    }
    return;
  }
  int64_t lanes = gpu_.lanes, threads = lanes * subgroups_;
  ExprRef mine = k_.let("mine", subgroup_ * double(lanes));
  auto weight_at = [&](size_t q, const ExprRef& t) { return mine + double(static_cast<int64_t>(q) * threads) + t; };
  for (size_t q = 0; q < queries(); ++q) k_.store(shared_weights_, weight_at(q, lane_), score_[q]);
  k_.store(shared_places_, mine + lane_, value_place_);
  k_.barrier();
  k_.loop("j", 0, lanes / tokens, LoopKind::kSerial, [&](ExprRef j) {
    ExprRef t = k_.let("t", tokens > 1 ? j * double(tokens) + lane_ / double(value_lanes()) : j);
    std::vector<ExprRef> weights;
    for (size_t q = 0; q < queries(); ++q) weights.push_back(k_.let("w", k_.load(shared_weights_, weight_at(q, t))));
    ExprRef place = k_.let("place", cast(k_.load(shared_places_, mine + t), DType::kI64));
    add_value(weights, place);
  });
  k_.barrier();
}

void GpuAttention::block(const ExprRef& step) {
  ExprRef t = k_.let("t", begin_ + (step * double(subgroups_ * gpu_.lanes) + thread_));
  find_token(t);
  score(t);
  soften();
  weigh();
}

// The tokens of one sequence, for all its rows.
void GpuAttention::walk(const ExprRef& sequence) {
  walked_ = sequence;
  begin_ = int_const(0);
  end_ = rows_ == 1 ? length_[0] : int_const(0);
  for (size_t r = 0; r < row_.size() && rows_ > 1; ++r) {
    ExprRef length = select(binary(BinaryOp::kEq, sequence_[r], walked_), length_[r], int_const(0));
    end_ = k_.let("end", binary(BinaryOp::kMax, end_, length));
  }
  first_page_ = k_.let("first_page", index(indptr_, walked_));
  if (skip_begin_.buffer) {
    window_begin_ = k_.let("window_begin", index(skip_begin_, walked_));
    window_count_ = k_.let("window_count", index(skip_count_, walked_));
  }
  if (in_parts()) find_part();
  double at_once = subgroups_ * gpu_.lanes;
  ExprRef steps = k_.let("steps", (end_ - begin_ + (at_once - 1)) / at_once);
  k_.loop("step", int_const(0), steps, LoopKind::kSerial, [&](ExprRef step) { block(step); });
}

// The live tokens that are stored in the part's pages, maybe none.
void GpuAttention::find_part() {
  ExprRef length = end_;
  auto before = [&](const ExprRef& stored) {  // live tokens before a place of storage
    ExprRef live = stored;
    if (window_begin_) {
      ExprRef behind = binary(BinaryOp::kMax, window_begin_, stored - window_count_);
      live = select(binary(BinaryOp::kLe, stored, window_begin_), stored, behind);
    }
    return binary(BinaryOp::kMin, live, length);
  };
  double tokens = static_cast<double>(part_tokens_);
  begin_ = k_.let("begin", before(k_.let("stored", part_ * tokens)));
  end_ = k_.let("end", before(k_.let("stored", (part_ + 1.0) * tokens)));
}

// Lanes that met different tokens add up, so that the first of them hold the sums.
void GpuAttention::merge_token_lanes() {
  int64_t count = acc_at(queries(), 0, 0);
  for (int mask = value_lanes(); mask < gpu_.lanes && token_lanes() > 1; mask *= 2) {
    std::vector<ExprRef> mine, other;
    for (int64_t i = 0; i < count; ++i) mine.push_back(k_.let("mine", k_.load(acc_, int_const(i))));
    for (const ExprRef& m : mine) other.push_back(k_.let("other", subgroup_xor(m, mask)));
    for (int64_t i = 0; i < count; ++i) k_.store(acc_, int_const(i), mine[size_t(i)] + other[size_t(i)]);
  }
  std::vector<ExprRef> sums;
  for (size_t q = 0; q < queries(); ++q)
    sums.push_back(k_.let("sum", subgroup(BinaryOp::kAdd, k_.let("mine", k_.load(sums_, int_const(static_cast<int64_t>(q)))))));
  for (size_t q = 0; q < queries(); ++q) k_.store(sums_, int_const(static_cast<int64_t>(q)), sums[q]);
}

// Stores four elements of a query's result from d on; of a part, its sums as they are.
void GpuAttention::put(size_t q, const ExprRef& d, const ExprRef& sums, const ExprRef& total) {
  ExprRef head = first_head_ + double(query_[q].head);
  if (!in_parts()) {
    ExprRef at = out_.at(row_[static_cast<size_t>(query_[q].row)], head * double(size()) + d);
    return gpu_.store(out_.words, at, sums / broadcast(total, 4));
  }
  ExprRef at = k_.let("to", out_.at(part_, head * double(size() + 2) + d)), v = k_.let("v", sums);
  for (int i = 0; i < 4; i += 2) gpu_.store(out_.words, at + double(i), shuffle({v}, {i, i + 1}));  // a head is no multiple of 4
}

// The maximum and total of a part, by one thread.
void GpuAttention::put_state(size_t q, const ExprRef& largest, const ExprRef& total) {
  if (!in_parts()) return;
  ExprRef at = out_.at(part_, (first_head_ + double(query_[q].head)) * double(size() + 2) + double(size()));
  k_.branch(binary(BinaryOp::kEq, thread_, int_const(0)), [&] { gpu_.store(out_.words, at, vector_of({largest, total})); });
}

// Each sequence among the rows, at its first row.
void GpuAttention::walk_all() {
  if (rows_ == 1) return walk(sequence_[0]);
  k_.loop("r", 0, rows_, LoopKind::kSerial, [&](ExprRef r) {
    ExprRef last = dim_expr(q_.rows) - 1.0;
    ExprRef sequence = k_.let("walked", index(sequences_, binary(BinaryOp::kMin, first_row_ + r, last)));
    ExprRef seen;
    for (int before = 0; before + 1 < rows_; ++before) {
      ExprRef same = binary(BinaryOp::kEq, sequence_[static_cast<size_t>(before)], sequence);
      same = binary(BinaryOp::kAnd, same, less(int_const(before), r));
      seen = seen ? binary(BinaryOp::kOr, seen, same) : same;
    }
    k_.branch(unary(UnaryOp::kNot, k_.let("seen", seen)), [&] { walk(sequence); });
  });
}

void GpuAttention::finish() {
  merge_token_lanes();
  if (subgroups_ > 1) return finish_group();
  for (size_t q = 0; q < queries(); ++q) {
    ExprRef total = k_.let("total", k_.load(sums_, int_const(static_cast<int64_t>(q))));
    auto row = static_cast<size_t>(query_[q].row);
    put_state(q, k_.load(maxima_, int_const(static_cast<int64_t>(q))), total);
    for (int c = 0; c < chunks(); ++c) {
      ExprRef chunk = k_.let("chunk", lane_ + double(c * gpu_.lanes));
      ExprRef inside = (c + 1) * gpu_.lanes > value_lanes() ? less(chunk, int_const(value_lanes())) : nullptr;
      if (rows_ > 1) {
        ExprRef exists = less(int_const(0), length_[row]);
        inside = inside ? binary(BinaryOp::kAnd, inside, exists) : exists;
      }
      gpu_.where(inside, [&] {
        for (int h = 0; h < halves(); ++h)
          put(q, chunk * double(pages_.chunk) + double(h * 4), k_.load(acc_, int_const(acc_at(q, c, h))), total);
      });
    }
  }
}

// Subgroups bring their sums to a common maximum through shared memory, where the first halves of all chunks lie together:
// lanes side by side store and load side by side.
void GpuAttention::finish_group() {
  int vectors = static_cast<int>(size() / 4);
  auto count = static_cast<int64_t>(queries());
  for (size_t q = 0; q < queries(); ++q) {
    auto i = static_cast<int64_t>(q);
    ExprRef state = k_.let("state", (subgroup_ * double(count) + double(i)) * 2.0);
    k_.branch(binary(BinaryOp::kEq, lane_, int_const(0)), [&] {
      k_.store(part_state_, state, k_.load(maxima_, int_const(i)));
      k_.store(part_state_, state + 1.0, k_.load(sums_, int_const(i)));
    });
    for (int c = 0; c < chunks(); ++c) {
      ExprRef chunk = k_.let("chunk", lane_ + double(c * gpu_.lanes));
      gpu_.where((c + 1) * gpu_.lanes > value_lanes() ? less(chunk, int_const(value_lanes())) : nullptr, [&] {
        for (int h = 0; h < halves(); ++h) {
          ExprRef at = (subgroup_ * double(count) + double(i)) * double(vectors) + chunk + double(int64_t{h} * value_lanes());
          k_.store(parts_, at, k_.load(acc_, int_const(acc_at(q, c, h))));
        }
      });
    }
  }
  k_.barrier();
  for (size_t q = 0; q < queries(); ++q) {
    auto state = [&](int s, int what) {
      return k_.load(part_state_, int_const((s * count + static_cast<int64_t>(q)) * 2 + what));
    };
    ExprRef largest = k_.let("largest", state(0, 0)), total;
    for (int s = 1; s < subgroups_; ++s) largest = k_.let("largest", binary(BinaryOp::kMax, largest, state(s, 0)));
    std::vector<ExprRef> factors;
    for (int s = 0; s < subgroups_; ++s) {
      factors.push_back(k_.let("factor", call(MathFn::kExp, state(s, 0) - largest)));
      ExprRef part = factors.back() * state(s, 1);
      total = k_.let("total", total ? total + part : part);
    }
    put_state(q, largest, total);
    gpu_.for_units(vectors, subgroups_ * gpu_.lanes, thread_, [&](ExprRef v, ExprRef inside) {
      ExprRef sum;
      for (int s = 0; s < subgroups_; ++s) {
        ExprRef part = k_.load(parts_, v + double((s * count + static_cast<int64_t>(q)) * vectors)) * factors[static_cast<size_t>(s)];
        sum = k_.let("sum", sum ? sum + part : part);
      }
      if (rows_ > 1) {
        ExprRef exists = less(int_const(0), length_[static_cast<size_t>(query_[q].row)]);
        inside = inside ? binary(BinaryOp::kAnd, inside, exists) : exists;
      }
      ExprRef d = v % value_lanes() * double(pages_.chunk) + v / double(value_lanes()) * 4.0;
      gpu_.where(inside, [&] { put(q, d, sum, total); });
    });
  }
}

Function GpuAttention::build() {
  int threads = subgroups_ * gpu_.lanes;
  auto count = static_cast<int64_t>(queries());
  Dim blocks = in_parts() ? out_.rows : rows_ == 1 ? q_.rows : ceildiv(q_.rows, rows_);
  k_.groups(blocks * (cache_.kv_heads * (sharing_ / heads_)), threads, gpu_.lanes, [&](ExprRef group, ExprRef thread) {
    thread_ = thread;
    lane_ = subgroups_ == 1 ? thread : k_.let("lane", thread % gpu_.lanes);
    subgroup_ = subgroups_ == 1 ? int_const(0) : k_.let("subgroup", thread / double(gpu_.lanes));
    if (!broadcast_) {
      shared_weights_ = k_.shared("weights", DType::kF32, count * threads);
      shared_places_ = k_.shared("places", DType::kI32, threads);
    }
    if (subgroups_ > 1) {
      parts_ = k_.shared("parts", Type{DType::kF32, 4}, subgroups_ * count * size() / 4);
      part_state_ = k_.shared("state", DType::kF32, subgroups_ * count * 2);
    }
    prepare(group);
    load_queries();
    maxima_ = k_.registers("maxima", {DType::kF32, 1}, count);
    sums_ = k_.registers("sums", {DType::kF32, 1}, count);
    acc_ = k_.registers("acc", {DType::kF32, 4}, acc_at(queries(), 0, 0));
    for (int64_t q = 0; q < count; ++q) {
      k_.store(maxima_, int_const(q), float_const(kLowest));
      k_.store(sums_, int_const(q), float_const(0));
    }
    for (int64_t i = 0; i < acc_at(queries(), 0, 0); ++i) k_.store(acc_, int_const(i), float_const(0, {DType::kF32, 4}));
    walk_all();
    finish();
  });
  return k_.finish();
}

}  // namespace

// A thread joins two elements of one head.
Function lower_gpu_attention_join(Lowering& low) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  WordMatrix parts = gpu.matrix(0, "parts");
  gpu.vector(1, "positions");
  WordMatrix out = gpu.result();
  int64_t heads = low.node.get_int("heads"), size = out.columns / heads;
  if (size % 2 != 0) throw UserError(str("attention_join: heads of ", size, " elements have no kernel on ", low.target.name));
  gpu.for_row_units(1, out.columns / 2, [&](ExprRef, ExprRef unit) {
    ExprRef head = k.let("head", unit / double(size / 2)), d = k.let("d", unit % (size / 2) * 2.0);
    auto state = [&](const ExprRef& p) {
      return k.let("state", gpu.load(parts.words, parts.at(p, head * double(size + 2) + double(size)), 2));
    };
    BufferRef largest = k.registers("largest", {DType::kF32, 1}, 1), total = k.registers("total", {DType::kF32, 1}, 1);
    BufferRef sum = k.registers("sum", {DType::kF32, 2}, 1);
    ExprRef only = int_const(0);
    k.store(largest, only, float_const(kLowest));
    k.store(total, only, float_const(0));
    k.store(sum, only, float_const(0, {DType::kF32, 2}));
    ExprRef count = dim_expr(parts.rows);
    k.loop("p", only, count, LoopKind::kSerial, [&](ExprRef p) {
      k.store(largest, only, binary(BinaryOp::kMax, k.load(largest, only), extract(state(p), 0)));
    });
    ExprRef most = k.let("most", k.load(largest, only));
    k.loop("p", only, count, LoopKind::kSerial, [&](ExprRef p) {
      ExprRef s = state(p), weight = k.let("weight", call(MathFn::kExp, extract(s, 0) - most));
      ExprRef v = gpu.load(parts.words, parts.at(p, head * double(size + 2) + d), 2);
      k.store(total, only, fma(weight, extract(s, 1), k.load(total, only)));
      k.store(sum, only, fma(broadcast(weight, 2), v, k.load(sum, only)));
    });
    gpu.store(out.words, out.at(only, head * double(size) + d), k.load(sum, only) / broadcast(k.load(total, only), 2));
  });
  return k.finish();
}

Function lower_gpu_attention(Lowering& low) {
  GpuLowering gpu(low);
  return GpuAttention(gpu, low.cache()).build();
}

}  // namespace mlc::kernel
