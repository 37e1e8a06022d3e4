// Counts what a test program takes from the heap with operator new.
#pragma once

#include <cstdint>

namespace mlc::testing {

// Since the program began, on all threads. Defined in devices/heap_count.cpp, which replaces the operator.
int64_t heap_allocations();

}  // namespace mlc::testing
