// Encodes and decodes plans.
#include "formats/plan.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "formats/plan_sources.h"

namespace mlc {
namespace {

constexpr std::string_view kMagic = "MLCPLAN5";
constexpr size_t kMagicName = 7;                    // of kMagic, before the version
constexpr int64_t kMostScratch = int64_t{1} << 30;  // bytes of a thread

// Small numbers of either sign as small ones without: 0, -1, 1, -2 become 0, 1, 2, 3.
uint64_t zigzag(int64_t v) { return static_cast<uint64_t>(v) << 1 ^ (v < 0 ? ~uint64_t{0} : 0); }
int64_t of_zigzag(uint64_t v) { return static_cast<int64_t>(v >> 1 ^ (v & 1 ? ~uint64_t{0} : 0)); }

class Writer {
 public:
  void put(int64_t value) {
    uint64_t rest = zigzag(value);
    for (; rest >= 0x80; rest >>= 7) out_ += static_cast<char>(rest | 0x80);
    out_ += static_cast<char>(rest);
  }
  void text(const std::string& s) {
    put(static_cast<int64_t>(s.size()));
    out_ += s;
  }
  template <typename T, typename F>
  void list(const std::vector<T>& items, F&& write) {
    put(static_cast<int64_t>(items.size()));
    for (const T& item : items) write(item);
  }
  std::string take() { return std::move(out_); }
  void raw(std::string_view bytes) { out_ += bytes; }

 private:
  std::string out_;
};

// Reads with a sticky failure: after the first bad read everything is zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool done() const { return ok_ && bytes_.empty(); }
  void fail() { ok_ = false; }
  size_t left() const { return bytes_.size(); }

