// Moves the layers of a paged state whose rows see a window only to a state that retains no more, with block
// tables of its own where others stay. Where a rolling window drops tokens (skip_begin), nothing changes.
//
//   before:  state $kv : paged {layers = 2, ..}
//            kv_append($kv, %k, %v, %row_slots) {layer = 1}
//            attention($kv, %q, %s, %limits, %page_indptr, %page_ids) {layer = 1, window = 64, ..}
//   after:   state $kv : paged {layers = 1, ..}, state $kv_window : paged {layers = 1, .., window = 64}
//            kv_append($kv_window, %k, %v, %row_slots_1) {layer = 0}
//            attention($kv_window, %q, %s, %limits, %page_indptr_1, %page_ids_1) {layer = 0, window = 64, ..}
//
// copy_pages of the state becomes that of all states of the first group; those of group 1 are copied by a new
// function copy_pages_1, and so on. A state all of whose layers have one window keeps its name and tables.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void retain_windows(Module& module);

}  // namespace mlc::graph
