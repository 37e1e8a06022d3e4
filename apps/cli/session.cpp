// Opens sessions.
#include "apps/cli/session.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <future>

#include "apps/cli/commands.h"
#include "apps/cli/knobs.h"
#include "apps/cli/prepare.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/library.h"
#include "formats/quant/scheme.h"
#include "frontend/model.h"

namespace mlc::cli {
namespace {

constexpr int kDefaultOpt = 2;

// How the user wants the config and the library.
struct Wanted {
  std::vector<ConfigChange> changes;
  std::optional<int> opt;
  std::string opt_origin;
};

// What cannot be changed in a library that is compiled already.
Status check_baked(const Wanted& wanted, const runtime::Module& module) {
  const Json& manifest = module.manifest();
  const std::string advice = "; compile the model again with it, or leave out --model-lib";
  for (const ConfigChange& change : wanted.changes) {
    const bool chunk = change.key == "prefill_chunk_size";
    if (!chunk && change.key != "attention_sink_size" && change.key != "sliding_window_size") continue;
    int64_t compiled = find_int(manifest, change.key).value_or(chunk ? 0 : -1);
    if (chunk ? change.value > compiled : change.value != compiled)
      return Status::error(str(change.origin, "=", change.value, ", ", module.path(), " was compiled ",
                               chunk ? "for at most " : "with ", compiled, advice));
  }
  const Json* library = find(manifest, "library");
  std::string compiled = library ? find_string(*library, "opt").value_or("?") : "?";
  if (wanted.opt && str("O", *wanted.opt) != compiled)
    return Status::error(str(wanted.opt_origin, "=O", *wanted.opt, ", ", module.path(), " was compiled with ",
                             compiled, advice));
  return Status::ok();
}

runtime::ModelLimits limits_of(const Json& config, const Wanted& wanted, const SessionFlags& flags) {
  runtime::ModelLimits limits{
      .max_sequences = flags.sequences,
      .context_tokens = std::max<int64_t>(find_int(config, "context_window_size").value_or(0), 0),
      .total_tokens = flags.total_tokens,
      .prefill_chunk = 0,
      .shuffle_pages = {},
      .deterministic = flags.deterministic};
  bool chunk = std::any_of(wanted.changes.begin(), wanted.changes.end(),
                           [](const ConfigChange& change) { return change.key == "prefill_chunk_size"; });
  if (chunk) limits.prefill_chunk = std::max<int64_t>(find_int(config, "prefill_chunk_size").value_or(0), 0);
  return limits;
}

// A compiled library says what it is for; without one `auto` looks at the machine.
Result<std::string> device_for(const SessionFlags& flags) {
  if (flags.device != "auto" || flags.model_lib.empty() || flags.model_lib.starts_with("system://"))
    return flags.device;
  ASSIGN_OR_RETURN(LibraryDescription description, describe_library(flags.model_lib));
  const Json* library = find(description.manifest, "library");
  return library ? find_string(*library, "kind").value_or("cpu") : "cpu";
}

Result<std::shared_ptr<runtime::Device>> device_of(const SessionFlags& flags) {
  const int threads = flags.checkpoint.threads;
  if (int cores = usable_threads(); threads > cores)
    return Status::error(str("--threads: ", threads, " is more than the ", cores,
                             " cores this process may use; leave the flag out to use them all"));
  if (flags.shared_device) return flags.shared_device;
  ASSIGN_OR_RETURN(std::string device, device_for(flags));
  ASSIGN_OR_RETURN(auto opened,
                   runtime::open_device(device, {.threads = threads, .index = 0, .notice = print_note}));
  return std::shared_ptr<runtime::Device>(std::move(opened));
}

// What says how a checkpoint becomes a folder says nothing about one that is converted already, unless its
// config takes it.
Status apply_to_converted(const CheckpointFlags& flags, Json& config, const std::string& path) {
  const char* given = flags.source.source != "auto"          ? "--source"
                      : flags.source.source_format != "auto" ? "--source-format"
                      : flags.quantizer                      ? "--quantizer"
                      : flags.ignore_extra                   ? "--ignore-extra"
                                                             : nullptr;
  if (given)
    return Status::error(
        str(given, ": ", path,
            " says that this model is converted already; leave the flag out, or name the checkpoint"));
  std::string scheme = find_string(config, "quantization").value_or("");
  if (!flags.quantization.empty()) RETURN_IF_ERROR(find_quant_scheme(flags.quantization).status());
  if (!flags.quantization.empty() && flags.quantization != scheme)
    return Status::error(str("--quantization: found ", flags.quantization, ", ", path,
                             " says that this model is converted to ", scheme,
                             " already; leave the flag out, or name the checkpoint"));
  if (flags.source.model_type != "auto") config["model_type"] = flags.source.model_type;
  if (flags.conv_template.empty()) return Status::ok();
  auto preset =
      find_preset(flags.conv_template, static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1)));
  if (!preset.is_ok()) return Status::error("--conv-template: " + preset.status().message());
  config["conv_template"] = preset->to_json();
  return Status::ok();
}