  int64_t get() {
    uint64_t value = 0;
    for (int shift = 0; ok_ && !bytes_.empty() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return of_zigzag(value);
    }
    ok_ = false;
    return 0;
  }
  std::string text() {
    const size_t n = count();
    std::string s(bytes_.substr(0, n));
    bytes_.remove_prefix(n);
    return s;
  }
  // Every item takes at least one byte, so a count larger than what is left is a lie.
  size_t count() {
    const int64_t n = get();
    if (n < 0 || static_cast<uint64_t>(n) > bytes_.size()) ok_ = false;
    return ok_ ? static_cast<size_t>(n) : 0;
  }
  template <typename T, typename F>
  std::vector<T> list(F&& read) {
    const size_t n = count();
    std::vector<T> items;
    for (size_t i = 0; i < n && ok_; ++i) items.push_back(read());
    return items;
  }
  // An enum value not past `last`.
  template <typename E>
  E get_enum(E last) {
    return static_cast<E>(index(static_cast<size_t>(last) + 1));
  }
  uint32_t index(size_t limit) { return checked_index(get(), limit); }
  // A number that was read as something else, as an index.
  uint32_t checked_index(int64_t v, size_t limit) {
    if (v < 0 || static_cast<uint64_t>(v) >= limit) ok_ = false;
    return ok_ ? static_cast<uint32_t>(v) : 0;
  }
  bool take_magic(std::string_view magic) {
    if (bytes_.substr(0, magic.size()) != magic)
      ok_ = false;
    else
      bytes_.remove_prefix(magic.size());
    return ok_;
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void write_expression(Writer& w, const Dim& d, const std::vector<std::string>& symbols) {
  struct Token {
    DimOp op;
    int64_t operand;
  };
  std::vector<Token> tokens;
  auto visit = [&](auto&& self, const Dim& e) -> void {
    if (e.is_const()) {
      tokens.push_back({DimOp::kConst, e.constant()});
    } else if (e.op() == DimOp::kSymbol) {
      for (size_t i = 0; i < symbols.size(); ++i)
        if (symbols[i] == e.name()) return tokens.push_back({DimOp::kSymbol, static_cast<int64_t>(i)});
      internal_error("a symbol of an expression is missing from the plan");
    } else {
      self(self, e.lhs());
      self(self, e.rhs());
      tokens.push_back({e.op(), 0});
    }
  };
  visit(visit, d);
  w.list(tokens, [&](const Token& t) {
    w.put(static_cast<int64_t>(t.op));
    w.put(t.operand);
  });
}

Dim read_expression(Reader& r, const std::vector<std::string>& symbols) {
  constexpr size_t kMaxTokens = 256;  // ours have fewer than 30
  std::vector<Dim> stack;
  const size_t n = r.count();
  if (n == 0 || n > kMaxTokens) r.fail();
  for (size_t i = 0; i < n && r.ok(); ++i) {
    DimOp op = r.get_enum(DimOp::kMax);
    int64_t operand = r.get();
    if (!r.ok()) break;
    if (op == DimOp::kConst) {
      stack.emplace_back(operand);
    } else if (op == DimOp::kSymbol) {
      if (operand < 0 || static_cast<size_t>(operand) >= symbols.size())
        r.fail();
      else
        stack.push_back(Dim::symbol(symbols[static_cast<size_t>(operand)]));
    } else if (stack.size() < 2) {
      r.fail();
    } else {
      Dim b = stack.back();
      stack.pop_back();
      stack.back() = Dim::binary(op, stack.back(), b);
    }
  }
  if (stack.size() != 1) r.fail();
  return r.ok() ? stack.back() : Dim(0);
}

void write_tensor(Writer& w, const PlanTensor& t) {
  w.text(t.name);
  w.put(static_cast<int64_t>(t.dtype));
  w.list(t.shape, [&](ExprId e) { w.put(e); });
}

PlanTensor read_tensor(Reader& r, const Plan& plan) {
  PlanTensor t;
  t.name = r.text();
  t.dtype = r.get_enum(DType::kF8E5M2);
  t.shape = r.list<ExprId>([&] { return r.index(plan.expressions.size()); });
  return t;
}

void write_weight(Writer& w, const PlanWeight& p) {
  w.text(p.name);
  w.list(p.sources, [&](const std::string& s) { w.text(s); });
  w.list(p.source_dtypes, [&](const std::string& s) { w.text(s); });
  w.list(p.source_shapes, [&](const std::vector<int64_t>& s) { w.list(s, [&](int64_t d) { w.put(d); }); });
  w.put(p.bytes);
  w.put(p.preproc_kernel + 1);
  w.put(p.preproc_tiles);
}

PlanWeight read_weight(Reader& r, const Plan& plan) {
  PlanWeight p;
  p.name = r.text();
  p.sources = r.list<std::string>([&] { return r.text(); });
  p.source_dtypes = r.list<std::string>([&] { return r.text(); });
  p.source_shapes = r.list<std::vector<int64_t>>([&] { return r.list<int64_t>([&] { return r.get(); }); });
  p.bytes = r.get();
  p.preproc_kernel = static_cast<int32_t>(r.index(plan.kernels.size() + 1)) - 1;
  p.preproc_tiles = r.get();
  size_t n = p.sources.size();
  if (n > kMaxSources || p.source_dtypes.size() != n || p.source_shapes.size() != n || p.bytes < 0 ||
      p.preproc_tiles < 0 || (p.preproc_kernel < 0 ? n > 1 : n < 1))
    r.fail();
  return p;
}

// The numbers of a call but its kernel, and how many buffers and dims there are.
std::vector<int64_t> call_numbers(const PlanCall& c) {
  std::vector<int64_t> all = {static_cast<int64_t>(c.kind), static_cast<int64_t>(c.buffers.size()),
                              static_cast<int64_t>(c.dims.size()), int64_t{c.tiles}, c.scratch_bytes};
  for (const PlanBuffer& p : c.buffers)
    for (int64_t v :
         {int64_t{static_cast<uint8_t>(p.space)}, int64_t{p.index}, int64_t{p.offset}, int64_t{p.bytes}})
      all.push_back(v);
  all.insert(all.end(), c.dims.begin(), c.dims.end());
  return all;
}

// Calls as differences from the last one of the same kernel: those of a layer are then the bytes of the layer
// before, a byte a number, and plans are small, more so compressed.
class CallDifferences {
 public:
  explicit CallDifferences(size_t kernels) : last_(kernels) {}

  // How far value number i of a call of `kernel` is from the last one there.
  int64_t differ(uint32_t kernel, size_t i, int64_t value) {
    return static_cast<int64_t>(static_cast<uint64_t>(value) -
                                static_cast<uint64_t>(std::exchange(at(kernel, i), value)));
  }
  int64_t value(uint32_t kernel, size_t i, int64_t difference) {
    int64_t& last = at(kernel, i);
    return last = static_cast<int64_t>(static_cast<uint64_t>(last) + static_cast<uint64_t>(difference));
  }

 private:
  int64_t& at(uint32_t kernel, size_t i) {
    std::vector<int64_t>& numbers = last_[kernel];
    if (numbers.size() <= i) numbers.resize(i + 1);
    return numbers[i];
  }

  std::vector<std::vector<int64_t>> last_;  // by kernel
};

void write_body(Writer& w, const PlanBody& b, CallDifferences& differences) {
  w.list(b.guards, [&](const PlanGuard& g) {
    w.put(g.symbol);
    w.put(g.min);
    w.put(g.max);
  });
  w.put(b.arena_bytes);
  w.list(b.calls, [&](const PlanCall& c) {
    w.put(c.kernel);
    const std::vector<int64_t> numbers = call_numbers(c);
    for (size_t i = 0; i < numbers.size(); ++i) w.put(differences.differ(c.kernel, i, numbers[i]));
  });
}

PlanCall read_call(Reader& r, const Plan& plan, const PlanFunction& f, CallDifferences& differences) {
  PlanCall c;
  c.kernel = r.index(plan.kernels.size());
  if (!r.ok()) return c;
  size_t i = 0;
  auto next = [&] { return differences.value(c.kernel, i++, r.get()); };
  auto expression = [&] { return r.checked_index(next(), plan.expressions.size()); };
  c.kind = static_cast<PlanCall::Kind>(r.checked_index(next(), 1));
  const uint32_t buffers = r.checked_index(next(), r.left() + 1),
                 dims = r.checked_index(next(), r.left() + 1);
  c.tiles = expression();
  c.scratch_bytes = next();
  for (uint32_t at = 0; at < buffers && r.ok(); ++at) {
    constexpr size_t kSpaces = static_cast<size_t>(PlanBuffer::Space::kArena) + 1;
    const size_t limits[kSpaces] = {f.arguments.size(), f.results.size(), plan.weights.size(),
                                    plan.states.size(), 1};
    PlanBuffer& p = c.buffers.emplace_back();
    p.space = static_cast<PlanBuffer::Space>(r.checked_index(next(), kSpaces));
    p.index = r.checked_index(next(), limits[static_cast<size_t>(p.space)]);
    p.offset = expression();
    p.bytes = expression();
  }
  for (uint32_t at = 0; at < dims && r.ok(); ++at) c.dims.push_back(expression());
  if (c.scratch_bytes < 0 || c.scratch_bytes > kMostScratch) r.fail();
  return c;
}

PlanFunction read_function(Reader& r, const Plan& plan, CallDifferences& differences) {
  PlanFunction f;
  f.name = r.text();
  f.arguments = r.list<PlanTensor>([&] { return read_tensor(r, plan); });
  f.results = r.list<PlanTensor>([&] { return read_tensor(r, plan); });
  f.bodies = r.list<PlanBody>([&] {
    PlanBody b;
    b.guards = r.list<PlanGuard>([&] {
      PlanGuard g{.symbol = r.index(plan.symbols.size())};
      g.min = r.get();
      g.max = r.get();
      return g;
    });
    b.arena_bytes = r.index(plan.expressions.size());
    b.calls = r.list<PlanCall>([&] { return read_call(r, plan, f, differences); });
    return b;
  });
  if (f.bodies.empty() || !f.bodies.back().guards.empty()) r.fail();
  return f;
}

void write_pieces(Writer& w, const Plan& plan) {
  std::vector<uint32_t> pieces;
  for (uint32_t i = 0; i < plan.weights.size(); ++i)
    if (!plan.weights[i].rows.empty()) pieces.push_back(i);
  w.list(pieces, [&](uint32_t i) {
    w.put(i);
    w.put(plan.weights[i].row_axis);
    w.list(plan.weights[i].rows, [&](const PlanRows& r) {
      w.put(r.first);
      w.put(r.count);
    });
  });
}

void read_piece(Reader& r, Plan& plan) {
  uint32_t index = r.index(plan.weights.size()), axis = r.index(2);
  std::vector<PlanRows> rows = r.list<PlanRows>([&] {
    PlanRows part;
    part.first = r.get();
    part.count = r.get();
    return part;
  });
  if (!r.ok()) return;
  PlanWeight& w = plan.weights[index];
  w.rows = std::move(rows);
  w.row_axis = axis;
  for (size_t i = 0; i < w.sources.size(); ++i) {
    const int64_t own = source_rows(w.source_shapes[i], axis), in_one = rows_in_one(w, i);
    for (const PlanRows& part : w.rows)
      if (in_one < 1 || part.first < 0 || part.count < 1 || part.first % in_one != 0 ||
          part.count % in_one != 0 || part.first / in_one > own ||
          part.count / in_one > own - part.first / in_one)
        return r.fail();
  }
}

void write_preproc_scratch(Writer& w, const Plan& plan) {
  std::vector<uint32_t> weights;
  for (uint32_t i = 0; i < plan.weights.size(); ++i)
    if (plan.weights[i].preproc_scratch_bytes > 0) weights.push_back(i);
  w.list(weights, [&](uint32_t i) {
    w.put(i);
    w.put(plan.weights[i].preproc_scratch_bytes);
  });
}

void read_preproc_scratch(Reader& r, Plan& plan) {
  uint32_t index = r.index(plan.weights.size());
  auto bytes = r.get();
  if (bytes < 1 || bytes > kMostScratch) r.fail();
  if (r.ok()) plan.weights[index].preproc_scratch_bytes = bytes;
}

void write_state(Writer& w, const PlanState& s) {
  w.text(s.name);
  w.put(static_cast<int64_t>(s.kind));
  for (int64_t v : {s.layers, s.page_size, s.window, s.group}) w.put(v);
  w.list(s.parts, [&](const PlanPart& part) {
    w.text(part.name);
    w.put(part.heads);
    w.put(part.elements);
    w.put(static_cast<int64_t>(part.dtype));
  });
}

PlanState read_state(Reader& r) {
  constexpr int64_t kMost = 1 << 20, kMostPage = 4096, kMostParts = 16;  // products stay far below 2^63
  auto bounded = [&](int64_t least, int64_t most) {
    const auto v = r.get();
    if (v < least || v > most) r.fail();
    return r.ok() ? v : least;
  };
  PlanState s;
  s.name = r.text();
  s.kind = r.get_enum(PlanState::Kind::kSlots);
  const bool paged = s.kind == PlanState::Kind::kPaged;
  s.layers = bounded(1, kMost);
  s.page_size = bounded(paged ? 1 : 0, paged ? kMostPage : 0);
  s.window = bounded(0, paged ? int64_t{1} << 30 : 0);
  s.group = bounded(0, paged ? kMostParts : 0);
  s.parts = r.list<PlanPart>([&] {
    PlanPart part;
    part.name = r.text();
    part.heads = bounded(1, kMost);
    part.elements = bounded(1, kMost / part.heads);
    part.dtype = r.get_enum(DType::kF8E5M2);
    return part;
  });
  if (s.parts.empty() || s.parts.size() > kMostParts) r.fail();
  return s;
}

}  // namespace

int64_t rows_in_one(const PlanWeight& weight, size_t i) {
  int64_t most = 0;
  for (const std::vector<int64_t>& shape : weight.source_shapes)
    most = std::max(most, source_rows(shape, weight.row_axis));
  const int64_t own = source_rows(weight.source_shapes[i], weight.row_axis);
  return own > 0 && most % own == 0 ? most / own : 0;
}

int64_t source_rows(const std::vector<int64_t>& shape, uint32_t row_axis) {
  if (shape.size() < 2) return 0;
  if (row_axis == 1) return shape.size() == 2 ? shape[1] : 0;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i] < 1 || rows > (int64_t{1} << 62) / shape[i]) return 0;
    rows *= shape[i];
  }
  return rows;
}

