// The operator new of this test program: malloc's, counted. Alone in its file, so that no caller sees what it does.
#include "support/heap_count.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace mlc::testing {
namespace {

std::atomic<int64_t> allocations{0};

void* counted(size_t bytes, size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (void* memory = std::aligned_alloc(alignment, rounded ? rounded : alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace

int64_t heap_allocations() { return allocations.load(); }

}  // namespace mlc::testing

// The forms for arrays and those that do not throw call these.
void* operator new(size_t bytes) { return mlc::testing::counted(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return mlc::testing::counted(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
