// The whole compiler, phase by phase.
#include "compile.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>

#include "base/file.h"
#include "base/strings.h"
#include "base/target/host.h"
#include "base/threads.h"
#include "base/user_error.h"
#include "formats/library.h"
#include "frontend/model.h"
#include "graph/passes/pipeline.h"
#include "graph/print.h"
#include "kernel/pipeline.h"
#include "kernel/schedule/gpu/table.h"
#include "lang/gpu_variant.h"
#include "lang/llvm/emit.h"
#include "link/code_object.h"
#include "link/link.h"
#include "plan/build_plan.h"
#include "plan/manifest.h"

namespace mlc {
namespace {

const std::vector<std::string> kPhases = {"frontend", "graph", "plan", "kernel", "lang", "link"};

// Numbered text files, "07-after-fuse_epilogues.txt"; does nothing without a directory.
class Dump {
 public:
  explicit Dump(std::string directory) : directory_(std::move(directory)) {}
  bool wanted() const { return !directory_.empty(); }
  void write(const std::string& name, const std::string& text) {
    if (!wanted()) return;
    std::string number = std::to_string(next_++);
    std::string path = path_join(
        directory_, str(std::string(2 - std::min<size_t>(2, number.size()), '0'), number, "-", name));
    if (Status s = write_file(path, text); !s.is_ok()) throw UserError("--debug-dump: " + s.message());
  }

 private:
  std::string directory_;
  int next_ = 0;
};

struct Variant {
  Target target;
  std::unique_ptr<graph::Module> module;  // until it is planned
  std::vector<frontend::AdapterTarget> adapter_targets;
  BuiltPlan built;
  std::vector<lang::ObjectCode> code;  // CPUs: of each kernel
  std::vector<std::string> blobs;      // GPUs: gpu_kernel_blob of each kernel
  Json manifest;                       // of a variant for another kind of device than the first one
};

struct Compilation {
  const CompileOptions& options;
  frontend::ModelConfig config;
  QuantScheme scheme;
  Dump dump;
  CompiledModel result;
  std::vector<Variant> variants;

