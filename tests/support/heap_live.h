// Counts the bytes that a test program holds from operator new.
#pragma once

#include <cstdint>

namespace mlc::testing {

// On all threads, as the heap rounds them. Defined in weights/heap_live.cpp, which replaces the operator.
int64_t heap_live_bytes();
// The most since the last call of reset_heap_peak().
int64_t heap_peak_bytes();
void reset_heap_peak();

}  // namespace mlc::testing
