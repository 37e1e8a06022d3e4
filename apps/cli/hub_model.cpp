// Downloads what a command is given by name.
#include "apps/cli/hub_model.h"

#include "apps/cli/commands.h"
#include "base/env.h"
#include "base/file.h"
#include "hub/download.h"
#include "hub/model_name.h"

namespace mlc::cli {

Result<std::string> local_model(const std::string& model, hub::Need need) {
  return local_model(model, need, "");
}

Result<std::string> local_model(const std::string& model, hub::Need need, const std::string& folder) {
  if (!hub::is_model_name(model)) return model;
  ASSIGN_OR_RETURN(const hub::ModelName name, hub::parse_model_name(model, env::hub_endpoint()));
  const std::string own = path_join(path_join(env::home(), "model_weights"), name.cache);
  clean_up_on_interrupt("\ninterrupted; what has arrived is kept, run the same command again to go on\n");
  auto path = hub::download_model(
      name, folder.empty() ? own : folder,
      {.need = need, .policy = env::download_cache_policy(), .token = env::hub_token(), .say = print_line});
  end_clean_up_on_interrupt();
  return path;
}

}  // namespace mlc::cli
