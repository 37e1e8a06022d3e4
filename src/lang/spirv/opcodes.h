// The instructions of SPIR-V that kernels use, with their numbers and operands (Khronos SPIR-V specification,
// sections 3.49 and 3.6 to 3.31; GLSL.std.450 extended instructions).
#pragma once

#include <cstdint>

namespace mlc::lang::spirv {

// MLC_SPIRV_OPS(X): X(name, number, operands). Operands, one letter each, the last one repeated while words
// are left:
//   t type of the result    r result    i id    l literal number    s literal string
#define MLC_SPIRV_OPS(X)                      \
  X(Name, 5, "is")                            \
  X(Extension, 10, "s")                       \
  X(ExtInstImport, 11, "rs")                  \
  X(ExtInst, 12, "trili")                     \
  X(MemoryModel, 14, "ll")                    \
  X(EntryPoint, 15, "lisi")                   \
  X(ExecutionMode, 16, "il")                  \
  X(Capability, 17, "l")                      \
  X(TypeVoid, 19, "r")                        \
  X(TypeBool, 20, "r")                        \
  X(TypeInt, 21, "rl")                        \
  X(TypeFloat, 22, "rl")                      \
  X(TypeVector, 23, "ril")                    \
  X(TypeArray, 28, "rii")                     \
  X(TypeRuntimeArray, 29, "ri")               \
  X(TypeStruct, 30, "ri")                     \
  X(TypePointer, 32, "rli")                   \
  X(TypeFunction, 33, "ri")                   \
  X(ConstantTrue, 41, "tr")                   \
  X(ConstantFalse, 42, "tr")                  \
  X(Constant, 43, "trl")                      \
  X(ConstantComposite, 44, "tri")             \
  X(SpecConstantTrue, 48, "tr")               \
  X(Function, 54, "trli")                     \
  X(FunctionEnd, 56, "")                      \
  X(Variable, 59, "trl")                      \
  X(Load, 61, "tril")                         \
  X(Store, 62, "iil")                         \
  X(AccessChain, 65, "tri")                   \
  X(Decorate, 71, "il")                       \
  X(MemberDecorate, 72, "il")                 \
  X(VectorShuffle, 79, "triil")               \
  X(CompositeConstruct, 80, "tri")            \
  X(CompositeExtract, 81, "tril")             \
  X(ConvertFToU, 109, "tri")                  \
  X(ConvertFToS, 110, "tri")                  \
  X(ConvertSToF, 111, "tri")                  \
  X(ConvertUToF, 112, "tri")                  \
  X(Bitcast, 124, "tri")                      \
  X(SNegate, 126, "tri")                      \
  X(FNegate, 127, "tri")                      \
  X(IAdd, 128, "tri")                         \
  X(FAdd, 129, "tri")                         \
  X(ISub, 130, "tri")                         \
  X(FSub, 131, "tri")                         \
  X(IMul, 132, "tri")                         \
  X(FMul, 133, "tri")                         \
  X(UDiv, 134, "tri")                         \
  X(SDiv, 135, "tri")                         \
  X(FDiv, 136, "tri")                         \
  X(UMod, 137, "tri")                         \
  X(LogicalEqual, 164, "tri")                 \
  X(LogicalNotEqual, 165, "tri")              \
  X(LogicalOr, 166, "tri")                    \
  X(LogicalAnd, 167, "tri")                   \
  X(LogicalNot, 168, "tri")                   \
  X(Select, 169, "tri")                       \
  X(IEqual, 170, "tri")                       \
  X(INotEqual, 171, "tri")                    \
  X(UGreaterThan, 172, "tri")                 \
  X(SGreaterThan, 173, "tri")                 \
  X(UGreaterThanEqual, 174, "tri")            \
  X(SGreaterThanEqual, 175, "tri")            \
  X(ULessThan, 176, "tri")                    \
  X(SLessThan, 177, "tri")                    \
  X(ULessThanEqual, 178, "tri")               \
  X(SLessThanEqual, 179, "tri")               \
  X(FOrdEqual, 180, "tri")                    \
  X(FUnordNotEqual, 183, "tri")               \
  X(FOrdLessThan, 184, "tri")                 \
  X(FOrdGreaterThan, 186, "tri")              \
  X(FOrdLessThanEqual, 188, "tri")            \
  X(FOrdGreaterThanEqual, 190, "tri")         \
  X(ShiftRightLogical, 194, "tri")            \
  X(ShiftRightArithmetic, 195, "tri")         \
  X(ShiftLeftLogical, 196, "tri")             \
  X(BitwiseOr, 197, "tri")                    \
  X(BitwiseXor, 198, "tri")                   \
  X(BitwiseAnd, 199, "tri")                   \
  X(Not, 200, "tri")                          \
  X(ControlBarrier, 224, "i")                 \
  X(Phi, 245, "tri")                          \
  X(LoopMerge, 246, "iil")                    \
  X(SelectionMerge, 247, "il")                \
  X(Label, 248, "r")                          \
  X(Branch, 249, "i")                         \
  X(BranchConditional, 250, "i")              \
  X(Return, 253, "")                          \
  X(GroupNonUniformBroadcast, 337, "tri")     \
  X(GroupNonUniformShuffleXor, 346, "tri")    \
  X(GroupNonUniformFAdd, 350, "trili")        \
  X(GroupNonUniformIAdd, 349, "trili")        \
  X(GroupNonUniformSMin, 353, "trili")        \
  X(GroupNonUniformUMin, 354, "trili")        \
  X(GroupNonUniformFMin, 355, "trili")        \
  X(GroupNonUniformSMax, 356, "trili")        \
  X(GroupNonUniformUMax, 357, "trili")        \
  X(GroupNonUniformFMax, 358, "trili")        \
  X(TypeCooperativeMatrixKHR, 4456, "ri")     \
  X(CooperativeMatrixLoadKHR, 4457, "triiil") \
  X(CooperativeMatrixStoreKHR, 4458, "iiiil") \
  X(CooperativeMatrixMulAddKHR, 4459, "tri")  \
  X(SDotKHR, 4450, "triil")                   \
  X(SUDotKHR, 4452, "triil")

inline constexpr uint32_t kMagic = 0x07230203;
inline constexpr uint32_t kVersion13 = 0x00010300;  // SPIR-V 1.3, the version of Vulkan 1.1

enum class Op : uint16_t {
#define MLC_SPIRV_OP(name, number, operands) k##name = number,
  MLC_SPIRV_OPS(MLC_SPIRV_OP)
#undef MLC_SPIRV_OP
};

enum class Capability : uint32_t {
  kShader = 1,
  kFloat16 = 9,
  kGroupNonUniform = 61,
  kGroupNonUniformArithmetic = 63,
  kGroupNonUniformBallot = 64,  // grants broadcasts
  kGroupNonUniformShuffle = 65,
  kDotProductInput4x8BitPacked = 6018,
  kDotProduct = 6019,
  kVulkanMemoryModel = 5345,
  kCooperativeMatrix = 6022,
};

enum class Storage : uint32_t {
  kInput = 1,
  kWorkgroup = 4,
  kFunction = 7,
  kPushConstant = 9,
  kStorageBuffer = 12
};

enum class Decoration : uint32_t {
  kSpecId = 1,
  kBlock = 2,
  kArrayStride = 6,
  kBuiltIn = 11,
  kAliased = 20,
  kNonWritable = 24,
  kBinding = 33,
  kDescriptorSet = 34,
  kOffset = 35,
  kNoContraction = 42,
};

enum class BuiltIn : uint32_t {
  kWorkgroupId = 26,
  kLocalInvocationIndex = 29,
};

// Of GLSL.std.450.
enum class Glsl : uint32_t {
  kRoundEven = 2,
  kFAbs = 4,
  kSAbs = 5,
  kFloor = 8,
  kTanh = 21,
  kExp = 27,
  kLog = 28,
  kSqrt = 31,
  kInverseSqrt = 32,
  kUMin = 38,
  kSMin = 39,
  kUMax = 41,
  kSMax = 42,
  kFma = 50,
  kPackHalf2x16 = 58,
  kUnpackHalf2x16 = 62,
  kNMin = 79,
  kNMax = 80,
};

inline constexpr uint32_t kScopeWorkgroup = 2, kScopeSubgroup = 3;
inline constexpr uint32_t kSemanticsAcquireRelease = 0x8, kSemanticsStorageBuffer = 0x40,
                          kSemanticsWorkgroup = 0x100;
inline constexpr uint32_t kSemanticsMakeAvailable = 0x2000, kSemanticsMakeVisible = 0x4000;
inline constexpr uint32_t kNonPrivatePointer =
    0x20;  // memory operand: the access takes part in what barriers make visible
inline constexpr uint32_t kGroupOperationReduce = 0;

}  // namespace mlc::lang::spirv
