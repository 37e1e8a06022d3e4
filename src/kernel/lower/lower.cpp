// The door from graph to kernel: one row per op, kernel identity, and sizes of operands.
#include "kernel/lower/lower.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"
#include "graph/ops/registry.h"
#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/cpu/weight_layouts.h"
#include "kernel/lower/experts.h"
#include "kernel/lower/gpu/lowerings.h"
#include "kernel/lower/gpu/weight.h"
#include "kernel/lower/lowerings.h"

namespace mlc::kernel {
namespace {

struct Entry {
  const char* op;
  Function (*shared)(Lowering&) = nullptr;  // written once; else one for each side, or nullptr: no such form
  Function (*cpu)(CpuLowering&) = nullptr;
  Function (*gpu)(GpuLowering&) = nullptr;
};

constexpr Entry kLowerings[] = {
    {"attention", nullptr, lower_attention, lower_gpu_attention},
    {"attention_join", nullptr, lower_attention_join, lower_gpu_attention_join},
    {"attention_part", nullptr, lower_attention, lower_gpu_attention},
    {"cast", lower_cast},
    {"copy_pages", lower_copy_pages},
    {"copy_slots", lower_copy_slots},
    {"expert_matmul", nullptr, lower_matmul, lower_gpu_matmul},
    {"expert_sum", lower_expert_sum},
    {"group_slots", nullptr, lower_group_slots, lower_gpu_group_slots},
    {"head_matmul", nullptr, lower_matmul, lower_gpu_matmul},
    {"kv_append", nullptr, lower_kv_append, lower_gpu_kv_append},
    {"layer_norm", lower_layer_norm},
    {"lora_expand", lower_lora_expand},
    {"lora_shrink", lower_lora_shrink},
    {"map", lower_map},
    {"matmul", nullptr, lower_matmul, lower_gpu_matmul},
    {"quantize_q8", nullptr, lower_to_rows},
    {"rms_norm", lower_rms_norm},
    {"rope", lower_rope},
    {"rope_append", nullptr, lower_rope_append, lower_gpu_rope_append},
    {"route", nullptr, lower_route, lower_gpu_route},
    {"sample", nullptr, nullptr, lower_gpu_sample},
    {"slice", lower_slice},
    {"softmax", lower_softmax},
    {"take", nullptr, lower_take, lower_gpu_take},
    {"to_tiles", nullptr, lower_to_rows},
    {"token_shift", lower_token_shift},
    {"wkv4", lower_wkv4},
    {"wkv5", lower_wkv5},
};

std::string attribute_text(const graph::Attribute& value) {
  if (auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (auto* i = std::get_if<int64_t>(&value)) return str(*i);
  if (auto* d = std::get_if<double>(&value)) {
    std::ostringstream out;
    out.precision(17);
    out << *d;
    return out.str();
  }
  return std::get<std::string>(value);
}

// The body's guard as far as the kernel depends on it: one row, few rows, any number. GPU kernels but for
// tiled matmuls are the same for few and many.
LowerOptions needed(const graph::Node& node, const LowerOptions& options) {
  LowerOptions out = options;
  bool tiles = is_matmul(node) && gpu_schedule(*options.target).shared_tiles;
  if (options.target->is_gpu() && options.max_rows != 1 && !tiles) out.min_rows = out.max_rows = 0;
  return out;
}

}  // namespace

LoweredKernel lower_node(const graph::Node& node, const graph::Module& module, const LowerOptions& options) {
  internal_check(options.target != nullptr, "lower_node needs a target");
  const LowerOptions guard = needed(node, options);
  for (const Entry& entry : kLowerings) {
    if (node.op != entry.op) continue;
    if (options.target->is_gpu()) {
      GpuLowering low(node, module, guard);
      if (entry.shared) return {entry.shared(low)};
      if (entry.gpu) return {entry.gpu(low)};
    } else {
      CpuLowering low(node, module, guard);
      if (entry.shared) return {entry.shared(low)};
      if (entry.cpu) return {entry.cpu(low)};
    }
  }
  throw UserError(str(node.op, ": no kernel is known for this op on ", options.target->name));
}

std::optional<Function> lower_preproc(const graph::TensorType& parameter, const Target& target) {
  if (parameter.kind != graph::TensorType::Kind::kGroup) return std::nullopt;
  return parameter.layout == kLaneLayout ? lower_gpu_repack(parameter, target)
                                         : lower_repack(parameter, target);
}

int64_t layout_bytes(const graph::TensorType& parameter) {
  if (parameter.layout == kLaneLayout) return lane_weight(parameter).words() * 4;
  if (parameter.kind == graph::TensorType::Kind::kGroup) return weight_layout(parameter).bytes();
  return parameter.bytes().constant();
}

std::vector<WeightPiece> weight_pieces(const graph::TensorType& parameter, int halves, int64_t max_bytes) {
  auto piece = [&](int64_t first, int64_t rows) {
    WeightPiece p{first, rows, parameter};
    if (p.type.shape.size() >= 2) p.type.shape[p.type.shape.size() - 2] = rows * halves;
    return p;
  };
  int64_t bytes = layout_bytes(parameter), all = matrix_rows(parameter) / halves;
  if (max_bytes == 0 || bytes <= max_bytes) return {piece(0, all)};
  if (parameter.format.group_n != 1)
    throw UserError(str(parameter.text(), ": ", human_bytes(double(bytes)),
                        " of rows that share scales must be bound at once, this target binds at most ",
                        human_bytes(double(max_bytes)), "; use --device cpu or --quantization q8f16_1"));
  // As few as can be, of equal size but for the last, in whole blocks of rows: their columns of a result
  // start at whole sectors.
  int64_t blocks = parameter.shape.size() >= 2 ? (all + kLaneRows - 1) / kLaneRows : 1, per_piece = blocks;
  for (int64_t count = 2; per_piece > 1 && layout_bytes(piece(0, per_piece * kLaneRows).type) > max_bytes;
       ++count)
    per_piece = (blocks + count - 1) / count;
  if (layout_bytes(piece(0, per_piece * kLaneRows).type) > max_bytes)
    throw UserError(str(parameter.text(), ": ", human_bytes(double(layout_bytes(piece(0, kLaneRows).type))),
                        " of its rows must be bound at once, this target binds at most ",
                        human_bytes(double(max_bytes)), "; use --device cpu"));
  std::vector<WeightPiece> pieces;
  for (int64_t first = 0, rows = per_piece * kLaneRows; first < all; first += rows)
    pieces.push_back(piece(first, std::min(rows, all - first)));
  return pieces;
}

std::string kernel_key(const graph::Node& node, const graph::Module& module, const LowerOptions& options) {
  std::ostringstream key;
  key << node.op;
  size_t i = 0;
  for (const std::vector<graph::Value*>* operands : {&node.inputs, &node.region.operands})
    for (const graph::Value* operand : *operands) {
      key << ' ' << operand->type.text();
      if (i < options.input_views.size() && options.input_views[i].row_stride)
        key << '[' << options.input_views[i].row_stride << '+' << options.input_views[i].column_offset << ']';
      ++i;
    }
  if (!node.region.empty())
    key << " region " << print(node.region, graph::find_op(node.op)->region, [&](const graph::Value* v) {
      auto found = std::find(node.region.operands.begin(), node.region.operands.end(), v);
      return str('%', found - node.region.operands.begin());
    });
  for (const graph::Value* out : node.outputs) key << " -> " << out->type.text();
  for (const auto& [name, value] : node.attributes)
    if (name != "layer") key << ' ' << name << '=' << attribute_text(value);
  if (const graph::SlotState* slots = module.find_slot_state(node.state)) {
    key << " $" << slots->slot_elements() << " x " << slots->layers;
    if (node.attributes.count("part")) key << " at " << *slots->offset(node.get_string("part"));
  }
  if (const graph::PagedState* c = node.state.empty() ? nullptr : module.find_state(node.state))
    key << " $" << c->layers << ',' << c->kv_heads << ',' << c->key_dim << ',' << c->value_dim << ','
        << c->latent << ',' << c->page_size << ',' << short_name(c->dtype) << ',' << module.group_of(*c);
  LowerOptions guard = needed(node, options);
  key << " rows" << guard.min_rows << ".." << guard.max_rows << ' ' << options.target->name;
  return key.str();
}

}  // namespace mlc::kernel
