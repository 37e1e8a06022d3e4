// attention: flash attention over the paged cache; one tile is one row and one key/value head with all its
// query heads.
//
// Per page: scores of its tokens for a block of query heads (one load of K serves them all), the running
// maximum and sum of each head (online softmax, Milakov and Gimelshein 2018), then the weighted values in
// vector accumulators. Tokens past the row's position are never read: unused slots may hold anything.
//
// With a sliding window (graph/ops/attention.cpp) each page's live tokens are those before and after its
// dropped ones; `t` counts live tokens only, so dropped slots are never read either. Keys are rotated once
// per page into shared memory.
#include <algorithm>
#include <limits>

#include "kernel/lower/cache.h"

namespace mlc::kernel {
namespace {

// The sequence's dropped tokens, and the page's part of them.
struct Window {
  BufferRef skip_begin, skip_count;  // null without a window
  Matrix factors;                    // of keys; its buffer is null without rotation
  Rotation rotation;
  BufferRef keys;                // shared: [page_size][head_dim], rotated
  ExprRef begin, dropped;        // of the sequence: storage indices begin .. begin + dropped
  ExprRef page_begin, page_gap;  // of the page: offsets page_begin .. page_begin + page_gap
};

struct Attention {
  Lowering& low;
  const graph::KvCache& cache;
  Matrix q;
  BufferRef sequences, positions, indptr, page_ids, kv;
  Matrix out;
  int64_t sharing = 1;  // query heads per key/value head
  int64_t block = 1;    // query heads that share one load of K or V
  int lanes = 1;        // along the head
  BufferRef scores, weighted, maxima,
      sums;  // shared: [sharing][page_size], [sharing][head_dim], [sharing], [sharing]
  Window window;

