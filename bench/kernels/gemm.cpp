// Speed of the int8 matmul kernels on one core: every CPU level this machine has, compiled as `mlc_llm
// compile` does, beside that level's register-only peak, measured in turns in the same run. CPU time of the
// thread: the median of all samples and the ninth decile, which a busy machine disturbs less.
//   bench_kernels [--rounds N] [--target NAME] [--rows M,M,...] [--shape NxK] [--csv FILE]
#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/target/target.h"
#include "base/temp_folder.h"
#include "formats/library.h"
#include "graph/builder.h"
#include "graph/passes/choose_layouts.h"
#include "kernel/lower/cpu/weight_layouts.h"
#include "kernel/lower/lower.h"
#include "kernel/pipeline.h"
#include "kernel/shared_layout.h"
#include "kernels/peaks.h"
#include "lang/llvm/emit.h"
#include "link/link.h"

namespace mlc::bench {
namespace {

struct Shape {
  int64_t n, k;
};

struct Options {
  int rounds = 15;
  std::string target;
  std::vector<Shape> shapes = {{2048, 2048}, {5632, 2048}, {2048, 5632}, {576, 576}, {1536, 576}};
  std::vector<int64_t> rows = {1, 2, 4, 8, 16, 512};
  std::string csv;
};

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

// A measured thing: `work` units done by one call of run.
struct Item {
  std::string name;
  double work = 0;
  std::function<void()> run;
  int64_t calls = 1;  // in a sample of about 8 ms
  std::vector<double> rates;

  void calibrate() {
    double begin = cpu_seconds();
    run();
    run();
    double once = (cpu_seconds() - begin) / 2;
    calls = std::max<int64_t>(1, static_cast<int64_t>(0.008 / std::max(once, 1e-7)));
  }
  void sample() {
    double begin = cpu_seconds();
    for (int64_t i = 0; i < calls; ++i) run();
    rates.push_back(work * static_cast<double>(calls) / (cpu_seconds() - begin));
  }
};

struct MatmulKernel {
  kernel::Function function;
  int64_t input_bytes = 0, weight_bytes = 0;
};

// The kernel of the last node of a function: x f32[rows, k] -> quantize_q8 or, for many rows on a matrix
// unit, to_tiles -> matmul with a q4f16_1 weight [n, k].
MatmulKernel matmul_kernel(const Shape& shape, int64_t rows, const Target& target) {
  graph::Module module;
  module.functions.push_back(std::make_unique<graph::Function>());
  graph::Function& f = *module.functions[0];
  graph::GraphBuilder g(module, f);
  WeightFormat format{WeightFormat::Kind::kGroup, DType::kF16, 4, 32, false};
  graph::Value* weight =
      g.parameter("w", {graph::TensorType::Kind::kGroup, format, "packed", {shape.n, shape.k}});
  graph::Value* x =
      f.add_argument("x", graph::TensorType::plain(DType::kF32, {Dim::symbol("rows"), shape.k}));
  graph::Value* input = g.op(rows > 16 && target.matrix_unit.rows ? "to_tiles" : "quantize_q8", {x})[0];
  g.matmul(input, weight);
  graph::choose_layouts(module, target);
  kernel::LowerOptions options{.target = &target};
  if (rows <= 16) options.min_rows = rows == 1 ? 1 : 2, options.max_rows = rows == 1 ? 1 : 16;
  kernel::Function k = kernel::run_passes(kernel::lower_node(*f.nodes.back(), module, options).function,
                                          {.target = &target, .dump = {}});
  k.name = str("k", shape.n, "x", shape.k, "x", rows == 1 ? 1 : rows <= 16 ? 2 : 3);
  return {std::move(k), *input->type.bytes().evaluate({{"rows", rows}}), kernel::layout_bytes(weight->type)};
}

// Aligned memory full of bytes 0x21: the code 33 or 1 and 2, the f16 0.01, the f32 5e-19. No product is
// subnormal, which would measure something else.
struct Memory {
  explicit Memory(int64_t bytes) {
    auto size = static_cast<size_t>((bytes + 4096 + 63) / 64 * 64);
    data.reset(static_cast<uint8_t*>(std::aligned_alloc(64, size)));
    std::memset(data.get(), 0x21, size);
  }
  struct Free {
    void operator()(uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint8_t[], Free> data;
};

// All kernels of one target in a loaded library.
class Library {
 public:
  Library(const std::vector<kernel::Function>& kernels, const Target& target) {
    link::VariantCode variant;
    for (const kernel::Function& k : kernels) {
      variant.objects.push_back(lang::emit_object(k, target, {}).object);
      variant.kernel_symbols.push_back(k.name);
    }
    Result<std::string> bytes = link::link_library({.triple = target.triple,
                                                    .soname = "kernels.so",
                                                    .manifest = "{}",
                                                    .variants = {variant},
                                                    .symbol_prefix = {}});
    internal_check(bytes.is_ok(), "bench: the library does not link");
    Result<TempFolder> folder = TempFolder::create();
    internal_check(folder.is_ok(), "bench: no temporary folder");
    std::string path = folder->file("kernels.so");
    internal_check(write_file(path, *bytes).is_ok(), "bench: cannot write the library");
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    internal_check(handle != nullptr, "bench: cannot load the library");
    library_ = static_cast<const MlcModelLibrary*>(dlsym(handle, kLibrarySymbol));
  }
  CpuKernel kernel(size_t i) const {
    return reinterpret_cast<CpuKernel>(const_cast<void*>(library_->variants[0].kernels[i]));
  }

