// The dimensions of a call, by name: where a plan's symbols get their values. A symbol that a library uses
// and this table lacks is refused when the library is loaded.
#pragma once

#include <cstdint>
#include <string_view>

#include "formats/plan.h"

namespace mlc::runtime {

struct Dims {
  int64_t rows = 0;    // new tokens of all sequences
  int64_t batch = 0;   // sequences
  int64_t wanted = 0;  // rows whose logits are wanted
  int64_t pages = 0;   // entries of page_ids
  int64_t copies = 0;  // pages to copy
  int64_t pool_pages = 0;
};

struct Symbol {
  std::string_view name;
  int64_t Dims::* value;
};

inline constexpr Symbol kSymbols[] = {
    {"rows", &Dims::rows},   {"batch", &Dims::batch},   {"wanted", &Dims::wanted},
    {"pages", &Dims::pages}, {"copies", &Dims::copies}, {kPoolPages, &Dims::pool_pages},
};

// nullptr: no such symbol.
inline const Symbol* find_symbol(std::string_view name) {
  for (const Symbol& s : kSymbols)
    if (s.name == name) return &s;
  return nullptr;
}

}  // namespace mlc::runtime
