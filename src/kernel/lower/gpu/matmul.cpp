// Matmul on GPUs: which schedule, the epilogue, activations against codes, and the schedules that hold all in
// registers.
#include "kernel/lower/gpu/matmul.h"

#include <algorithm>
#include <cmath>

#include "graph/ops/norm.h"
#include "kernel/lower/gpu/lowerings.h"

namespace mlc::kernel {

InputRow::InputRow(GpuLowering& gpu, const Operand& x, const LaneWeight& w) : gpu_(gpu), x_(x), w_(w) {
  if (gpu.node.attributes.count(graph::kNormAttribute))
    norm_.emplace(gpu, gpu.node.get_string(graph::kNormAttribute), graph::first_norm_input(gpu.node),
                  "norm_");
}

Operand InputRow::load(const ExprRef& row, const ExprRef& thread, int threads) {
  if (!norm_) return x_;
  const int n = x_.lanes() == 4 && w_.k % w_.format.group == 0 ? 4 : 1;  // as GroupReader meets them
  const Operand out{gpu_.k.shared("row", Type{DType::kF32, n}, w_.k / n), DType::kF32, Dim(1), w_.k};
  GpuRow its(gpu_, x_, row, thread, threads, n);
  norm_->store(its, out, [](const Unit&, const ExprRef& y) { return y; });
  gpu_.k.barrier();
  return out;
}

GroupReader::GroupReader(GpuLowering& gpu, const Operand& x, const LaneWeight& w, const ExprRef& thread)
    : gpu_(gpu), x_(x), w_(w), broadcast_(gpu.schedule.broadcast && gpu.target.subgroup_size > 1) {
  if (broadcast_) lane_ = gpu.k.let("lane", thread % gpu.lanes);
}

ExprRef GroupReader::elements(const ExprRef& row, const ExprRef& group, const ExprRef& vector) {
  ExprRef column = gpu_.k.let("column", group * w_.format.group + vector * 4);
  int n = x_.lanes();
  if (n == 4 && w_.k % w_.format.group == 0) return gpu_.k.let("x", gpu_.load(x_, x_.at(row, column), 4));
  std::vector<ExprRef> one;
  for (int i = 0; i < 4; ++i) {
    ExprRef at = gpu_.k.let("c", column + i);
    ExprRef v = gpu_.load(x_, x_.at(row, binary(BinaryOp::kMin, at, int_const(w_.k - 1))));
    one.push_back(gpu_.k.let("x", select(less(at, int_const(w_.k)), v, float_const(0))));
  }
  return gpu_.k.let("x", vector_of(one));
}

std::vector<ExprRef> GroupReader::load(const ExprRef& row, const ExprRef& group) {
  int vectors = w_.format.codes_per_word();  // four words of that many codes
  std::vector<ExprRef> out;
  if (!broadcast_) {
    for (int v = 0; v < vectors; ++v) out.push_back(elements(row, group, int_const(v)));
    return out;
  }
  for (int first = 0; first < vectors; first += gpu_.lanes) {
    ExprRef vector = lane_ + first;
    if (first + gpu_.lanes > vectors) vector = binary(BinaryOp::kMin, vector, int_const(vectors - 1));
    out.push_back(elements(row, group, vector));
  }
  return out;
}

GroupInputs GroupReader::spread(const std::vector<ExprRef>& loaded) {
  KernelBuilder& k = gpu_.k;
  int per_word = w_.format.codes_per_word();
  std::vector<ExprRef> whole;  // the group's vectors in order of k
  for (int v = 0; v < per_word; ++v) {
    if (!broadcast_)
      whole.push_back(loaded[static_cast<size_t>(v)]);
    else
      whole.push_back(
          k.let("x", subgroup_broadcast(loaded[static_cast<size_t>(v / gpu_.lanes)], v % gpu_.lanes)));
  }
  GroupInputs out;
  const int zero = w_.format.zero_point();
  ExprRef sum = whole[0];
  for (int v = 1; (zero || w_.has_offsets()) && v < per_word; ++v)
    sum = k.let("sum", sum + whole[static_cast<size_t>(v)]);
  if (w_.has_offsets()) out.sum = k.let("all", sum_lanes(k, sum));
  if (zero) out.zero = k.let("zero", (out.sum ? out.sum : sum_lanes(k, sum)) * zero);
  for (int p = 0; p < per_word; ++p) {
    std::vector<ExprRef> lanes;
    for (int w = 0; w < 4; ++w) {
      int at = per_word * w + p;
      lanes.push_back(extract(whole[static_cast<size_t>(at / 4)], at % 4));
    }
    out.at.push_back(k.let("xp", vector_of(lanes) * std::ldexp(1.0, -w_.code_exponent(p))));
  }
  return out;
}

GroupTile::GroupTile(GpuLowering& g)
    : gpu(g),
      x(g.matrix(0, "x")),
      w(lane_weight(g.type(1))),
      weight(g.k.input("weight", DType::kU32, w.words())),
      experts(g),
      epilogue(g) {}

void GroupTile::run(int threads, int subgroup_size, const std::function<void()>& body) {
  const Dim groups = row_blocks(experts, height) * across();
  k().groups(groups, threads, subgroup_size, [&](ExprRef group, ExprRef its_thread) {
    thread = its_thread;
    first_column = k().let("first", group % across() * columns());
    for_row_block(k(), experts, height, group / across(), [&](const RowRun& block) {
      first_row = block.row, matrix_row = block.weight_row, end = block.end;
      body();
    });
  });
}

ExprRef GroupTile::weight_row(const ExprRef& place) {
  ExprRef in_block = place % kLaneRows;
  ExprRef local = k().let("local", place - in_block + (in_block / 4 + in_block % 4 * 8));
  ExprRef column = first_column + local % columns();
  if (epilogue.columns() % columns() != 0)
    column = binary(BinaryOp::kMin, column, int_const(epilogue.columns() - 1));
  return matrix_row + column + local / columns() * epilogue.columns();
}

ExprRef group_dot(KernelBuilder& k, const LaneWeight& w, const ExprRef& words, const GroupScale& scale,
                  const GroupInputs& x) {
  ExprRef dot;
  for (size_t p = 0; p < x.at.size(); ++p) {
    ExprRef codes = w.codes_at(k, words, static_cast<int>(p));
    dot = k.let("dot", dot ? fma(codes, x.at[p], dot) : codes * x.at[p]);
  }
  ExprRef centered = scale.scale * x.less_zero(sum_lanes(k, dot));
  return scale.offset ? fma(scale.offset, x.sum, centered) : centered;
}

Dim row_blocks(const ExpertRows& experts, int height) {
  return Dim(experts.count()) * ceildiv(experts.most_rows(), height);
}

void for_row_block(KernelBuilder& k, const ExpertRows& experts, int height, const ExprRef& index,
                   const std::function<void(const RowRun&)>& body) {
  if (!experts.any()) {
    ExprRef row = k.let("first_row", index * height);
    return body({int_const(0), row, row, dim_expr(experts.rows())});
  }
  ExprRef blocks = k.let("blocks", dim_expr(ceildiv(experts.most_rows(), height)));
  ExprRef at = k.let("block", index);
  RowRun run = experts.run(k.let("expert", at / blocks));
  ExprRef row = k.let("first_row", run.row + binary(BinaryOp::kMod, at, blocks) * (height * run.step));
  k.branch(less(row, run.end), [&] { body({run.weight_row, row, row, run.end, run.step}); });
}

namespace {

// A group of threads that serves a block of weight rows: lanes along rows, `rows` rows a lane.
struct RowBlock {
  GpuLowering& gpu;
  const LaneWeight& w;
  const Epilogue& epilogue;
  int rows;  // of a lane, all halves
  ExprRef first_column, lane;
  ExprRef matrix_row = int_const(0);  // of the weight
  std::vector<ExprRef> places = {}, scale_places = {};

