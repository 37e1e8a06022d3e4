// From a path to weights, config and tokenizer.
#include "weights/verify_model.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "weights/config_2023.h"
#include "weights/quantize/calibration.h"

namespace mlc::weights {
namespace {

// The folder of the index of a converted model, or "" where `path` is no such folder.
std::string converted_folder(const std::string& path) {
  if (!is_directory(path)) return "";
  auto index = find_shard_index(path);
  if (!index.is_ok()) return "";
  const size_t slash = index->rfind('/');
  return slash == std::string::npos ? "." : index->substr(0, slash);
}

}  // namespace

Result<std::unique_ptr<OpenedModel>> OpenedModel::of_source(const ModelSource& source, int threads) {
  std::unique_ptr<OpenedModel> model(new OpenedModel(source.config_path));
  model->config_ = source.config;
  const QuantScheme exact = *find_quant_scheme("q0f32");
  const frontend::BuiltModel built = frontend::build_model(source.config, exact);
  ASSIGN_OR_RETURN(Plan plan,
                   make_plan(built.parameters, built.unused_sources, exact, source.checkpoint.get(),
                             source.checkpoint->files()[0], {.threads = threads, .ignore_extra = true}));
  model->plan_ = std::make_unique<Plan>(std::move(plan));
  model->weights_ = std::make_unique<SourceWeights>(*model->plan_, *source.checkpoint, threads);
  model->tokenizer_ = source_tokenizer(source);
  return model;
}

Result<std::unique_ptr<OpenedModel>> OpenedModel::of_folder(const std::string& folder,
                                                            const frontend::ModelConfig& config,
                                                            const QuantScheme& scheme, int threads) {
  std::unique_ptr<OpenedModel> model(new OpenedModel(folder));
  model->config_ = config;
  const frontend::BuiltModel built = frontend::build_model(config, scheme);
  ASSIGN_OR_RETURN(model->weights_, FolderWeights::open(folder, built.parameters, scheme, threads));
  model->tokenizer_ = Tokenizer::load(folder);
  return model;
}

Result<std::unique_ptr<OpenedModel>> OpenedModel::open(const std::string& path, int threads) {
  const std::string folder = converted_folder(path);
  if (folder.empty()) {
    ASSIGN_OR_RETURN(ModelSource opened, open_source({.config = path}));
    auto source = std::make_unique<ModelSource>(std::move(opened));
    ASSIGN_OR_RETURN(auto model, of_source(*source, threads));
    model->name_ = path;
    model->source_ = std::move(source);
    return model;
  }
  const std::string file = path_join(folder, "mlc-chat-config.json");
  if (!file_exists(file))
    return Status::error(str(folder,
                             ": holds converted weights and no mlc-chat-config.json; write it with "
                             "`mlc_llm gen_config`"));
  ASSIGN_OR_RETURN(const Json json, read_chat_config(file));
  ASSIGN_OR_RETURN(const frontend::ModelConfig config, frontend::parse_mlc_config(json, "auto", file));
  ASSIGN_OR_RETURN(const std::string name, get_string(json, "quantization", file));
  auto scheme = find_quant_scheme(name);
  if (!scheme.is_ok()) return Status::error(str(file, ": ", scheme.status().message()));
  ASSIGN_OR_RETURN(auto model, of_folder(folder, config, *scheme, threads));
  model->name_ = path;
  return model;
}

Result<std::vector<int32_t>> common_tokens(const OpenedModel& a, const OpenedModel& b,
                                           std::string_view text) {
  if (!a.tokenizer().is_ok() && !b.tokenizer().is_ok())
    return Status::error(str(a.name(), ": comparing needs a tokenizer: ", a.tokenizer().status().message()));
  const OpenedModel& first = a.tokenizer().is_ok() ? a : b;
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, (*first.tokenizer())->encode(text));
  if (!a.tokenizer().is_ok() || !b.tokenizer().is_ok()) return tokens;
  ASSIGN_OR_RETURN(const std::vector<int32_t> others, (*b.tokenizer())->encode(text));
  if (tokens == others) return tokens;
  const auto [mine, other] = std::ranges::mismatch(tokens, others);
  auto shown = [](const std::vector<int32_t>& list, auto at) {
    return at == list.end() ? std::string("the end") : std::to_string(*at);
  };
  return Status::error(str(b.name(), ": its tokenizer makes other tokens of the text than that of ", a.name(),
                           " (token ", mine - tokens.begin(), " is ", shown(others, other), ", expected ",
                           shown(tokens, mine), "); give two models of one tokenizer"));
}

}  // namespace mlc::weights
