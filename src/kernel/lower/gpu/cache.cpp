// Ops that write the paged KV cache on GPUs: kv_append, rope_append, copy_pages.
#include "kernel/lower/gpu/cache.h"

#include <numeric>

#include "base/strings.h"
#include "base/user_error.h"
#include "formats/plan.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {

CachePages::CachePages(const GpuLowering& gpu, const graph::KvCache& c)
    : cache(c), chunk(16 / size_of(c.dtype)) {
  if (c.head_dim % chunk != 0)
    throw UserError(str(gpu.low.node.op, ": heads of ", c.head_dim, " elements have no kernel on ",
                        gpu.low.target.name, ", expected a multiple of ", chunk));
}

ExprRef CachePages::key(const ExprRef& page, const ExprRef& head, const ExprRef& d,
                        const ExprRef& token) const {
  double chunks = static_cast<double>(cache.head_dim / chunk), c = chunk;
  ExprRef at = (head * chunks + d / c) * double(cache.page_size) + token;
  return page + (at * c + d % chunk);
}

ExprRef CachePages::value(const ExprRef& page, const ExprRef& head, const ExprRef& token) const {
  ExprRef line = (head + double(cache.kv_heads)) * double(cache.page_size) + token;
  return page + line * double(cache.head_dim);
}

GpuRotation::GpuRotation(GpuLowering& gpu, const Rotation& rotation, const WordMatrix& factors, int lanes)
    : gpu_(gpu), rotation_(rotation), factors_(factors) {
  int64_t half = rotation.rotary_dim / 2, plain = rotation.head_dim - rotation.rotary_dim;
  n_ = static_cast<int>(std::gcd(std::gcd(half, plain), int64_t{lanes}));
  if (rotation.interleaved) n_ = static_cast<int>(std::gcd(plain, int64_t{2}));  // a pair is a unit
  rotated_ = rotation.interleaved ? half : half / n_;
  plain_ = plain / n_;
}

void GpuRotation::unit(const ExprRef& row, const ExprRef& u, const LoadElement& x, const PutElement& put) {
  KernelBuilder& k = gpu_.k;
  int64_t half = rotation_.rotary_dim / 2;
  auto rotate = [&] {
    int n = rotation_.interleaved ? 1 : n_;
    ExprRef d = k.let("d", u * double(n));
    ExprRef cosine = k.let("cosine", gpu_.load(factors_.words, factors_.at(row, d), n));
    ExprRef sine = k.let("sine", gpu_.load(factors_.words, factors_.at(row, d + double(half)), n));
    if (rotation_.interleaved) {
      ExprRef pair = k.let("pair", x(d * 2.0, 2));
      ExprRef a = extract(pair, 0), b = extract(pair, 1);
      return put(d * 2.0, vector_of({a * cosine - b * sine, b * cosine + a * sine}));
    }
    ExprRef a = k.let("a", x(d, n)), b = k.let("b", x(d + double(half), n));
    put(d, a * cosine - b * sine);
    put(d + double(half), b * cosine + a * sine);
  };
  if (plain_ == 0) return rotate();
  k.branch(less(u, int_const(rotated_)), rotate, [&] {
    ExprRef d = k.let("d", (u - double(rotated_)) * double(n_) + double(rotation_.rotary_dim));
    put(d, x(d, n_));
  });
}

namespace {

struct Slot {
  ExprRef page, token;
};

Slot find_slot(GpuLowering& gpu, const CachePages& pages, const Words& slots, const ExprRef& row) {
  ExprRef slot = gpu.k.let("slot", gpu.load_index(slots, row));
  return {gpu.k.let("page", pages.page(slot / double(pages.cache.page_size))),
          gpu.k.let("token", slot % pages.cache.page_size)};
}

// Vectors that divide what both sides can move.
int move_lanes(const WordMatrix& m, const graph::KvCache& c) {
  return static_cast<int>(std::gcd(int64_t{m.lanes()}, c.head_dim));
}

}  // namespace

