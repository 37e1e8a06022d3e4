// The Python module _mlc_llm: what the package mlc_llm stands on. Waits are without the interpreter's lock.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "apps/cli/command_line.h"
#include "base/user_error.h"
#include "python/native/engine.h"
#include "python/native/tokenizers.h"

namespace nb = nanobind;

namespace mlc::python {
namespace {

using std::chrono::milliseconds;
using Unlocked = nb::call_guard<nb::gil_scoped_release>;

// The engine's thread holds the queue itself, never an object of Python.
struct Queue {
  std::shared_ptr<ReplyQueue> replies = std::make_shared<ReplyQueue>();
};

std::vector<Answer> take_unlocked(ReplyQueue& queue, milliseconds patience) {
  nb::gil_scoped_release unlocked;
  return queue.take(patience);
}

nb::list to_list(const std::vector<Answer>& answers) {
  nb::list list;
  for (const Answer& answer : answers)
    list.append(nb::make_tuple(answer.key, answer.reply.status, answer.reply.text, answer.reply.stream,
                               answer.reply.last));
  return list;
}

// Waits as long as it takes. On the main thread it looks for Ctrl-C in between, which no other thread gets.
nb::list take(Queue& queue, bool main_thread) {
  const milliseconds slice = main_thread ? milliseconds(50) : milliseconds(3'600'000);
  for (;;) {
    const std::vector<Answer> answers = take_unlocked(*queue.replies, slice);
    if (main_thread && PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!answers.empty() || queue.replies->closed()) return to_list(answers);
  }
}

Json settings_of(const std::string& text) {
  auto settings = parse_json(text, "settings");
  if (!settings.is_ok()) throw UserError(settings.status().message());
  return std::move(settings).value();
}

}  // namespace
}  // namespace mlc::python

NB_MODULE(_mlc_llm, m) {
  using namespace mlc::python;
  m.doc() = "Engine and commands of mlc_llm; use the package mlc_llm, this module's names may change.";
  nb::exception<mlc::UserError>(m, "UserError", PyExc_ValueError);

  nb::class_<Queue>(m, "ReplyQueue", "Replies of requests: tuples (key, status, text, stream, last).")
      .def(nb::init<>())
      .def("take", &take, nb::arg("main_thread"),
           "All that came, after the first; [] once the queue is closed and empty.")
      .def("take_now", [](Queue& queue) { return to_list(queue.replies->take(milliseconds(0))); })
      .def("close", [](Queue& queue) { queue.replies->close(); });

  nb::class_<Engine>(m, "Engine")
      .def(
          "__init__",
          [](Engine* self, const std::string& settings) { new (self) Engine(settings_of(settings)); },
          nb::arg("settings"), Unlocked())
      .def(
          "submit",
          [](Engine& engine, const std::string& path, const std::string& body, Queue& queue, int64_t key) {
            return engine.submit(path, body, queue.replies, key);
          },
          nb::arg("path"), nb::arg("body"), nb::arg("queue"), nb::arg("key"), Unlocked())
      .def("cancel", &Engine::cancel, nb::arg("call"), Unlocked())
      .def(
          "get", [](Engine& engine, const std::string& path) { return engine.get(path).text; },
          nb::arg("path"), Unlocked())
      .def("description", [](const Engine& engine) { return mlc::json_text(engine.description()); })
      .def("terminate", &Engine::terminate, Unlocked());

  bind_tokenizers(m);
  m.def("run_command", &run_command, nb::arg("arguments"), Unlocked(),
        "Runs a command of mlc_llm; raises UserError with its sentence, returns its exit code.");
  m.def("run_program", &mlc::cli::run_program, nb::arg("arguments"), Unlocked(),
        "Runs mlc_llm as a program does: prints errors, takes over Ctrl-C.");
}
