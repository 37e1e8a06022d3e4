// Reports a broken internal invariant.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace mlc {

void internal_error(std::string_view message, std::source_location where) {
  std::fprintf(stderr, "internal error: %.*s (%s:%u). This is a bug in mlc_llm, please report it.\n",
               static_cast<int>(message.size()), message.data(), where.file_name(), where.line());
  std::abort();
}

}  // namespace mlc