Result<Wanted> what_is_wanted(const SessionFlags& flags) {
  std::vector<std::string> keys = override_keys();
  keys.push_back("opt");
  std::sort(keys.begin(), keys.end());
  ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(flags.overrides, "--overrides", keys));
  Wanted wanted{.changes = {}, .opt = {}, .opt_origin = "--opt"};
  std::string opt = flags.opt;
  if (auto it = knobs.find("opt"); it != knobs.end()) {
    if (!opt.empty() && opt != it->second)
      return Status::error(
          str("--opt is ", opt, ", and --overrides has opt=", it->second, "; leave one of them out"));
    if (opt.empty()) wanted.opt_origin = "--overrides: opt";
    opt = it->second;
  }
  if (!opt.empty()) {
    ASSIGN_OR_RETURN(wanted.opt, opt_level(opt));
  }
  ASSIGN_OR_RETURN(wanted.changes, config_changes(flags.checkpoint.config, knobs));
  return wanted;
}

// What a library must hold for the adapters. Reads each, so that a mistake is told before the long work.
Result<LoraRoom> lora_room(const LoraFlags& flags) {
  LoraRoom room{.adapters = std::max(flags.slots, static_cast<int64_t>(flags.adapters.size())),
                .rank = flags.rank};
  for (const LoraFlags::Adapter& given : flags.adapters) {
    auto adapter = read_lora_adapter(given.folder);
    if (!adapter.is_ok()) return Status::error("--lora-adapter: " + adapter.status().message());
    room.rank = std::max(room.rank, adapter->rank());
  }
  return room;
}

using SharedTokenizer = std::shared_future<Result<std::shared_ptr<const Tokenizer>>>;

