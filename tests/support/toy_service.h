// A service of a toy model on the CPU, for tests of the API and of what stands on it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "service/openai/service.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"

namespace mlc::testing {

// What came back for one call.
struct Collected {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<serve::openai::Reply> replies;
  bool done = false;

  serve::openai::ReplyCallback callback() {
    return [this](const serve::openai::Reply& reply) {
      std::lock_guard lock(mutex);
      replies.push_back(reply);
      done |= reply.last;
      changed.notify_all();
    };
  }
  // After the last reply, which is waited for.
  const std::vector<serve::openai::Reply>& all() {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, std::chrono::seconds(120), [this] { return done; }))
      throw std::runtime_error("no last reply came");
    return replies;
  }
};

// A toy llama, compiled once a process, and once with room for adapters.
class ToyService {
 public:
  struct Options {
    int64_t sequences = 4, context = 200, total = 400, chunk = 32;
    bool deterministic = false;
    serve::openai::ApiLimits limits;
    std::vector<std::string> ids = {"toy"};
    std::string jinja;  // a chat template instead of chatml's preset
    bool adapters = false;  // its library holds three of rank 8
  };

  explicit ToyService(Options options) {
    const Files& files = options.adapters ? files_with<3>() : files_with<0>();
    tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
    Conversation conversation = must(find_preset("chatml"));
    conversation.jinja_template = options.jinja;
    std::vector<std::unique_ptr<serve::openai::ServedModel>> served;
    for (const std::string& id : options.ids) {
      models.push_back(LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})),
                                         files.folder.file("model.so"), files.folder.path(),
                                         {.max_sequences = options.sequences,
                                          .context_tokens = options.context,
                                          .total_tokens = options.total,
                                          .prefill_chunk = options.chunk,
                                          .deterministic = options.deterministic}));
      served.push_back(
          must(serve::openai::ServedModel::create(id, *models.back().model, tokenizer, conversation, {},
                                                  {.max_running = static_cast<size_t>(options.sequences)})));
    }
    service = std::make_unique<serve::openai::Service>(
        std::move(served), options.limits, [this](const std::string& note) { notes.push_back(note); });
  }

  std::vector<serve::openai::Reply> post(const std::string& path, const std::string& body) {
    Collected collected;
    service->submit(path, body, collected.callback());
    return collected.all();
  }
  // Of a call with one reply.
  Json answer(const std::string& path, const Json& body, int status = 200) {
    auto replies = post(path, json_text(body));
    if (replies.size() != 1 || replies[0].status != status)
      throw std::runtime_error(
          str(replies.size(), " replies, status ", replies[0].status, ": ", replies[0].text));
    return must(parse_json(replies[0].text, "answer"));
  }

  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<LoadedModel> models;
  std::vector<std::string> notes;
  std::unique_ptr<serve::openai::Service> service;  // last: it uses the above

 private:
  struct Files {
    TempFolder folder;
    explicit Files(int64_t adapters) {
      convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
      compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 0, {runnable_targets().front()},
                 false, adapters, adapters > 0 ? 8 : 0);
    }
  };
  template <int64_t adapters>
  static const Files& files_with() {
    static const Files files(adapters);
    return files;
  }
};

}  // namespace mlc::testing
