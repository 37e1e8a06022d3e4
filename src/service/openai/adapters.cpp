// LoRA adapters loaded and unloaded while the server runs, in vLLM's form.
#include <algorithm>

#include "base/strings.h"
#include "service/openai/fields.h"
#include "service/openai/service.h"

namespace mlc::serve::openai {
namespace {

constexpr size_t kMostAdapterName = 128;  // bytes
constexpr const char* kLoadingIsOff =
    "adapters are loaded and unloaded over HTTP where the server was started with "
    "--allow-runtime-lora-updating";

// Answers a change of a model's adapters: `adapter` is loaded, or no longer.
ServedModel::Done adapter_reply(const std::string& adapter, const ReplyCallback& reply) {
  return [adapter, reply](const Status& status) {
    if (!status.is_ok()) return reply(error_reply(bad_field("lora_name", status.message())));
    reply({.text = json_text({{"status", "ok"}, {"id", adapter}})});
  };
}

}  // namespace

// Fields as vLLM has them; `model` says of which one where there are several.
void Service::load_adapter(const Json& body, CallId, const ReplyCallback& reply) {
  if (!limits_.lora_loading)
    return reply(error_reply({.status = 403, .message = kLoadingIsOff, .param = "", .code = ""}));
  Fields fields(body);
  std::string name, folder;
  fields.read("lora_name", name);
  fields.read("lora_path", folder);
  fields.refuse("load_inplace", false, "not built; unload the adapter first");
  fields.skip({"model"});
  if (name.empty() || name.size() > kMostAdapterName ||
      std::ranges::any_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    fields.wrong("lora_name", name.substr(0, kMostAdapterName),
                 str("a name of 1 to ", kMostAdapterName, " printable bytes"));
  if (folder.empty()) fields.wrong("lora_path", "", "the folder of a PEFT adapter on this machine");
  Named named;
  ApiError error = fields.finish();
  if (!error.is_error()) error = find_model(body, named);
  if (!error.is_error() && models_.size() > 1)
    for (auto& served : models_)  // its name alone must be enough
      if (served->id() == name || (served.get() != named.model && served->has_adapter(name)))
        error =
            bad_field("lora_name", str("lora_name: '", name, "' is a name of '", served->id(), "' already"));
  if (error.is_error()) return reply(error_reply(error));
  named.model->load_adapter(name, folder, adapter_reply(named.model->name_of(name), reply));
}

void Service::unload_adapter(const Json& body, CallId, const ReplyCallback& reply) {
  if (!limits_.lora_loading)
    return reply(error_reply({.status = 403, .message = kLoadingIsOff, .param = "", .code = ""}));
  Fields fields(body);
  std::string name;
  fields.read("lora_name", name);
  fields.skip({"model", "lora_int_id"});
  if (ApiError error = fields.finish(); error.is_error()) return reply(error_reply(error));
  std::string known;
  for (auto& served : models_) {
    if (served->has_adapter(name))
      return served->unload_adapter(name, adapter_reply(served->name_of(name), reply));
    const bool several = models_.size() > 1;
    known += str(known.empty() ? "" : "; ", several ? "of '" + served->id() + "' " : "",
                 served->listed_adapters());
  }
  ApiError missing = no_model(str("lora_name: no adapter '", shown_model(name), "' is loaded; ", known));
  missing.param = "lora_name";
  reply(error_reply(missing));
}

}  // namespace mlc::serve::openai
