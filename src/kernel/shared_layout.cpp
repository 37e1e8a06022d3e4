// Lays kShared buffers one after another, each aligned to a cache line.
#include "kernel/shared_layout.h"

#include "base/check.h"

namespace mlc::kernel {
namespace {

constexpr int64_t kAlignment = 64;  // a cache line, and the widest vector

int64_t align_up(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void collect(const std::vector<StmtRef>& statements, SharedLayout& layout) {
  for (const StmtRef& s : statements) {
    if (s->kind == StmtKind::kAlloc && s->buffer->scope == Scope::kShared) {
      internal_check(s->buffer->size.is_const(), "a shared buffer has a constant size");
      layout.places.push_back({s->buffer, layout.bytes});
      const Type& element = s->buffer->element;
      layout.bytes += align_up(s->buffer->size.constant() * size_of(element.dtype) * element.lanes);
    }
    collect(s->body, layout);
    collect(s->otherwise, layout);
  }
}

}  // namespace

SharedLayout shared_layout(const Function& function) {
  SharedLayout layout;
  collect(function.body, layout);
  return layout;
}

}  // namespace mlc::kernel
