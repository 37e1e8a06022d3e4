// Text of kernel IR types, and the size of groups.
#include "kernel/ir.h"

#include "base/strings.h"

namespace mlc::kernel {

std::string Type::text() const {
  std::string name(short_name(dtype));
  return lanes == 1 ? name : str(name, "x", lanes);
}

int64_t thread_count(const Function& function) {
  for (const StmtRef& grid : function.body)
    for (const StmtRef& s : grid->body)
      if (s->kind == StmtKind::kFor && s->loop == LoopKind::kThread)
        return s->extent->kind == ExprKind::kIntConst ? s->extent->int_value : 0;
  return 0;
}

}  // namespace mlc::kernel