// Library and weights; the tokenizer, which takes as long as the weights of a small model, is read beside
// them.
Status load(Session& s, const SessionFlags& flags, const Wanted& wanted, const SharedTokenizer& tokenizer) {
  std::string library = flags.model_lib;
  ASSIGN_OR_RETURN(const LoraRoom room, lora_room(flags.lora));
  if (library.empty()) {
    ASSIGN_OR_RETURN(library, prepare_library(s.name, s.config, *s.device, wanted.opt.value_or(kDefaultOpt),
                                              room, [&] { return tokenizer.get().status(); }));
  }
  auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(s.module, runtime::Module::load(*s.device, library));
  if (!flags.model_lib.empty()) RETURN_IF_ERROR(check_baked(wanted, *s.module));
  runtime::ModelLimits limits = limits_of(s.config, wanted, flags);
  if (flags.infer_limits) {
    ASSIGN_OR_RETURN(limits, flags.infer_limits(*s.module, *s.device, limits));
  }
  int64_t bytes = 0;
  for (const PlanWeight& w : s.module->plan().weights) bytes += w.bytes;
  {
    Progress progress("loading", bytes);
    ASSIGN_OR_RETURN(s.model, runtime::Model::load(*s.device, s.module, s.folder, limits,
                                                   [&](int64_t loaded) { progress.add(loaded); }));
  }
  ASSIGN_OR_RETURN(s.tokenizer, Result(tokenizer.get()));
  s.end_tokens = end_tokens(s.config, *s.chat_template, *s.tokenizer);
  s.engine = std::make_unique<serve::Engine>(*s.model, s.tokenizer);
  for (const LoraFlags::Adapter& adapter : flags.lora.adapters)
    if (Status loaded = s.engine->load_adapter(adapter.name, adapter.folder); !loaded.is_ok())
      return Status::error("--lora-adapter: " + loaded.message());
  if (!flags.lora.adapters.empty()) s.adapter = flags.lora.adapters.front().name;
  s.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return Status::ok();
}

Status open_folder(Session& s, const SessionFlags& flags, const Wanted& wanted,
                   const PreparedFolder& folder) {
  std::string path;
  ASSIGN_OR_RETURN(s.config, read_mlc_config(s.folder, path));
  s.name = folder.converted ? flags.checkpoint.source.config : path;
  if (!folder.converted) RETURN_IF_ERROR(apply_to_converted(flags.checkpoint, s.config, path));
  ASSIGN_OR_RETURN(frontend::ModelConfig model_config, change_config(s.config, wanted.changes, s.name));
  if (frontend::is_draft_head(model_config))
    return Status::error(str(s.name, " is a draft head of type ", model_config.model_type,
                             " and has no text of its own; serve the model that it was made for, with "
                             "--speculative-mode medusa --additional-models ",
                             s.name));
  SharedTokenizer tokenizer =
      std::async(std::launch::async, [&s] { return Tokenizer::load(s.folder); }).share();
  ASSIGN_OR_RETURN(ChatTemplate chat_template, open_template(s.config, s.name));
  s.chat_template = std::make_unique<ChatTemplate>(std::move(chat_template));
  RETURN_IF_ERROR(load(s, flags, wanted, tokenizer));
  for (const std::string& note : model_config.notes) print_note(note);
  return Status::ok();
}

}  // namespace

Result<ChatTemplate> open_template(const Json& config, const std::string& what) {
  const Json* object = find(config, "conv_template");
  if (!object || !(object->is_object() || object->is_string()))
    return Status::error(what + ": no conv_template; name one with --conv-template");
  auto bos = static_cast<int32_t>(find_int(config, "bos_token_id").value_or(1));
  ASSIGN_OR_RETURN(Conversation conversation, object->is_object()
                                                  ? Conversation::from_json(*object, what)
                                                  : find_preset_2023(object->get<std::string>(), bos));
  return ChatTemplate::create(std::move(conversation), what);
}

void add_session_flags(CLI::App& command, SessionFlags& flags) {
  CheckpointFlags& checkpoint = flags.checkpoint;
  command
      .add_option("MODEL", checkpoint.source.config,
                  "a converted folder, a Hugging Face folder, a GGUF file, or HF://user/repo")
      ->required();
  command.add_option("--device", flags.device,
                     "auto, cpu, opencl, vulkan, or one of several: opencl:1; see mlc_llm devices");
  command.add_option("--model-lib", flags.model_lib, "a compiled library; absent: compiled and cached");
  command.add_option("--overrides", flags.overrides,
                     "context_window_size=2048;prefill_chunk_size=512;opt=O2");
  command.add_option("--quantization", checkpoint.quantization, "when MODEL must be converted first");
  command.add_option("--quantizer", checkpoint.quantizer,
                     "then: mlc, good or best; absent: good up to 3B parameters, mlc above");
  add_model_type_flag(command, checkpoint.source.model_type);
  add_conv_template_flag(command, checkpoint.conv_template);
  add_weight_flags(command, checkpoint);
  add_config_flags(command, checkpoint.config);
  add_opt_flag(command, flags.opt);
  command.add_flag("--deterministic", flags.deterministic,
                   "one kernel for any number of rows: a text's bits do not depend on chunks or other texts; "
                   "slower");
  command.add_option("--threads", checkpoint.threads, "CPU threads; absent: all usable cores")
      ->check(whole_number(1, 512));
}

