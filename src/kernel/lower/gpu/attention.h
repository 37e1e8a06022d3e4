// attention's lowering for GPUs, shared by its files: attention.cpp (tiles, sums),
// attention_tokens.cpp (what is walked over) and attention_results.cpp (what is stored).
#pragma once

#include <vector>

#include "kernel/lower/gpu/context.h"
#include "kernel/lower/rope.h"

namespace mlc::kernel {

class GpuAttention {
 public:
  struct Query {  // one row and head of the group
    int row = 0, head = 0;
  };

  // The call's buffers; mask and those of a rolling window have none without one, factors where keys are
  // stored rotated, sinks without them.
  struct Buffers {
    Operand q, factors, sinks, out;
    Operand sequences, limits, indptr, page_ids, mask, skip_begin, skip_count, kv;
    Rotation rotation;  // of keys
    int lanes = 4;      // of the vectors in which q, keys and values are met: 2 or 4, and divides a chunk
  };

  // How the work is cut.
  struct Tiling {
    int64_t sharing = 1;                     // query heads per key/value head
    int64_t part_tokens = 0;                 // of a part; 0: the whole sequence
    int64_t window = 0;                      // tokens that a row sees at most; 0: all up to its limit
    int heads = 1, rows = 1, subgroups = 1;  // of a group
    bool broadcast = false;  // lanes pass queries, weights and places on; else shared memory does
  };

  // What a group works on, as its threads see it.
  struct Group {
    ExprRef thread, lane, subgroup, kv_head, first_head, first_row;
    ExprRef part;                               // null without parts
    std::vector<ExprRef> row, sequence, limit;  // of the group's rows; limit 0 for rows past the last
    std::vector<ExprRef> mask, first_seen;      // of rows; none without a mask, a window
    std::vector<ExprRef> slope;                 // of the group's heads; null without biases
  };

  struct Memory {
    BufferRef weights, places, parts, part_state;  // shared
    BufferRef queries;                             // shared; null where they are held
    std::vector<ExprRef> held;                     // queries in registers: [query][vector]
    BufferRef maxima, sums, acc;                   // registers
  };

  // The sequence that is walked: its live tokens begin .. end, of which those from `seen` on are read.
  struct Walk {
    ExprRef sequence, begin, end, first_page;
    ExprRef seen;                    // null without a window
    ExprRef skip_begin, skip_count;  // null without a rolling window
  };

  // The lane's token of a block, and where it lies.
  struct Token {
    ExprRef index, page, slot, value;
  };

  GpuAttention(GpuLowering& g, const CachePages& pages, const Buffers& b, const Tiling& t)
      : gpu_(g), k_(g.k), cache_(pages.cache), pages_(pages), in_(b), tiling_(t) {
    for (int r = 0; r < t.rows; ++r)
      for (int h = 0; h < t.heads; ++h) query_.push_back({r, h});
  }
  // A thread holds no more elements of a key at once, but of one that it rotates.
  bool keys_are_long() const { return key_dim() > 256 && !in_.factors.buffer; }
  static constexpr int64_t kMostSums = 32;  // vectors in a lane, 128 registers, where keys are long
  // Of a group, with what sums over a subgroup take where it is expanded.
  int64_t shared_bytes() const;
  int64_t sums() const { return acc_at(queries(), 0, 0); }  // vectors of weighted values in a lane
  Function build() const;

 private:
  static constexpr double kLowest =
      -3e38;  // below every score; not infinite, so that differences are numbers

  bool in_parts() const { return tiling_.part_tokens > 0; }
  int64_t key_dim() const { return cache_.key_dim; }
  int64_t value_dim() const { return cache_.value_dim; }
  int value_lanes() const { return static_cast<int>(value_dim()) / pages_.chunk; }  // that cover a value
  int chunks() const { return (value_lanes() + gpu_.lanes - 1) / gpu_.lanes; }      // of a value in a lane
  int halves() const { return pages_.chunk / in_.lanes; }                           // vectors of a chunk
  int64_t key_vectors() const { return key_dim() / in_.lanes; }
  int64_t value_vectors() const { return value_dim() / in_.lanes; }
  int threads() const { return tiling_.subgroups * gpu_.lanes; }
  int token_lanes() const;  // tokens whose values are met at once
  size_t queries() const { return query_.size(); }
  int64_t acc_at(size_t q, int chunk, int half) const {
    return (static_cast<int64_t>(q) * chunks() + chunk) * halves() + half;
  }
  std::vector<ExprRef> load(const ExprRef& at) const {  // a chunk of the cache
    return gpu_.load_chunk(in_.kv, at, pages_.chunk, in_.lanes);
  }
  ExprRef index(const Operand& from, const ExprRef& at) const { return gpu_.load_index(from, at); }

  Group group(const ExprRef& group, const ExprRef& thread, Memory& memory) const;
  void place_rows(const ExprRef& group, Group& g) const;
  void load_queries(const Group& g, Memory& m) const;
  void clear_sums(Memory& m) const;
  ExprRef query(const Memory& m, size_t q, int vector) const;
  void walk_all(const Group& g, const Memory& m) const;
  void walk(const Group& g, const Memory& m, const ExprRef& sequence) const;
  void place_window(Group& g) const;
  void enter_window(const Group& g, Walk& w) const;
  Walk enter_sequence(const Group& g, const ExprRef& sequence) const;
  void block(const Group& g, const Memory& m, const Walk& w, const ExprRef& step) const;
  Token find_token(const Group& g, const Walk& w, const ExprRef& t) const;
  std::vector<ExprRef> key(const Group& g, const Token& token) const;
  std::vector<ExprRef> dots(const Group& g, const Memory& m, const Token& token) const;
  std::vector<ExprRef> rotated(std::vector<ExprRef> key, const Token& token) const;
  std::vector<ExprRef> scores(const Group& g, const Memory& m, const Walk& w, const Token& token,
                              const ExprRef& t) const;
  std::vector<ExprRef> online_softmax(const Memory& m, const std::vector<ExprRef>& scores) const;
  void accumulate_values(const Group& g, const Memory& m, const Token& token,
                         const std::vector<ExprRef>& weights) const;
  void add_value(const Group& g, const Memory& m, const std::vector<ExprRef>& weights,
                 const ExprRef& value) const;
  void merge_token_lanes(const Memory& m) const;
  void store_results(const Group& g, const Memory& m) const;
  void join_subgroups(const Group& g, const Memory& m) const;
  void find_part(const Group& g, Walk& w) const;
  ExprRef with_sink(const Group& g, size_t q, const ExprRef& largest, const ExprRef& total) const;
  void put(const Group& g, size_t q, const ExprRef& d, const ExprRef& sums, const ExprRef& total) const;
  void put_state(const Group& g, size_t q, const ExprRef& largest, const ExprRef& total) const;

  GpuLowering& gpu_;
  KernelBuilder& k_;
  const graph::PagedState& cache_;
  const CachePages& pages_;
  const Buffers& in_;
  const Tiling tiling_;
  std::vector<Query> query_;
};

}  // namespace mlc::kernel
