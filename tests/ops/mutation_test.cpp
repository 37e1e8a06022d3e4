// Shows that the op tests can fail: kernels with one mistake each, which the comparison of the op tests must
// notice.
#include <optional>

#include "kernel/builder.h"
#include "kernel/passes/rewrite.h"
#include "ops/recurrence_case.h"
#include "ops/tolerance.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Function;
using kernel::Scope;
using kernel::Stmt;
using kernel::StmtKind;
using kernel::StmtRef;

struct Mutant {
  std::string mistake;
  Function function;
};

// Applies `change` to a copy of the n-th statement, counting outer ones first; n is used up.
std::vector<StmtRef> change_statement(const std::vector<StmtRef>& body, int& n,
                                      const std::function<void(Stmt&)>& change) {
  std::vector<StmtRef> out;
  for (const StmtRef& s : body) {
    auto copy = std::make_shared<Stmt>(*s);
    bool chosen = n-- == 0;
    copy->body = change_statement(s->body, n, change);
    copy->otherwise = change_statement(s->otherwise, n, change);
    if (chosen) change(*copy);
    out.push_back(std::move(copy));
  }
  return out;
}

Function with_statement(const Function& f, int n, const std::function<void(Stmt&)>& change) {
  Function out = f;
  out.body = change_statement(f.body, n, change);
  return out;
}

ExprRef plus_one(const ExprRef& e) {
  if (e->type.dtype == DType::kBF16) return kernel::cast(kernel::cast(e, DType::kF32) + 1.0, DType::kBF16);
  return is_float(e->type.dtype) ? e + 1.0 : e + kernel::int_const(1, e->type);
}

// The index before, which is inside the buffer too.
ExprRef one_before(const ExprRef& index) {
  ExprRef one = kernel::int_const(1, index->type), zero = kernel::int_const(0, index->type);
  return kernel::binary(kernel::BinaryOp::kMax, index - one, zero);
}

void skip_last_iteration(Stmt& loop) {
  auto guard = std::make_shared<Stmt>();
  guard->kind = StmtKind::kIf;
  ExprRef last = loop.begin + loop.extent - kernel::int_const(1);
  guard->value = kernel::less(kernel::variable(loop.name, last->type), last);
  guard->body = loop.body;
  loop.body = {guard};
}

// One mutant per statement that can be mistaken.
void add_statement_mutants(const Function& f, bool values, std::vector<Mutant>& mutants) {
  int n = 0;
  kernel::for_each_statement(f.body, [&](const Stmt& s) {
    int at = n++;
    if (s.kind == StmtKind::kFor && s.loop == kernel::LoopKind::kGrid)
      mutants.push_back({"skips the last tile", with_statement(f, at, skip_last_iteration)});
    if (s.kind == StmtKind::kMatrix && s.begin)
      mutants.push_back({str("shifts matrix ", at, " in ", s.memory->name),
                         with_statement(f, at, [](Stmt& m) { m.begin = one_before(m.begin); })});
    else if (s.kind == StmtKind::kMatrix)
      mutants.push_back(
          {str("leaves out matrix ", at), with_statement(f, at, [](Stmt& m) { m.kind = StmtKind::kBlock; })});
    if (s.kind != StmtKind::kStore) return;
    std::string what = str(" store ", at, " to ", s.buffer->name);
    if (s.buffer->scope == Scope::kGlobal)
      mutants.push_back(
          {"shifts" + what, with_statement(f, at, [](Stmt& m) { m.index = one_before(m.index); })});
    else if (values)
      mutants.push_back(
          {"adds one to" + what, with_statement(f, at, [](Stmt& m) { m.value = plus_one(m.value); })});
  });
}

// One mutant per load of data: its index is one too small. Loads of i32 are left alone: a wrong page or row
// number leaves the buffers, which the interpreter ends the process for.
void add_load_mutants(const Function& f, std::vector<Mutant>& mutants) {
  auto is_data = [](const ExprRef& e) {
    return e->kind == ExprKind::kLoad && e->buffer->scope == Scope::kGlobal &&
           e->buffer->element.dtype != DType::kI32;
  };
  int count = 0;
  kernel::rewrite(f, [&](const ExprRef& e, const kernel::NameValue&) {
    count += is_data(e);
    return e;
  });
  for (int n = 0; n < count; ++n) {
    int seen = 0;
    std::string name;
    Function mutant = kernel::rewrite(f, [&](const ExprRef& e, const kernel::NameValue&) -> ExprRef {
      if (!is_data(e) || seen++ != n) return e;
      name = e->buffer->name;
      auto copy = std::make_shared<kernel::Expr>(*e);
      copy->operands[0] = one_before(copy->operands[0]);
      return copy;
    });
    mutants.push_back({str("shifts load ", n, " of ", name), std::move(mutant)});
  }
}

// `values`: whether adding one to an intermediate value is a mistake.
void check_mutants(OpCase& c, const Target& target, bool values = true) {
  Function f = c.lower(target);
  ASSERT_EQ(c.difference(OpBatch::interpret(c, f)), "") << target.name;
  std::vector<Mutant> mutants;
  add_statement_mutants(f, values, mutants);
  add_load_mutants(f, mutants);
  ASSERT_GE(mutants.size(), 3u);  // a tile, a load and a store
  for (const Mutant& m : mutants)
    EXPECT_NE(c.difference(OpBatch::interpret(c, m.function)), "")
        << "nobody notices that a kernel for " << target.name << ' ' << m.mistake << '\n'
        << kernel::print(m.function);
}

