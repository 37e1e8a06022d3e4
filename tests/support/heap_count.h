// Counts what a test program takes from the heap with operator new. Include it in one file of a program: it replaces the operator.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace mlc::testing {

inline std::atomic<int64_t> counted_allocations{0};

// Since the program began, on all threads.
inline int64_t heap_allocations() { return counted_allocations.load(); }

inline void* counted_allocation(size_t bytes, size_t alignment) {
  counted_allocations.fetch_add(1, std::memory_order_relaxed);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (void* memory = std::aligned_alloc(alignment, rounded ? rounded : alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace mlc::testing

// The forms for arrays and those that do not throw call these.
void* operator new(size_t bytes) { return mlc::testing::counted_allocation(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return mlc::testing::counted_allocation(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