  int columns() const { return rows / epilogue.halves() * gpu.lanes; }
  int half_rows() const { return rows / epilogue.halves(); }
  ExprRef column(int r) const { return first_column + (lane + r % half_rows() * gpu.lanes); }
  // The lane's r-th row of the weight; past the end some row.
  ExprRef weight_row(int r) const {
    ExprRef row = column(r);
    if (epilogue.columns() % columns() != 0)
      row = binary(BinaryOp::kMin, row, int_const(epilogue.columns() - 1));
    return matrix_row + row + r / half_rows() * epilogue.columns();
  }
  // The lane's rows: where group 0 of each begins.
  void find() {
    for (int r = 0; r < rows; ++r) {
      places.push_back(gpu.k.let("place", w.place(weight_row(r), int_const(0))));
      scale_places.push_back(
          gpu.k.let("scale_place", w.scale_place(weight_row(r), int_const(0), places.back())));
    }
  }
  ExprRef words(const BufferRef& weight, int r, const ExprRef& g) const {
    return gpu.k.let("words", w.codes(gpu.k, weight, places[static_cast<size_t>(r)] + g * kLaneRows));
  }
  // The scales of all of the lane's rows. Those of one block of 32 rows come in one load where the lane has
  // rows i + 8 j of it: all four of eight lanes, every other one of sixteen.
  std::vector<GroupScale> scales(const BufferRef& weight, const ExprRef& g) const {
    bool aligned = epilogue.columns() % columns() == 0 && matrix_rows(gpu.type(1)) % kLaneRows == 0;
    int at_once = 1;
    if (aligned && columns() % kLaneRows == 0 && gpu.lanes < kLaneRows)
      at_once = kLaneRows / gpu.lanes;
    else if (aligned && gpu.lanes == 8 && half_rows() == 2)
      at_once = 2;
    std::vector<GroupScale> out;
    for (int r = 0; r < rows; r += at_once) {
      ExprRef at = scale_places[static_cast<size_t>(r)] + w.scale_step(g);
      if (gpu.lanes != 16 || at_once == 1) {
        for (const GroupScale& s : w.scales(gpu.k, weight, at, at_once)) out.push_back(s);
        continue;
      }
      std::vector<GroupScale> s = w.scales(gpu.k, weight, at - lane / 8, 4);
      auto mine = [&](const char* name, const ExprRef& a, const ExprRef& b) {
        return a ? gpu.k.let(name, select(less(lane, int_const(8)), a, b)) : nullptr;
      };
      for (size_t j : {size_t{0}, size_t{2}})
        out.push_back(
            {mine("scale", s[j].scale, s[j + 1].scale), mine("offset", s[j].offset, s[j + 1].offset)});
    }
    return out;
  }
  // Stores the results of activation row m: value(r) of each of the lane's rows.
  void store(const ExprRef& m, const ExprRef& inside, Epilogue& to,
             const std::function<ExprRef(int)>& value) const {
    for (int r = 0; r < half_rows(); ++r) {
      std::vector<ExprRef> values;
      for (int h = 0; h < epilogue.halves(); ++h)
        values.push_back(gpu.k.let("y", value(h * half_rows() + r)));
      ExprRef at = gpu.k.let("n", column(r)), guard = inside;
      if (epilogue.columns() % columns() != 0) {
        ExprRef fits = less(at, int_const(epilogue.columns()));
        guard = guard ? binary(BinaryOp::kAnd, guard, fits) : fits;
      }
      gpu.where(guard, [&] { to.store(m, at, values); });
    }
  }
};

}  // namespace

// Decode: lanes along weight rows, subgroups of the group ("slices") along K, summed at the end in shared
// memory.
Function gpu_matvec(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  Operand x = gpu.matrix(0, "x");
  LaneWeight w = lane_weight(gpu.type(1));
  BufferRef weight = k.input("weight", DType::kU32, w.words());
  ExpertRows experts(gpu);
  InputRow input(gpu, x, w);
  Epilogue epilogue(gpu);
  int rows = std::max(gpu.schedule.matvec_rows, epilogue.halves()), lanes = gpu.lanes;
  // Lanes pass activations on in uniform control flow only, so a slice of its own has no step that it skips.
  int slices = gpu.schedule.broadcast
                   ? 1
                   : static_cast<int>(std::min<int64_t>(gpu.schedule.matvec_slices, w.groups()));
  RowBlock block{gpu, w, epilogue, rows, nullptr, nullptr};
  int64_t blocks = (epilogue.columns() + block.columns() - 1) / block.columns();
  const Dim groups = experts.any() ? experts.rows() * blocks : Dim(blocks);
  k.groups(groups, lanes * slices, lanes, [&](ExprRef group, ExprRef thread) {
    block.lane = slices == 1 ? thread : k.let("lane", thread % lanes);
    RowRun run = experts.one_row(experts.any() ? k.let("slot", group / blocks) : int_const(0));
    block.matrix_row = run.weight_row;
    if (experts.any()) group = group % blocks;
    block.first_column = k.let("first", group * block.columns());
    ExprRef slice = slices == 1 ? int_const(0) : k.let("slice", thread / lanes);
    const Operand row = input.load(run.x_row, thread, lanes * slices);
    GroupReader reader(gpu, row, w, thread);
    block.find();
    BufferRef acc = k.registers("acc", {DType::kF32, 1}, rows);
    for (int r = 0; r < rows; ++r) k.store(acc, int_const(r), float_const(0));
    k.loop("step", 0, (w.groups() + slices - 1) / slices, LoopKind::kSerial, [&](ExprRef step) {
      ExprRef g = slices == 1 ? step : k.let("g", step * slices + slice);
      auto add_group = [&] {
        GroupInputs in = reader.spread(reader.load(run.x_row, g));
        std::vector<GroupScale> scales = block.scales(weight, g);
        for (int r = 0; r < rows; ++r) {
          ExprRef dot = group_dot(k, w, block.words(weight, r, g), scales[static_cast<size_t>(r)], in);
          k.store(acc, int_const(r), k.load(acc, int_const(r)) + dot);
        }
      };
      // The last step is not for all slices.
      gpu.where(w.groups() % slices != 0 ? less(g, int_const(w.groups())) : nullptr, add_group);
    });
    auto mine = [&](int r) { return k.load(acc, int_const(r)); };
    if (slices == 1) return block.store(run.row, nullptr, epilogue, mine);
    BufferRef parts = k.shared("parts", DType::kF32, int64_t{slices} * rows * lanes);
    for (int r = 0; r < rows; ++r)
      k.store(parts, (slice + int64_t{r} * slices) * lanes + block.lane, mine(r));
    k.barrier();
    k.branch(less(thread, int_const(lanes)), [&] {
      block.store(run.row, nullptr, epilogue, [&](int r) {
        ExprRef sum = k.load(parts, block.lane + r * slices * lanes);
        for (int s = 1; s < slices; ++s) sum = sum + k.load(parts, block.lane + (r * slices + s) * lanes);
        return sum;
      });
    });
  });
  return k.finish();
}

// Many rows where loads are dear: lanes along weight rows, a register tile of weight rows x activation rows
// in each lane, codes unpacked once for all activation rows.
Function gpu_matmul_lanes(GpuLowering& gpu) {
  KernelBuilder& k = gpu.k;
  Operand x = gpu.matrix(0, "x");
  LaneWeight w = lane_weight(gpu.type(1));
  BufferRef weight = k.input("weight", DType::kU32, w.words());
  ExpertRows experts(gpu);
  Epilogue epilogue(gpu);
  int rows = std::max(gpu.schedule.tile_columns, epilogue.halves()), height = gpu.schedule.tile_rows,
      lanes = gpu.lanes;
  RowBlock block{gpu, w, epilogue, rows, nullptr, nullptr};
  int64_t blocks = (epilogue.columns() + block.columns() - 1) / block.columns();
  k.groups(row_blocks(experts, height) * blocks, lanes, lanes, [&](ExprRef group, ExprRef thread) {
    block.lane = thread;
    block.first_column = k.let("first", group % blocks * block.columns());
    for_row_block(k, experts, height, group / blocks, [&](const RowRun& run) {
      block.matrix_row = run.weight_row;
      GroupReader reader(gpu, x, w, thread);
      std::vector<ExprRef> m;
      block.find();
      for (int i = 0; i < height; ++i)
        m.push_back(k.let("m", binary(BinaryOp::kMin, run.row + i, run.end - 1)));
      BufferRef acc = k.registers("acc", {DType::kF32, 1}, rows * height);
      for (int i = 0; i < rows * height; ++i) k.store(acc, int_const(i), float_const(0));
      k.loop("group", 0, w.groups(), LoopKind::kSerial, [&](ExprRef g) {
        std::vector<std::vector<ExprRef>> codes(static_cast<size_t>(rows));
        std::vector<GroupScale> scales = block.scales(weight, g);
        for (int r = 0; r < rows; ++r) {
          ExprRef words = block.words(weight, r, g);
          for (int p = 0; p < w.format.codes_per_word(); ++p)
            codes[static_cast<size_t>(r)].push_back(k.let("codes", w.codes_at(k, words, p)));
        }
        for (int i = 0; i < height; ++i) {
          GroupInputs in = reader.spread(reader.load(m[static_cast<size_t>(i)], g));
          for (int r = 0; r < rows; ++r) {
            ExprRef dot;
            for (size_t p = 0; p < in.at.size(); ++p) {
              const ExprRef& c = codes[static_cast<size_t>(r)][p];
              dot = k.let("dot", dot ? fma(c, in.at[p], dot) : c * in.at[p]);
            }
            ExprRef at = int_const(r * height + i), sum = k.load(acc, at);
            const GroupScale& scale = scales[static_cast<size_t>(r)];
            if (scale.offset) sum = fma(scale.offset, in.sum, sum);
            k.store(acc, at, fma(scale.scale, in.less_zero(sum_lanes(k, dot)), sum));
          }
        }
      });
      for (int i = 0; i < height; ++i)
        block.store(m[static_cast<size_t>(i)], k.let("inside", less(run.row + i, run.end)), epilogue,
                    [&](int r) { return k.load(acc, int_const(r * height + i)); });
    });
  });
  return k.finish();
}

Function lower_gpu_matmul(GpuLowering& gpu) {
  const bool quantized = gpu.type(1).kind == graph::TensorType::Kind::kGroup;
  const bool experts = gpu.node.op == "expert_matmul", slots = experts && gpu.type(2).shape.size() == 2;
  if (quantized && (experts ? slots : gpu.single_row())) return gpu_matvec(gpu);
  check_no_norm(gpu);
  if (!quantized) return gpu_matmul_plain(gpu);
  bool many =
      gpu.options.min_rows > 1 && gpu.options.max_rows == 0;  // a few leave the tiles of a matrix unit empty
  if (many && fits_matrix_unit(gpu)) return gpu_matmul_matrix(gpu);
  return gpu_schedule(gpu.target).shared_tiles ? gpu_matmul_shared(gpu) : gpu_matmul_lanes(gpu);
}

}  // namespace mlc::kernel