void check_mutants(OpCase& c, bool values = true) {
  for (const std::vector<Target>& targets : {x86_64_targets(), aarch64_targets()})
    for (const Target& target : {targets.front(), targets.back()}) check_mutants(c, target, values);
}

const Dim kRows = Dim::symbol("rows");

TEST(Mutation, OfAPlainMatmulIsNoticed) {
  std::mt19937 random(31);
  OpCase c({{"rows", 17}});
  graph::Value* x = c.matrix(kRows, 67, random_floats(17 * 67, 2, random));
  c.g->matmul(x, c.parameter(DType::kF16, {17, 67}, random_floats(17 * 67, 1, random)));
  c.rule.tolerance = dot_error(67, 67 * 2.0);
  check_mutants(c);
}

void check_int8_mutants(const WeightFormat& format) {
  std::mt19937 random(32);
  OpCase c({{"rows", 17}});
  graph::Value* x = c.matrix(kRows, 100, random_floats(1700, 2, random));
  x = c.g->op("quantize_q8", {x}, {{"output", graph::TensorType::q8({}, format).element_text()}})[0];
  c.evaluate_last();
  c.g->matmul(x, c.quantized(format, "tile8", 17, 100, random_floats(1700, 1, random)));
  c.rule.tolerance = dot_error(100, 100 * 2.0);
  check_mutants(c);
}

TEST(Mutation, OfAnInt8MatmulIsNoticed) {
  check_int8_mutants({WeightFormat::Kind::kGroup, DType::kF16, 4, 32});
}
TEST(Mutation, OfAnInt8MatmulWith3BitsIsNoticed) {
  check_int8_mutants({WeightFormat::Kind::kGroup, DType::kF16, 3, 40});
}

TEST(Mutation, OfAMatmulOfTilesIsNoticed) {
  std::mt19937 random(36);
  constexpr int64_t kK = 1056;  // two chunks
  OpCase c({{"rows", 35}});
  graph::Value* x = c.g->op("to_tiles", {c.matrix(kRows, kK, random_floats(35 * kK, 2, random))})[0];
  c.evaluate_last();
  WeightFormat format{WeightFormat::Kind::kGroup, DType::kF16, 4, 32, false};
  c.g->matmul(x, c.quantized(format, "tile16", 80, kK, random_floats(80 * kK, 1, random)));
  c.rule.tolerance = dot_error(kK, kK * 2.0);
  check_mutants(c, x86_64_targets().front());
}

TEST(Mutation, OfANormIsNoticed) {
  std::mt19937 random(33);
  OpCase c({{"rows", 3}});
  graph::Value* x = c.matrix(kRows, 67, random_floats(3 * 67, 3, random));
  c.g->rms_norm(x, c.parameter(DType::kF32, {67}, random_floats(67, 1, random)), 1e-5);
  c.rule = {.tolerance = norm_error(67, 2 * std::sqrt(67.0)), .relative = true};
  check_mutants(c);
}

TEST(Mutation, OfRopeIsNoticed) {
  std::mt19937 random(34);
  OpCase c({{"rows", 3}});
  graph::Value* x = c.matrix(kRows, 60, random_floats(180, 2, random));
  c.g->rope(x, c.matrix(kRows, 16, random_floats(48, 1, random)), 20, 16, false);
  c.rule = {.tolerance = elementwise_error(4), .relative = true};
  check_mutants(c);
}

TEST(Mutation, OfAttentionIsNoticed) {
  std::mt19937 random(35);
  // Two rows that share their sequence, and one alone.
  OpCase c({{"rows", 3}, {"batch", 2}, {"pages", 3}});
  c.state(graph::PagedState::of_heads("kv", 1, 1, 8, 16, DType::kF32), 3);
  std::vector<float>& pool = c.states["kv"].values;
  std::vector<float> all = random_floats(static_cast<int64_t>(pool.size()), 1, random);
  pool = all;
  c.g->attention("kv", 0,
                 {.q = c.matrix(kRows, 16, random_floats(48, 2, random)),
                  .row_sequence = c.indices(kRows, {0, 0, 1}),
                  .limits = c.indices(kRows, {21, 8, 16}),
                  .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, 2, 3}),
                  .page_ids = c.indices(Dim::symbol("pages"), {2, 0, 1})},
                 {.heads = 2, .scale = 0.35});
  c.rule.tolerance = attention_error(21, 8, 2 * 8 * 0.35, 1);
  // A softmax is the same when one is added to every score, and what it starts from is multiplied by
  // exp(-inf) = 0.
  check_mutants(c, false);
}

TEST(Mutation, OfARecurrenceIsNoticed) {
  std::optional<OpCase> c;
  add_wkv5([&](const std::string&,
               const std::map<std::string, int64_t>& dims) -> OpCase& { return c.emplace(dims); },
           20, {{3}, {1, true}});
  check_mutants(*c);
}

}  // namespace
}  // namespace mlc::testing
