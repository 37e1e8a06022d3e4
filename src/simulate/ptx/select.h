// Opcode -> what runs it.
#pragma once

#include <string>
#include <vector>

#include "simulate/ptx/module.h"

namespace mlc::ptx {

using Run = void (*)(Warp& warp, const Instruction& self, uint32_t mask);

// Of an opcode's parts, "add", "rn", "f32"; null when we know none. select() asks all families.
Run select(const std::vector<std::string>& parts);
Run select_arithmetic(const std::vector<std::string>& parts);  // numbers and comparisons
Run select_conversion(const std::vector<std::string>& parts);  // cvt
Run select_memory(const std::vector<std::string>& parts);      // ld, st, mov, shfl
Run select_matrix(const std::vector<std::string>& parts);      // ldmatrix, mma

}  // namespace mlc::ptx