const PlanFunction* Plan::find_function(std::string_view name) const {
  for (const PlanFunction& f : functions)
    if (f.name == name) return &f;
  return nullptr;
}

ExprId Plan::add_expression(const Dim& dim) {
  for (size_t i = 0; i < expressions.size(); ++i)
    if (expressions[i] == dim) return static_cast<ExprId>(i);
  for (const std::string& symbol : dim.symbols()) add_symbol(symbol);
  expressions.push_back(dim);
  return static_cast<ExprId>(expressions.size() - 1);
}

uint32_t Plan::add_symbol(const std::string& name) {
  auto it = std::find(symbols.begin(), symbols.end(), name);
  if (it == symbols.end()) it = symbols.insert(it, name);
  return static_cast<uint32_t>(it - symbols.begin());
}

std::string encode_plan(const Plan& plan) {
  Writer w;
  w.raw(kMagic);
  auto text = [&](const std::string& s) { w.text(s); };
  w.list(plan.symbols, text);
  w.list(plan.expressions, [&](const Dim& d) { write_expression(w, d, plan.symbols); });
  w.list(plan.kernels, text);
  w.list(plan.weights, [&](const PlanWeight& p) { write_weight(w, p); });
  w.list(plan.states, [&](const PlanState& s) { write_state(w, s); });
  CallDifferences differences(plan.kernels.size());
  w.list(plan.functions, [&](const PlanFunction& f) {
    w.text(f.name);
    w.list(f.arguments, [&](const PlanTensor& t) { write_tensor(w, t); });
    w.list(f.results, [&](const PlanTensor& t) { write_tensor(w, t); });
    w.list(f.bodies, [&](const PlanBody& b) { write_body(w, b, differences); });
  });
  write_pieces(w, plan);
  write_preproc_scratch(w, plan);
  return w.take();
}

