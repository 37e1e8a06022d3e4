// Writes the text form of the graph IR.
#include "graph/print.h"

#include <charconv>

#include "base/strings.h"
#include "graph/ops/registry.h"

namespace mlc::graph {
namespace {

std::string reference(const Value* v) { return (v->kind == Value::Kind::kParameter ? "@" : "%") + v->name; }

std::string typed(const Value* v) { return reference(v) + ": " + v->type.text(); }

std::string number(double value) {
  char buffer[40];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  return text.find_first_of(".einf") == std::string::npos ? text + ".0" : text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "\"";
}

std::string print(const PagedState& s) {
  return str("state $", s.name, " : paged {layers = ", s.layers, ", kv_heads = ", s.kv_heads,
             ", key_dim = ", s.key_dim, ", value_dim = ", s.value_dim, ", page_size = ", s.page_size,
             ", dtype = ", short_name(s.dtype), s.window > 0 ? str(", window = ", s.window) : "",
             s.latent ? ", latent = true" : "", "}");
}

std::string print(const SlotState& s) {
  std::string out = str("state $", s.name, " : slots {layers = ", s.layers);
  for (const SlotPart& part : s.parts) out += str(", ", part.name, " = ", part.elements);
  return out + "}";
}

std::string guards(const Function& f) {
  auto bound = [](int64_t value) { return value == 0 ? std::string() : std::to_string(value); };
  std::string out;
  for (const Guard& g : f.guards)
    out += str(out.empty() ? " " : ", ", g.symbol, " ", bound(g.min), "..", bound(g.max));
  return out;
}

}  // namespace

std::string print(const Attribute& value) {
  if (auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (auto* i = std::get_if<int64_t>(&value)) return std::to_string(*i);
  if (auto* d = std::get_if<double>(&value)) return number(*d);
  return quoted(std::get<std::string>(value));
}

std::string print(const Node& node) {
  std::vector<std::string> outputs, operands, attributes;
  for (const Value* v : node.outputs) outputs.push_back(typed(v));
  if (!node.state.empty()) operands.push_back("$" + node.state);
  for (const Value* v : node.inputs) operands.push_back(reference(v));
  for (const auto& [name, value] : node.attributes) attributes.push_back(name + " = " + print(value));
  std::string out = outputs.empty() ? "" : join(outputs, ", ") + " = ";
  out += node.op + "(" + join(operands, ", ") + ")";
  if (!attributes.empty()) out += " {" + join(attributes, ", ") + "}";
  if (node.region.empty()) return out;
  const OpInfo* op = find_op(node.op);
  return out + " region(" + print(node.region, op ? op->region : RegionKind::kResults, reference) + ")";
}

std::string print(const Function& function) {
  if (!function.same_as.empty()) return "  func @" + function.name + " = @" + function.same_as + "\n";
  std::vector<std::string> arguments, results;
  for (const Value* v : function.arguments) arguments.push_back(typed(v));
  for (const Value* v : function.results) results.push_back(reference(v));
  std::string out =
      "  func @" + function.name + "(" + join(arguments, ", ") + ")" + guards(function) + " {\n";
  for (const auto& node : function.nodes) out += "    " + print(*node) + "\n";
  return out + "    return" + (results.empty() ? "" : " ") + join(results, ", ") + "\n  }\n";
}

std::string print(const Module& module) {
  std::string out = "module @" + module.name + " {\n";
  for (const auto& p : module.parameters)
    out += "  param " + reference(p.get()) + " : " + p->type.text() + "\n";
  for (const PagedState& s : module.states) out += "  " + print(s) + "\n";
  for (const SlotState& s : module.slot_states) out += "  " + print(s) + "\n";
  for (const auto& f : module.functions) out += print(*f);
  return out + "}\n";
}

}  // namespace mlc::graph
