// The dimensions of a call, by name: where a plan's symbols get their values. A symbol that a library uses
// and this table lacks is refused when the library is loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/plan.h"

namespace mlc::runtime {

struct Dims {
  int64_t rows = 0;                               // new tokens of all sequences
  int64_t batch = 0;                              // sequences
  int64_t wanted = 0;                             // rows whose logits are wanted
  int64_t pages = 0;                              // entries of page_ids
  int64_t pages_1 = 0, pages_2 = 0, pages_3 = 0;  // of page_ids_1 and so on
  int64_t copies = 0;                             // pages or slots to copy
  int64_t pool_pages = 0;
  int64_t pool_pages_1 = 0, pool_pages_2 = 0, pool_pages_3 = 0;
  int64_t pool_slots = 0;
};

// By group of paged states (formats/plan.h).
inline constexpr int64_t Dims::* kPagesOf[] = {&Dims::pages, &Dims::pages_1, &Dims::pages_2, &Dims::pages_3};
inline constexpr int64_t Dims::* kPoolPagesOf[] = {&Dims::pool_pages, &Dims::pool_pages_1,
                                                   &Dims::pool_pages_2, &Dims::pool_pages_3};
inline constexpr size_t kMostGroups = sizeof kPagesOf / sizeof *kPagesOf;

struct Symbol {
  std::string_view name;
  int64_t Dims::* value;
};

inline constexpr Symbol kSymbols[] = {
    {"rows", &Dims::rows},
    {"batch", &Dims::batch},
    {"wanted", &Dims::wanted},
    {"pages", &Dims::pages},
    {"pages_1", &Dims::pages_1},
    {"pages_2", &Dims::pages_2},
    {"pages_3", &Dims::pages_3},
    {"copies", &Dims::copies},
    {kPoolPages, &Dims::pool_pages},
    {"pool_pages_1", &Dims::pool_pages_1},
    {"pool_pages_2", &Dims::pool_pages_2},
    {"pool_pages_3", &Dims::pool_pages_3},
    {kPoolSlots, &Dims::pool_slots},
};

// nullptr: no such symbol.
inline const Symbol* find_symbol(std::string_view name) {
  for (const Symbol& s : kSymbols)
    if (s.name == name) return &s;
  return nullptr;
}

}  // namespace mlc::runtime