Result<Plan> decode_plan(std::string_view bytes, const std::string& what) {
  const std::string_view name = kMagic.substr(0, kMagicName), version = kMagic.substr(kMagicName);
  if (bytes.starts_with(name) && bytes.size() > kMagicName && bytes.substr(kMagicName, 1) != version &&
      bytes[kMagicName] >= '0' && bytes[kMagicName] <= '9')
    return Status::error(str(what, ": the library has plan format ", bytes.substr(kMagicName, 1),
                             ", this mlc_llm reads format ", version, "; compile the model again"));
  Reader r(bytes);
  Plan plan;
  if (r.take_magic(kMagic)) {
    plan.symbols = r.list<std::string>([&] { return r.text(); });
    plan.expressions = r.list<Dim>([&] { return read_expression(r, plan.symbols); });
    plan.kernels = r.list<std::string>([&] { return r.text(); });
    plan.weights = r.list<PlanWeight>([&] { return read_weight(r, plan); });
    plan.states = r.list<PlanState>([&] { return read_state(r); });
    CallDifferences differences(plan.kernels.size());
    plan.functions = r.list<PlanFunction>([&] { return read_function(r, plan, differences); });
    r.list<char>([&] { return read_piece(r, plan), '\0'; });
    r.list<char>([&] { return read_preproc_scratch(r, plan), '\0'; });
  }
  if (!r.done())
    return Status::error(what + ": the plan inside the library is damaged; compile the model again");
  return plan;
}

std::string plan_text(const Plan& plan) {
  constexpr const char* kSpaces[] = {"argument", "result", "weight", "state", "arena"};
  std::string out;
  for (const PlanFunction& f : plan.functions)
    for (const PlanBody& b : f.bodies) {
      out += "function " + f.name;
      for (const PlanGuard& g : b.guards)
        out += str(" ", plan.symbols[g.symbol], " ", g.min, "..", g.max ? std::to_string(g.max) : "");
      out += str(" arena ", plan.expressions[b.arena_bytes].text(), "\n");
      for (const PlanCall& c : b.calls) {
        out += "  " + plan.kernels[c.kernel] + "(";
        for (size_t i = 0; i < c.buffers.size(); ++i) {
          const PlanBuffer& p = c.buffers[i];
          std::string item = p.space == PlanBuffer::Space::kWeight     ? plan.weights[p.index].name
                             : p.space == PlanBuffer::Space::kArgument ? f.arguments[p.index].name
                                                                       : kSpaces[static_cast<int>(p.space)];
          out += str(i ? ", " : "", item, "+", plan.expressions[p.offset].text());
        }
        out += str(") tiles ", plan.expressions[c.tiles].text(), "\n");
      }
    }
  return out;
}

}  // namespace mlc