  KernelBuilder& k() { return low.k; }
  int64_t head_dim() const { return cache.head_dim; }
  ExprRef q_at(const ExprRef& row, const ExprRef& kv_head, const ExprRef& g) {
    return q.at(row, (kv_head * double(sharing) + g) * double(head_dim()));
  }
  bool windowed() const { return window.skip_begin != nullptr; }
  bool rotates_keys() const { return window.factors.buffer != nullptr; }
  // Offset in the page of its t-th live token.
  ExprRef live(const ExprRef& t) {
    if (!windowed()) return t;
    return k().let("token", t + select(less(t, window.page_begin), int_const(0), window.page_gap));
  }
  void find_window(const ExprRef& sequence);
  ExprRef enter_page(const ExprRef& page, const ExprRef& count);
  void rotate_keys(const ExprRef& page, const ExprRef& kv_head, const ExprRef& base, const ExprRef& count);
  void begin();
  void score_page(const ExprRef& row, const ExprRef& kv_head, const ExprRef& base, const ExprRef& count);
  void soften_page(const BufferRef& corrections);
  void weigh_page(const BufferRef& corrections, const ExprRef& base, const ExprRef& count,
                  const ExprRef& kv_head);
  void finish(const ExprRef& row, const ExprRef& kv_head);
  void tile(const ExprRef& row, const ExprRef& kv_head);
};

constexpr double kLowest = -std::numeric_limits<double>::infinity();

void Attention::begin() {
  k().loop("g", 0, sharing, LoopKind::kSerial, [&](ExprRef g) {
    k().store(maxima, g, float_const(kLowest));
    k().store(sums, g, float_const(0));
  });
  k().vector_loop("e", int_const(sharing * head_dim()), lanes,
                  [&](ExprRef e, int n) { k().store(weighted, e, float_const(0, {DType::kF32, n})); });
}

void Attention::score_page(const ExprRef& row, const ExprRef& kv_head, const ExprRef& base,
                           const ExprRef& count) {
  k().vector_loop("t", int_const(sharing * cache.page_size), lanes,
                  [&](ExprRef t, int n) { k().store(scores, t, float_const(kLowest, {DType::kF32, n})); });
  const BufferRef& source = rotates_keys() ? window.keys : kv;
  ExprRef keys = rotates_keys() ? int_const(0)
                                : k().let("keys", base + token_offset(cache, false, kv_head, int_const(0)));
  k().loop("heads", 0, sharing / block, LoopKind::kSerial, [&](ExprRef b) {
    std::vector<ExprRef> q_base;
    for (int64_t g = 0; g < block; ++g)
      q_base.push_back(k().let("q_at", q_at(row, kv_head, b * double(block) + double(g))));
    k().loop("t", int_const(0), count, LoopKind::kSerial, [&](ExprRef t) {
      std::vector<ExprRef> dots(static_cast<size_t>(block));
      ExprRef token = rotates_keys() ? t : live(t);
      for (int64_t d = 0; d < head_dim(); d += lanes) {
        ExprRef key =
            k().let("key", low.load_f32(source, keys + token * double(head_dim()) + double(d), lanes));
        for (size_t g = 0; g < dots.size(); ++g) {
          ExprRef query = low.load_f32(q.buffer, q_base[g] + double(d), lanes);
          dots[g] = k().let("dot", dots[g] ? fma(query, key, dots[g]) : query * key);
        }
      }
      for (size_t g = 0; g < dots.size(); ++g) {
        ExprRef at = (b * double(block) + double(static_cast<int64_t>(g))) * double(cache.page_size) + t;
        k().store(scores, at, reduce(BinaryOp::kAdd, dots[g]) * low.node.get_double("scale"));
      }
    });
  });
}

// Scores become weights exp(score - maximum); corrections rescale what earlier pages gave.
void Attention::soften_page(const BufferRef& corrections) {
  int n = static_cast<int>(std::min<int64_t>(lanes, cache.page_size));
  k().loop("g", 0, sharing, LoopKind::kSerial, [&](ExprRef g) {
    ExprRef first = k().let("scores", g * double(cache.page_size));
    ExprRef largest;
    for (int64_t t = 0; t < cache.page_size; t += n) {
      ExprRef s = k().load(scores, first + double(t), n);
      largest = largest ? binary(BinaryOp::kMax, largest, s) : s;
    }
    ExprRef before = k().let("before", k().load(maxima, g));
    ExprRef now = k().let("now", binary(BinaryOp::kMax, before, reduce(BinaryOp::kMax, largest)));
    ExprRef total;
    for (int64_t t = 0; t < cache.page_size; t += n) {
      ExprRef weight = k().let("weight", call(MathFn::kExp, k().load(scores, first + double(t), n) - now));
      k().store(scores, first + double(t), weight);
      total = total ? total + weight : weight;
    }
    ExprRef correction = k().let("correction", call(MathFn::kExp, before - now));
    k().store(corrections, g, correction);
    k().store(maxima, g, now);
    k().store(sums, g, k().load(sums, g) * correction + reduce(BinaryOp::kAdd, total));
  });
}

void Attention::weigh_page(const BufferRef& corrections, const ExprRef& base, const ExprRef& count,
                           const ExprRef& kv_head) {
  ExprRef values = k().let("values", base + token_offset(cache, true, kv_head, int_const(0)));
  // block x chunks accumulators and as many temporaries must fit in the registers.
  int64_t chunks = std::max<int64_t>(1, low.target.vector_registers / 2 / block);
  while (head_dim() / lanes % chunks != 0) --chunks;
  int64_t width = chunks * lanes;
  k().loop("heads", 0, sharing / block, LoopKind::kSerial, [&](ExprRef b) {
    k().loop("part", 0, head_dim() / width, LoopKind::kSerial, [&](ExprRef part) {
      BufferRef acc = k().registers("acc", {DType::kF32, lanes}, block * chunks);
      auto head = [&](int64_t g) { return b * double(block) + double(g); };
      auto place = [&](int64_t g, int64_t c) {
        return head(g) * double(head_dim()) + part * double(width) + double(c * lanes);
      };
      for (int64_t g = 0; g < block; ++g)
        for (int64_t c = 0; c < chunks; ++c)
          k().store(acc, int_const(g * chunks + c),
                    k().load(weighted, place(g, c), lanes) * k().load(corrections, head(g)));
      k().loop("t", int_const(0), count, LoopKind::kSerial, [&](ExprRef t) {
        ExprRef token = live(t);
        for (int64_t c = 0; c < chunks; ++c) {
          ExprRef at = values + token * double(head_dim()) + part * double(width) + double(c * lanes);
          ExprRef value = k().let("value", low.load_f32(kv, at, lanes));
          for (int64_t g = 0; g < block; ++g) {
            ExprRef i = int_const(g * chunks + c);
            ExprRef weight = k().load(scores, head(g) * double(cache.page_size) + t);
            k().store(acc, i, fma(broadcast(weight, lanes), value, k().load(acc, i)));
          }
        }
      });
      for (int64_t g = 0; g < block; ++g)
        for (int64_t c = 0; c < chunks; ++c)
          k().store(weighted, place(g, c), k().load(acc, int_const(g * chunks + c)));
    });
  });
}

void Attention::find_window(const ExprRef& sequence) {
  window.begin = k().let("skip_begin", cast(k().load(window.skip_begin, sequence), DType::kI64));
  window.dropped = k().let("skip_count", cast(k().load(window.skip_count, sequence), DType::kI64));
}

// Sets the page's part of the window; of its first `count` tokens the number that are live.
ExprRef Attention::enter_page(const ExprRef& page, const ExprRef& count) {
  ExprRef first = k().let("first", page * double(cache.page_size));
  auto inside = [&](const ExprRef& x) {
    return binary(BinaryOp::kMin, binary(BinaryOp::kMax, x, int_const(0)), count);
  };
  window.page_begin = k().let("page_begin", inside(window.begin - first));
  ExprRef end = inside(window.begin + window.dropped - first);
  window.page_gap = k().let("page_gap", end - window.page_begin);
  return k().let("live", count - window.page_gap);
}

void Attention::rotate_keys(const ExprRef& page, const ExprRef& kv_head, const ExprRef& base,
                            const ExprRef& count) {
  ExprRef stored_keys = k().let("stored_keys", base + token_offset(cache, false, kv_head, int_const(0)));
  k().loop("t", int_const(0), count, LoopKind::kSerial, [&](ExprRef t) {
    ExprRef token = live(t);
    ExprRef stored = k().let("stored", page * double(cache.page_size) + token);
    ExprRef index = stored - select(less(stored, window.begin), int_const(0), window.dropped);
    ExprRef factors = k().let("factors", window.factors.at(index, int_const(0)));
    ExprRef from = k().let("from", stored_keys + token * double(head_dim())),
            to = k().let("to", t * double(head_dim()));
    rotate_head(
        low, window.rotation, window.factors.buffer, factors,
        [&](ExprRef d, int n) { return low.load_f32(kv, from + d, n); },
        [&](ExprRef d, ExprRef v) { k().store(window.keys, to + d, v); });
  });
}

void Attention::finish(const ExprRef& row, const ExprRef& kv_head) {
  k().loop("g", 0, sharing, LoopKind::kSerial, [&](ExprRef g) {
    ExprRef total = k().let("total", k().load(sums, g));
    k().vector_loop("d", int_const(head_dim()), lanes, [&](ExprRef d, int n) {
      ExprRef column = (kv_head * double(sharing) + g) * double(head_dim()) + d;
      low.store_f32(out.buffer, out.at(row, column),
                    k().load(weighted, g * double(head_dim()) + d, n) / total);
    });
  });
}

void Attention::tile(const ExprRef& row, const ExprRef& kv_head) {
  auto index = [&](const BufferRef& b, ExprRef at) { return cast(k().load(b, at), DType::kI64); };
  double size = static_cast<double>(cache.page_size);
  if (windowed()) find_window(k().let("sequence", index(sequences, row)));
  ExprRef last = index(positions, row);
  if (windowed())
    last = k().let("last", last + select(less(last, window.begin), int_const(0), window.dropped));
  ExprRef length = k().let("length", last + 1.0);
  ExprRef first_page = k().let("first_page", index(indptr, index(sequences, row)));
  scores = k().shared("scores", DType::kF32, sharing * cache.page_size);
  weighted = k().shared("weighted", DType::kF32, sharing * head_dim());
  maxima = k().shared("maxima", DType::kF32, sharing);
  sums = k().shared("sums", DType::kF32, sharing);
  BufferRef corrections = k().shared("corrections", DType::kF32, sharing);
  if (rotates_keys()) window.keys = k().shared("rotated_keys", DType::kF32, cache.page_size * head_dim());
  begin();
  k().loop("page", int_const(0), (length + (size - 1)) / size, LoopKind::kSerial, [&](ExprRef p) {
    ExprRef base = k().let("base", page_base(low, index(page_ids, first_page + p)));
    ExprRef count = k().let("count", binary(BinaryOp::kMin, int_const(cache.page_size), length - p * size));
    auto attend = [&] {
      score_page(row, kv_head, base, count);
      soften_page(corrections);
      weigh_page(corrections, base, count, kv_head);
    };
    if (!windowed()) return attend();
    count = enter_page(p, count);
    k().branch(less(int_const(0), count), [&] {
      if (rotates_keys()) rotate_keys(p, kv_head, base, count);
      attend();
    });
  });
  finish(row, kv_head);
}

}  // namespace

Function lower_attention(Lowering& low) {
  const graph::KvCache& cache = low.cache();
  Matrix q = low.matrix(0, "q");
  BufferRef sequences = low.vector(1, "sequences"), positions = low.vector(2, "positions");
  BufferRef indptr = low.vector(3, "page_indptr"), page_ids = low.vector(4, "page_ids");
  Window window;
  if (low.node.inputs.size() > 5) {
    window.skip_begin = low.vector(5, "skip_begin");
    window.skip_count = low.vector(6, "skip_count");
  }
  if (low.node.inputs.size() > 7) {
    window.factors = low.matrix(7, "key_factors");
    window.rotation = {cache.head_dim, low.node.get_int("rotary_dim"),
                       low.node.get_bool_or("interleaved", false)};
  }
  BufferRef kv = low.state(false);
  Attention a{low, cache, q, sequences, positions, indptr, page_ids, kv, low.result()};
  a.window = std::move(window);
  a.sharing = low.node.get_int("heads") / cache.kv_heads;
  for (int64_t b = 4; b >= 1; --b)
    if (a.sharing % b == 0) {
      a.block = b;
      break;
    }
  a.lanes = low.lanes_dividing(cache.head_dim);
  while (cache.page_size % a.lanes != 0) a.lanes /= 2;
  low.k.grid("tile", q.rows * cache.kv_heads, [&](ExprRef t) {
    ExprRef row = low.k.let("row", t / double(cache.kv_heads));
    a.tile(row, low.k.let("kv_head", t % cache.kv_heads));
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
