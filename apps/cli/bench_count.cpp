// Counting instead of measuring.
#include "apps/cli/bench_count.h"

#include <cstdio>

#include "apps/cli/knobs.h"
#include "base/strings.h"
#include "compile.h"
#include "simulate/count_model.h"

namespace mlc::cli {

Status print_counts(const std::string& model, const std::string& device, int64_t rows) {
  if (device == "cpu")
    return Status::error("--count: found --device cpu, expected a GPU such as vulkan or opencl-adreno");
  ASSIGN_OR_RETURN(std::vector<Target> targets,
                   targets_for_device(device == "auto" ? "vulkan-nvidia" : device));
  std::string path;
  ASSIGN_OR_RETURN(Json config, read_mlc_config(model, path));
  CompileOptions options;
  options.targets = {targets.front()};
  options.stop_after = "kernel";
  ASSIGN_OR_RETURN(CompiledModel compiled, compile_model(config, path, options));
  const std::string table = count_table(count_model(compiled.first_variant, rows, rows));
  std::printf("%s for %s\n%s", model.c_str(), targets.front().name.c_str(), table.c_str());
  return Status::ok();
}

}  // namespace mlc::cli
