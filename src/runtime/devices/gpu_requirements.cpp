// Compares a variant's header with a GPU.
#include "runtime/devices/gpu_requirements.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::runtime {

std::string missing_gpu_requirement(const GpuAbilities& abilities, const Json& header) {
  std::string kind = find_string(header, "kind").value_or("?");
  if (kind != abilities.kind) return "a device of kind " + kind;
  const std::vector<std::string>& have = abilities.features;
  if (const Json* list = find(header, "requires"); list && list->is_array())
    for (const Json& feature : *list)
      if (feature.is_string() &&
          std::find(have.begin(), have.end(), feature.get<std::string>()) == have.end())
        return "a GPU with " + feature.get<std::string>();
  const Json* limits = find(header, "limits");
  if (!limits) return "";
  int64_t threads = find_int(*limits, "group_size").value_or(0),
          bytes = find_int(*limits, "shared_bytes").value_or(0);
  if (threads > abilities.group_size)
    return str("groups of ", threads, " threads, this GPU has ", abilities.group_size);
  if (bytes > abilities.shared_bytes)
    return str(bytes, " bytes of memory that a group shares, this GPU has ", abilities.shared_bytes);
  return "";
}

}  // namespace mlc::runtime
