// From a body to vectors.
#include "service/openai/embeddings.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>

#include "base/strings.h"
#include "chat/tokenizer/tokenizer_json.h"
#include "service/openai/fields.h"

namespace mlc::serve::openai {
namespace {

constexpr const char* kInputs = "a text, a list of texts, or token ids";

ApiError add_input(const Json& input, const std::string& path, const ServedEmbedder& model,
                   EmbeddingAsk& ask) {
  std::vector<int32_t> ids;
  if (input.is_string()) {
    if (input.get_ref<const std::string&>().empty())
      return wrong_value(path, input, "a text that is not empty");
    auto encoded = model.tokenizer().encode_with_special(input.get_ref<const std::string&>());
    if (!encoded.is_ok()) return bad_field(path, str(path, ": ", encoded.status().message()));
    ids = std::move(*encoded);
  } else if (input.is_array()) {
    if (ApiError error = read_token_ids(input, path, ids); error.is_error()) return error;
  } else {
    return wrong_value(path, input, kInputs);
  }
  if (Status status = model.engine().check(ids); !status.is_ok()) {
    ApiError error = bad_field(path, str(path, ": ", status.message()));
    if (static_cast<int64_t>(ids.size()) > model.engine().most_tokens())
      error.code = "context_length_exceeded";
    return error;
  }
  ask.inputs.push_back(std::move(ids));
  return {};
}

// The float's shortest decimal text, as a number that prints so.
double shortest(float value) {
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, value);
  double result = value;
  std::from_chars(text, written.ptr, result);
  return result;
}

}  // namespace

ServedEmbedder::ServedEmbedder(std::string id, runtime::Model& model,
                               std::shared_ptr<const Tokenizer> tokenizer, EmbeddingForm form)
    : id_(std::move(id)),
      created_(std::time(nullptr)),
      tokenizer_(std::move(tokenizer)),
      engine_(model, form) {}

ApiError parse_embeddings(const Json& object, const ServedEmbedder& model, const ApiLimits& limits,
                          EmbeddingAsk& ask) {
  Fields fields(object);
  std::string format = "float";
  fields.read("encoding_format", format);
  if (format != "float" && format != "base64")
    fields.wrong("encoding_format", format, "\"float\" or \"base64\"");
  ask.base64 = format == "base64";
  fields.read("dimensions", ask.dimensions, 1, model.engine().hidden_size());
  fields.skip({"model", "user", "request_id"});
  const Json* input = fields.get("input");
  if (ApiError error = fields.finish(&ask.unknown); error.is_error()) return error;
  if (!input || (input->is_array() && input->empty()))
    return wrong_value("input", input ? Json("an empty list") : Json(nullptr), kInputs);
  const bool several = input->is_array() && !(*input)[0].is_number();
  if (!several) return add_input(*input, "input", model, ask);
  if (static_cast<int64_t>(input->size()) > limits.embedding_inputs)
    return bad_field(
        "input", str("input: found ", input->size(), " inputs, expected at most ", limits.embedding_inputs));
  for (size_t i = 0; i < input->size(); ++i) {
    ApiError error = add_input((*input)[i], str("input[", i, "]"), model, ask);
    if (!error.is_error()) continue;
    error.param = "input";
    return error;
  }
  return {};
}

EmbeddingCall::EmbeddingCall(ServedEmbedder& model, EmbeddingAsk ask, CallId id, ReplyCallback reply,
                             std::function<void()> on_end)
    : model_(model),
      ask_(std::move(ask)),
      id_(id),
      reply_(std::move(reply)),
      on_end_(std::move(on_end)),
      results_(ask_.inputs.size()) {}

void EmbeddingCall::start() {
  std::vector<EmbeddingRequest> requests;
  for (size_t i = 0; i < ask_.inputs.size(); ++i)
    requests.push_back(
        {id_, ask_.inputs[i], [self = shared_from_this(), i](Result<std::vector<float>> result) {
           self->on_done(i, std::move(result));
         }});
  if (model_.engine().submit(std::move(requests))) return;
  on_end_();
  reply_(error_reply({.status = 503,
                      .message = "the server is shutting down and takes no more requests; try again later",
                      .param = "",
                      .code = ""}));
}

Json EmbeddingCall::vector_json(std::vector<float> values) const {
  if (ask_.dimensions > 0 && ask_.dimensions < static_cast<int64_t>(values.size())) {
    values.resize(static_cast<size_t>(ask_.dimensions));
    if (model_.engine().form().normalize) normalize(values);
  }
  if (ask_.base64) {
    static_assert(std::endian::native == std::endian::little);
    return encode_base64({reinterpret_cast<const char*>(values.data()), 4 * values.size()});
  }
  Json list = Json::array();
  for (float value : values) list.push_back(shortest(value));
  return list;
}

void EmbeddingCall::on_done(size_t input, Result<std::vector<float>> result) {
  if (result.is_ok())
    results_[input] = std::move(*result);
  else
    problem_ = result.status().message();
  if (++done_ < results_.size()) return;
  on_end_();
  Json data = Json::array();
  int64_t tokens = 0;
  for (size_t i = 0; i < results_.size() && problem_.empty(); ++i) {
    for (float value : results_[i])
      if (!std::isfinite(value)) problem_ = str("input[", i, "]: the model gave no finite numbers for it");
    if (problem_.empty())
      data.push_back(
          {{"object", "embedding"}, {"embedding", vector_json(std::move(results_[i]))}, {"index", i}});
    tokens += static_cast<int64_t>(ask_.inputs[i].size());
  }
  if (!problem_.empty())
    return reply_(error_reply({.status = 503, .message = problem_, .param = "", .code = ""}));
  reply_({.text = json_text({{"object", "list"},
                             {"data", std::move(data)},
                             {"model", model_.id()},
                             {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}})});
}

}  // namespace mlc::serve::openai