 private:
  const MlcModelLibrary* library_ = nullptr;
};

// A call of a kernel with memory of its own.
std::function<void()> make_call(CpuKernel entry, const kernel::Function& f, const Shape& shape, int64_t rows,
                                int64_t input_bytes, int64_t weight_bytes) {
  struct Call {
    Memory weight, x, out, scratch;
  };
  auto call =
      std::make_shared<Call>(Call{Memory(weight_bytes), Memory(input_bytes), Memory(rows * shape.n * 4),
                                  Memory(kernel::shared_layout(f).bytes)});
  std::vector<int64_t> dims(f.dims.size(), rows);
  int64_t tiles = *f.tiles.evaluate({{"rows", rows}});
  return [=] {
    void* buffers[] = {call->x.data.get(), call->weight.data.get(), call->out.data.get()};
    entry(buffers, dims.data(), 0, tiles, call->scratch.data.get());
  };
}

void measure(const Target& target, const Options& options) {
  std::vector<kernel::Function> kernels;
  std::vector<Item> items;
  const PeakLoop* peak = peak_loop(target);
  constexpr int64_t kLoop = 100'000;
  if (peak)
    items.push_back(
        {peak->name, static_cast<double>(peak->macs_per_iteration * kLoop), [=] { peak->run(kLoop); }});
  struct Case {
    Shape shape;
    int64_t rows, input_bytes, weight_bytes;
    size_t kernel;
  };
  std::vector<Case> cases;
  for (const Shape& shape : options.shapes)
    for (int64_t rows : options.rows) {
      MatmulKernel made = matmul_kernel(shape, rows, target);
      auto same = std::find_if(kernels.begin(), kernels.end(),
                               [&](const auto& k) { return k.name == made.function.name; });
      cases.push_back(
          {shape, rows, made.input_bytes, made.weight_bytes, static_cast<size_t>(same - kernels.begin())});
      if (same == kernels.end()) kernels.push_back(std::move(made.function));
    }
  Library library(kernels, target);
  for (const Case& c : cases)
    items.push_back({str("M ", c.rows, " N ", c.shape.n, " K ", c.shape.k),
                     static_cast<double>(c.rows * c.shape.n * c.shape.k),
                     make_call(library.kernel(c.kernel), kernels[c.kernel], c.shape, c.rows, c.input_bytes,
                               c.weight_bytes)});
  for (Item& item : items) item.calibrate();
  for (int round = 0; round < options.rounds; ++round)
    for (Item& item : items) item.sample();
  std::FILE* csv = options.csv.empty() ? nullptr : std::fopen(options.csv.c_str(), "a");
  for (const Item& item : items) {
    std::printf("%-18s %-22s", target.name.c_str(), item.name.c_str());
    if (csv) std::fprintf(csv, "%s,%s", target.name.c_str(), item.name.c_str());
    for (double q : {0.5, 0.9}) {
      double rate = quantile(item.rates, q), top = peak ? quantile(items[0].rates, q) : 0;
      double percent = peak ? 100 * rate / top : 0;
      std::printf("   %7.1f GMAC/s %5.1f %%", rate / 1e9, percent);
      if (csv) std::fprintf(csv, ",%.1f,%.1f", rate / 1e9, percent);
    }
    std::printf("\n");
    if (csv) std::fprintf(csv, "\n");
  }
  if (csv) std::fclose(csv);
}

Options parse(int count, char** arguments) {
  Options o;
  for (int i = 1; i + 1 < count; i += 2) {
    std::string flag = arguments[i], value = arguments[i + 1];
    if (flag == "--rounds")
      o.rounds = std::atoi(value.c_str());
    else if (flag == "--target")
      o.target = value;
    else if (flag == "--csv")
      o.csv = value;
    else if (flag == "--rows") {
      o.rows.clear();
      for (const std::string& part : split(value, ',')) o.rows.push_back(std::atoll(part.c_str()));
    } else if (flag == "--shape") {
      std::vector<std::string> parts = split(value, 'x');
      internal_check(parts.size() == 2, "--shape wants NxK");
      o.shapes = {{std::atoll(parts[0].c_str()), std::atoll(parts[1].c_str())}};
    } else {
      std::fprintf(stderr, "bench_kernels: unknown flag %s\n", flag.c_str());
      std::exit(1);
    }
  }
  return o;
}

}  // namespace
}  // namespace mlc::bench

int main(int count, char** arguments) {
  mlc::bench::Options options = mlc::bench::parse(count, arguments);
  for (const mlc::Target& target :
       mlc::host_architecture() == "x86_64" ? mlc::x86_64_targets() : mlc::aarch64_targets())
    if (mlc::missing_cpu_feature(target.required).empty() &&
        (options.target.empty() || options.target == target.name))
      mlc::bench::measure(target, options);
}