Function lower_gpu_kv_append(Lowering& low) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  const graph::KvCache& c = low.cache();
  CachePages pages(gpu, c);
  WordMatrix keys = gpu.matrix(0, "k"), values = gpu.matrix(1, "v");
  Words slots = gpu.vector(2, "slots"), cache = gpu.state(true);
  int n = std::min(move_lanes(keys, c), move_lanes(values, c));
  int64_t per_head = c.head_dim / n, units = c.kv_heads * per_head;
  gpu.for_row_units(keys.rows, units, [&](ExprRef row, ExprRef unit) {
    Slot slot = find_slot(gpu, pages, slots, row);
    ExprRef head = k.let("head", unit / double(per_head)), d = k.let("d", unit % per_head * double(n));
    ExprRef column = k.let("column", head * double(c.head_dim) + d);
    gpu.store(cache, pages.key(slot.page, head, d, slot.token),
              gpu.load(keys.words, keys.at(row, column), n));
    gpu.store(cache, pages.value(slot.page, head, slot.token) + d,
              gpu.load(values.words, values.at(row, column), n));
  });
  return k.finish();
}

Function lower_gpu_rope_append(Lowering& low) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  const graph::KvCache& c = low.cache();
  CachePages pages(gpu, c);
  Rotation rotation = rotation_of(low.node);
  int64_t heads = low.node.get_int("heads");
  WordMatrix x = gpu.matrix(0, "qkv"), factors = gpu.matrix(1, "factors");
  Words slots = gpu.vector(2, "slots"), cache = gpu.state(true);
  WordMatrix out = gpu.result();
  int n = std::min(move_lanes(x, c), out.lanes());
  GpuRotation rotate(gpu, rotation, factors, n);
  int64_t rotated = (heads + c.kv_heads) * rotate.units(), copied = c.head_dim / n;
  gpu.for_row_units(x.rows, rotated + c.kv_heads * copied, [&](ExprRef row, ExprRef unit) {
    auto copy_value = [&] {
      Slot slot = find_slot(gpu, pages, slots, row);
      ExprRef v = k.let("v", unit - double(rotated));
      ExprRef head = k.let("head", v / double(copied)), d = k.let("d", v % copied * double(n));
      ExprRef column = (head + double(heads + c.kv_heads)) * double(c.head_dim) + d;
      gpu.store(cache, pages.value(slot.page, head, slot.token) + d, gpu.load(x.words, x.at(row, column), n));
    };
    k.branch(
        less(unit, int_const(rotated)),
        [&] {
          ExprRef head = k.let("head", unit / double(rotate.units())), u = k.let("u", unit % rotate.units());
          ExprRef column = k.let("column", head * double(c.head_dim));
          auto element = [&](ExprRef d, int lanes) {
            return gpu.load(x.words, x.at(row, column + d), lanes);
          };
          k.branch(
              less(head, int_const(heads)),
              [&] {
                rotate.unit(row, u, element,
                            [&](ExprRef d, ExprRef v) { gpu.store(out.words, out.at(row, column + d), v); });
              },
              [&] {
                Slot slot = find_slot(gpu, pages, slots, row);
                ExprRef kv_head = k.let("kv_head", head - double(heads));
                rotate.unit(row, u, element, [&](ExprRef d, ExprRef v) {
                  gpu.store(cache, pages.key(slot.page, kv_head, d, slot.token), v);
                });
              });
        },
        copy_value);
  });
  return k.finish();
}

// One unit is 16 bytes of one layer of one page: of the node's layer, or of all where it has none.
Function lower_gpu_copy_pages(Lowering& low) {
  GpuLowering gpu(low);
  KernelBuilder& k = low.k;
  const graph::KvCache& c = low.cache();
  Words sources = gpu.vector(0, "sources"), targets = gpu.vector(1, "targets");
  int64_t layers = low.node.attributes.count("layer") ? 1 : c.layers;
  Words cache = gpu.state(true, layers);
  ExprRef pages = k.dimension(kPoolPages);
  int64_t words = c.page_elements() / cache.elements_per_word(), n = std::gcd(words, int64_t{4}),
          units = words / n;
  gpu.for_row_units(low.type(0).shape[0], layers * units, [&](ExprRef i, ExprRef unit) {
    ExprRef layer = k.let("layer", unit / double(units)), at = k.let("at", unit % units * double(n));
    auto base = [&](const Words& list) { return (layer * pages + gpu.load_index(list, i)) * double(words); };
    k.store(cache.buffer, base(targets) + at, k.load(cache.buffer, base(sources) + at, static_cast<int>(n)));
  });
  return k.finish();
}

}  // namespace mlc::kernel