  // Times one phase; false when the compilation is to stop after it.
  bool phase(const std::string& name, const std::function<void()>& work) {
    auto start = std::chrono::steady_clock::now();
    work();
    result.phases.push_back(
        {name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
    return options.stop_after != name;
  }
};

// O0 computes as the checkpoint does; O2 on a CPU keeps codes where the weights are codes too
// (docs/quality.md).
DType kv_dtype(const Compilation& c, const Target& target) {
  if (c.options.opt_level == 0) return DType::kF32;
  return c.options.opt_level >= 2 && c.scheme.quantized && !target.is_gpu() ? DType::kI8 : DType::kF16;
}

// The jobs on all cores, in order on one when dumping; the first error is thrown again.
void in_parallel(const Compilation& c, const std::vector<std::function<void()>>& jobs) {
  std::vector<std::exception_ptr> errors(jobs.size());
  parallel_for(c.dump.wanted() ? 1 : usable_threads(), static_cast<int64_t>(jobs.size()), [&](int64_t i) {
    try {
      jobs[static_cast<size_t>(i)]();
    } catch (...) {
      errors[static_cast<size_t>(i)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& e : errors)
    if (e) std::rethrow_exception(e);
}

void for_each_variant(Compilation& c, const std::function<void(Variant&)>& work) {
  std::vector<std::function<void()>> jobs;
  for (Variant& v : c.variants) jobs.push_back([&] { work(v); });
  in_parallel(c, jobs);
}

void build_graph(Compilation& c, Variant& variant) {
  frontend::BuiltModel built = frontend::build_model(c.config, c.scheme,
                                                     {.kv_dtype = kv_dtype(c, variant.target),
                                                      .sampling = variant.target.is_gpu(),
                                                      .trees = c.options.tree_verify,
                                                      .adapters = c.options.lora_adapters,
                                                      .adapter_rank = c.options.lora_rank});
  variant.module = std::move(built.module);
  variant.adapter_targets = std::move(built.adapter_targets);
}

// Variants differ in their tables only, so the first one's dump tells the story.
void run_graph_passes(Compilation& c, Variant& variant) {
  graph::PassOptions passes{.opt_level = c.options.opt_level,
                            .target = &variant.target,
                            .fused_norm_bytes = kernel::fused_norm_bytes(variant.target),
                            .skip = c.options.skip_passes,
                            .dump = nullptr};
  if (c.dump.wanted() && &variant == &c.variants[0])
    passes.dump = [&](const std::string& name, const std::string& text) { c.dump.write(name, text); };
  graph::run_passes(*variant.module, passes);
}

// The scratch memory of kernels is known once they are legal.
void note_scratch(Variant& variant) {
  const std::vector<kernel::Function>& kernels = variant.built.kernels;
  for (PlanFunction& f : variant.built.plan.functions)
    for (PlanBody& b : f.bodies)
      for (PlanCall& call : b.calls) call.scratch_bytes = kernels[call.kernel].scratch_bytes;
  for (PlanWeight& w : variant.built.plan.weights)
    if (w.preproc_kernel >= 0)
      w.preproc_scratch_bytes = kernels[static_cast<size_t>(w.preproc_kernel)].scratch_bytes;
}

// Of all variants at once, so that no core waits for the longest variant; likewise below.
void run_kernel_passes(Compilation& c) {
  std::vector<std::function<void()>> jobs;
  for (Variant& v : c.variants) {
    kernel::PassOptions passes{.target = &v.target, .dump = nullptr};
    if (c.dump.wanted())
      passes.dump = [&c, &v](const std::string& name, const std::string& text) {
        c.dump.write(v.target.name + "-" + name, text);
      };
    for (kernel::Function& kernel : v.built.kernels)
      jobs.push_back([&kernel, passes] { kernel = kernel::run_passes(std::move(kernel), passes); });
  }
  in_parallel(c, jobs);
  for (Variant& v : c.variants) note_scratch(v);
}

// Of kernel symbols: unique over a library's variants, and over libraries linked into one program.
std::string symbol_prefix(const CompileOptions& options, const Target& target) {
  std::string prefix = options.system_lib_prefix + target.name + "_";
  for (char& ch : prefix)
    if (ch == '-') ch = '_';
  return prefix;
}

std::string emit_blob(const kernel::Function& kernel, const Target& target) {
  auto blob = link::finish_gpu_kernel(lang::emit_gpu_kernel(kernel, target));
  if (!blob.is_ok()) throw UserError(blob.status().message());
  return std::move(blob).value();
}

// A kernel's statements are freed where they have been emitted: by all cores.
void emit_variants(Compilation& c) {
  std::vector<std::function<void()>> jobs;
  for (Variant& v : c.variants) {
    const lang::EmitOptions emit{.keep_text = c.dump.wanted(),
                                 .symbol_prefix = symbol_prefix(c.options, v.target)};
    const bool gpu = v.target.is_gpu();
    v.code.resize(gpu ? 0 : v.built.kernels.size());
    v.blobs.resize(gpu ? v.built.kernels.size() : 0);
    for (size_t i = 0; i < v.built.kernels.size(); ++i)
      jobs.push_back([&v, i, emit, gpu] {
        kernel::Function& kernel = v.built.kernels[i];
        if (gpu)
          v.blobs[i] = emit_blob(kernel, v.target);
        else
          v.code[i] = lang::emit_object(kernel, v.target, emit);
        kernel.body.clear();
      });
  }
  in_parallel(c, jobs);
}

// The platform of the library's container: a CPU's own, or what --host says.
std::string container_triple(const CompileOptions& options) {
  const Target& target = options.targets[0];
  if (!target.is_gpu()) return target.triple;
  return options.container == "auto" ? local_host().triple : options.container;
}

Json variant_header(const Variant& v) {
  Json header = {{"name", v.target.name}, {"kind", v.target.kind}};
  if (!v.target.is_gpu()) header["architecture"] = split(v.target.triple, '-')[0];
  header["requires"] = v.target.required;
  if (v.target.is_gpu()) header["limits"] = lang::gpu_limits(v.blobs, v.target);
  if (!v.manifest.is_null()) header["manifest"] = v.manifest;
  return header;
}

void link_variants(Compilation& c) {
  link::LinkInput input;
  input.triple = container_triple(c.options);
  input.soname = c.options.soname;
  input.manifest = json_text(c.result.manifest);
  for (Variant& v : c.variants) {
    link::VariantCode variant{.header = json_text(variant_header(v)),
                              .plan = encode_plan(v.built.plan),
                              .objects = {},
                              .kernel_symbols = {},
                              .kernel_blobs = std::move(v.blobs)};
    for (size_t i = 0; i < v.code.size(); ++i) {
      variant.objects.push_back(std::move(v.code[i].object));
      variant.kernel_symbols.push_back(symbol_prefix(c.options, v.target) + v.built.kernels[i].name);
    }
    input.variants.push_back(std::move(variant));
  }
  input.symbol_prefix = c.options.system_lib_prefix;
  auto library = !c.options.static_library ? link::link_library(input)
                 : c.options.ar_archive    ? link::link_ar(input)
                                           : link::link_tar(input);
  if (!library.is_ok()) throw UserError(library.status().message());
  c.result.library = std::move(library).value();
}

void dump_variant(Compilation& c, const Variant& v) {
  c.dump.write(v.target.name + "-plan.txt", plan_text(v.built.plan));
  if (v.target.is_gpu())
    return c.dump.write(v.target.name + "-kernels.txt", lang::gpu_code_dump(v.blobs, v.target));
  std::string ir, assembly;
  for (const lang::ObjectCode& code : v.code) {
    ir += code.llvm_ir;
    assembly += code.assembly;
  }
  c.dump.write(v.target.name + "-kernels.ll", ir);
  c.dump.write(v.target.name + "-kernels.s", assembly);
}

void choose_variants(Compilation& c) {
  for (const Target& t : c.options.targets) {
    const bool rounds =
        t.matrix_unit.rows > 0 && c.options.opt_level == 0;  // factors to halves, where O0 keeps floats
    if (!rounds || c.options.targets.size() == 1) c.variants.push_back({t, nullptr, {}, {}, {}, {}, nullptr});
  }
}

// What all variants for its kind of device share, told by this one's plan.
Json manifest_of(const Compilation& c, const Json& mlc_config, const Variant& variant) {
  std::vector<std::string> names;
  for (const Variant& v : c.variants) names.push_back(v.target.name);
  return make_manifest(mlc_config, c.config, c.scheme, variant.built.plan,
                       {.kind = variant.target.kind,
                        .architecture = split(container_triple(c.options), '-')[0],
                        .opt_level = c.options.opt_level,
                        .variants = names,
                        .adapters = c.options.lora_adapters,
                        .adapter_rank = c.options.lora_rank,
                        .adapter_targets = variant.adapter_targets});
}

void describe(Compilation& c, const Json& mlc_config) {
  const Variant& first = c.variants[0];
  c.result.kernels = static_cast<int64_t>(first.built.kernels.size());
  c.result.manifest = manifest_of(c, mlc_config, first);
  for (Variant& v : c.variants)
    if (v.target.kind != first.target.kind) v.manifest = manifest_of(c, mlc_config, v);
}

void run_phases(Compilation& c, const Json& mlc_config) {
  choose_variants(c);
  bool more = c.phase("frontend", [&] {
    for_each_variant(c, [&](Variant& v) { build_graph(c, v); });
    if (c.dump.wanted()) c.dump.write("frontend.txt", graph::print(*c.variants[0].module));
  });
  more = more && c.phase("graph", [&] { for_each_variant(c, [&](Variant& v) { run_graph_passes(c, v); }); });
  more = more && c.phase("plan", [&] {
    for_each_variant(c, [&](Variant& v) {
      v.built = build_plan(*v.module, v.target);
      v.module.reset();
    });
    describe(c, mlc_config);
  });
  more = more && c.phase("kernel", [&] { run_kernel_passes(c); });
  if (c.options.stop_after == "kernel") c.result.first_variant = std::move(c.variants[0].built);
  more = more && c.phase("lang", [&] {
    emit_variants(c);
    if (!c.dump.wanted()) return;
    for (const Variant& v : c.variants) dump_variant(c, v);
  });
  if (more) c.phase("link", [&] { link_variants(c); });
}

}  // namespace

Result<int> parse_opt(const std::string& text) {
  if (text.size() == 2 && text[0] == 'O' && text[1] >= '0' && text[1] <= '3') return text[1] - '0';
  const std::vector<std::string> knobs = {
      "cublas_gemm",  "cudagraph",          "cutlass",    "cutlass_attn",
      "cutlass_norm", "faster_transformer", "flashinfer", "ipc_allreduce_strategy"};
  for (const std::string& part : split(text, ';')) {
    if (part.empty() && part.size() != text.size()) continue;  // after the last knob
    std::string key = split(part, '=')[0];
    if (part.find('=') == std::string::npos)
      return Status::error(
          str("--opt: found '", text, "', expected O0, O1, O2, O3 or knobs like flashinfer=1;cudagraph=0"));
    if (std::find(knobs.begin(), knobs.end(), key) == knobs.end())
      return Status::error(str("--opt: unknown knob '", key, "', expected one of ", join(knobs, ", "),
                               did_you_mean(key, knobs)));
    std::string value = part.substr(key.size() + 1);
    if (key != "ipc_allreduce_strategy" && value != "0" && value != "1")
      return Status::error(str("--opt: knob '", key, "' has '", value, "', expected 0 or 1"));
  }
  return 2;
}

Result<CompiledModel> compile_model(const Json& mlc_config, const std::string& what,
                                    const CompileOptions& options) {
  internal_check(!options.targets.empty(), "compile needs at least one target");
  if (!options.stop_after.empty() &&
      std::find(kPhases.begin(), kPhases.end(), options.stop_after) == kPhases.end())
    return Status::error(str("--stop-after: unknown phase '", options.stop_after, "', expected one of ",
                             join(kPhases, ", "), did_you_mean(options.stop_after, kPhases)));
  ASSIGN_OR_RETURN(frontend::ModelConfig config, frontend::parse_mlc_config(mlc_config, "auto", what));
  ASSIGN_OR_RETURN(std::string quantization, get_string(mlc_config, "quantization", what));
  ASSIGN_OR_RETURN(QuantScheme scheme, find_quant_scheme(quantization));
  if (!options.dump_directory.empty()) RETURN_IF_ERROR(make_directories(options.dump_directory));
  Compilation c{options, std::move(config), std::move(scheme), Dump(options.dump_directory), {}, {}};
  try {
    run_phases(c, mlc_config);
  } catch (const UserError& e) {
    return Status::error(e.what());
  }
  return std::move(c.result);
}

}  // namespace mlc
