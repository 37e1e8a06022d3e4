// Tokenizers and streams of text in the Python module.
#pragma once

#include <nanobind/nanobind.h>

namespace mlc::python {

void bind_tokenizers(nanobind::module_& m);

}  // namespace mlc::python
