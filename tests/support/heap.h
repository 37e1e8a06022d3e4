// Counts what a test program takes from the heap with operator new, on all threads. Of suites that have
// support/heap.cpp among their sources, which replaces the operator.
#pragma once

#include <cstdint>

namespace mlc::testing {

// Since the program began.
int64_t heap_allocations();

// What is held, as the heap rounds it.
int64_t heap_live_bytes();
// The most since the last call of reset_heap_peak().
int64_t heap_peak_bytes();
void reset_heap_peak();

}  // namespace mlc::testing