void add_lora_flag(CLI::App& command, LoraFlags& flags) {
  command.add_option_function<std::string>(
      "--lora-adapter", [&flags](const std::string& folder) { flags.adapters = {{"adapter", folder}}; },
      "Folder of a PEFT adapter to answer with; a --model-lib must have been compiled for one");
}

serve::GenerationConfig Session::generation_defaults() const {
  serve::GenerationConfig g = serve::GenerationConfig::from_mlc_config(config);
  g.stop_strings = chat_template->conversation().stop_str;
  g.stop_token_ids = ids_of(end_tokens);
  return g;
}

Result<std::unique_ptr<HeadSession>> open_heads(const SessionFlags& flags, int64_t max_rows) {
  auto s = std::make_unique<HeadSession>();
  ASSIGN_OR_RETURN(Wanted wanted, what_is_wanted(flags));
  wanted.changes.clear();
  if (flags.model_lib.empty()) RETURN_IF_ERROR(check_jit_policy());
  ASSIGN_OR_RETURN(s->device, device_of(flags));
  ASSIGN_OR_RETURN(const PreparedFolder folder, prepare_folder(flags.checkpoint));
  std::string path;
  ASSIGN_OR_RETURN(const Json config, read_mlc_config(folder.path, path));
  const std::string& name = folder.converted ? flags.checkpoint.source.config : path;
  ASSIGN_OR_RETURN(const frontend::ModelConfig model, frontend::parse_mlc_config(config, "auto", name));
  if (!frontend::is_draft_head(model))
    return Status::error(
        str(name, " is of a model of type ", model.model_type, ", expected a draft head of type medusa"));
  std::string library = flags.model_lib;
  if (library.empty()) {
    ASSIGN_OR_RETURN(library, prepare_library(name, config, *s->device, wanted.opt.value_or(kDefaultOpt), {},
                                              [] { return Status::ok(); }));
  }
  ASSIGN_OR_RETURN(s->module, runtime::Module::load(*s->device, library));
  if (!flags.model_lib.empty()) RETURN_IF_ERROR(check_baked(wanted, *s->module));
  if (max_rows == 0) max_rows = find_int(s->module->manifest(), "max_batch_size").value_or(1);
  ASSIGN_OR_RETURN(s->heads, runtime::HeadModel::load(*s->device, s->module, folder.path, max_rows));
  return s;
}

Result<std::unique_ptr<Session>> open_session(const SessionFlags& flags) {
  auto s = std::make_unique<Session>();
  const CheckpointFlags& checkpoint = flags.checkpoint;
  ASSIGN_OR_RETURN(Wanted wanted, what_is_wanted(flags));
  if (flags.model_lib.empty()) RETURN_IF_ERROR(check_jit_policy());
  ASSIGN_OR_RETURN(s->device, device_of(flags));
  ASSIGN_OR_RETURN(PreparedFolder folder, prepare_folder(checkpoint));
  s->folder = folder.path;
  Status opened = open_folder(*s, flags, wanted, folder);
  if (opened.is_ok()) return s;
  const std::string cached = printable(s->folder);
  if (!folder.converted || opened.message().find(cached) == std::string::npos) return opened;
  return Status::error(str(opened.message(), "; ", cached, " is a conversion of ", checkpoint.source.config,
                           ": remove it to convert again"));
}

}  // namespace mlc::cli
