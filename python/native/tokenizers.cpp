// chat/tokenizer and chat/stream as classes of the Python module; errors are thrown as UserError.
#include "python/native/tokenizers.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "apps/cli/commands.h"
#include "chat/stream.h"

namespace nb = nanobind;

namespace mlc::python {
namespace {

using cli::value_or_throw;
using Ids = std::vector<int32_t>;
using Unlocked = nb::call_guard<nb::gil_scoped_release>;

struct SharedTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
};

// The matcher reads the tokenizer's bytes.
struct Stops {
  std::shared_ptr<const Tokenizer> tokenizer;
  StopMatcher matcher;
};

std::string put_all(StreamDecoder& decoder, const Ids& ids) {
  std::string text;
  for (int32_t id : ids) text += value_or_throw(decoder.put(id));
  return text;
}

void bind_tokenizer(nb::module_& m) {
  nb::class_<SharedTokenizer>(m, "Tokenizer")
      .def(
          "__init__",
          [](SharedTokenizer* self, const std::string& path) {
            new (self) SharedTokenizer{value_or_throw(Tokenizer::load(path))};
          },
          nb::arg("path"), Unlocked())
      .def(
          "encode",
          [](const SharedTokenizer& t, const std::string& text) {
            return value_or_throw(t.tokenizer->encode(text));
          },
          nb::arg("text"), Unlocked())
      .def(
          "decode",
          [](const SharedTokenizer& t, const Ids& ids, bool skip_special) {
            return value_or_throw(t.tokenizer->decode(ids, skip_special));
          },
          nb::arg("ids"), nb::arg("skip_special"), Unlocked())
      .def("vocab_size", [](const SharedTokenizer& t) { return t.tokenizer->vocab_size(); });
}

}  // namespace

void bind_tokenizers(nb::module_& m) {
  bind_tokenizer(m);
  nb::class_<StreamDecoder>(m, "StreamDecoder")
      .def("__init__", [](StreamDecoder* self,
                          const SharedTokenizer& t) { new (self) StreamDecoder(t.tokenizer); })
      .def("put", &put_all, nb::arg("ids"))
      .def("finish", [](StreamDecoder& decoder) { return value_or_throw(decoder.finish()); });
  nb::class_<Stops>(m, "StopMatcher")
      .def("__init__",
           [](Stops* self, const std::vector<std::string>& stops, const SharedTokenizer& t) {
             new (self) Stops{t.tokenizer, StopMatcher(stops, &t.tokenizer->token_bytes())};
           })
      .def("put", [](Stops& stops, int32_t id) { return stops.matcher.put(id); })
      .def("finish", [](Stops& stops) { return stops.matcher.finish(); })
      .def("stopped", [](const Stops& stops) { return stops.matcher.stopped(); });
}

}  // namespace mlc::python
