// A stack machine for the tensor subset of pickle protocols 2 to 5.
#include "formats/torch_pickle.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "base/strings.h"
#include "formats/checked.h"

namespace mlc {
namespace {

constexpr size_t kMaxPickle = 64 << 20;
constexpr size_t kMaxTensors = 1 << 18;
constexpr size_t kMaxRank = 16;

enum class Kind : uint8_t {
  kNone,
  kInteger,
  kText,
  kTuple,
  kDict,
  kList,
  kGlobal,
  kStorage,
  kTensor,
  kObject
};
enum class Global : uint8_t { kOrderedDict, kSize, kRebuildTensor, kRebuildParameter, kStorageClass };

struct KnownGlobal {
  std::string_view module, name;
  Global global;
  DType dtype = DType::kF32;  // kStorageClass
};
constexpr KnownGlobal kGlobals[] = {
    {"collections", "OrderedDict", Global::kOrderedDict},
    {"torch", "Size", Global::kSize},
    {"torch._utils", "_rebuild_tensor_v2", Global::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", Global::kRebuildParameter},
    {"torch", "FloatStorage", Global::kStorageClass, DType::kF32},
    {"torch", "DoubleStorage", Global::kStorageClass, DType::kF64},
    {"torch", "HalfStorage", Global::kStorageClass, DType::kF16},
    {"torch", "BFloat16Storage", Global::kStorageClass, DType::kBF16},
    {"torch", "LongStorage", Global::kStorageClass, DType::kI64},
    {"torch", "IntStorage", Global::kStorageClass, DType::kI32},
    {"torch", "ShortStorage", Global::kStorageClass, DType::kI16},
    {"torch", "CharStorage", Global::kStorageClass, DType::kI8},
    {"torch", "ByteStorage", Global::kStorageClass, DType::kU8},
    {"torch", "BoolStorage", Global::kStorageClass, DType::kBool},
};

// What no checkpoint needs: a file that asks for it was made to harm. (Nothing is run, whatever it asks for.)
constexpr std::string_view kHarmfulModules[] = {"os",     "posix",      "nt",    "subprocess", "sys",
                                                "socket", "shutil",     "runpy", "pty",        "importlib",
                                                "ctypes", "webbrowser", "code",  "pdb",        "commands"};
constexpr std::string_view kHarmfulFunctions[] = {"eval",    "exec", "execfile",
                                                  "compile", "open", "__import__"};

bool is_harmful(std::string_view module, std::string_view name) {
  auto is_one_of = [](std::string_view text, auto& list) {
    return std::find(std::begin(list), std::end(list), text) != std::end(list);
  };
  if (module == "builtins" || module == "__builtin__") return is_one_of(name, kHarmfulFunctions);
  return is_one_of(module.substr(0, module.find('.')), kHarmfulModules);
}

// What a value holds, by kind: kInteger: number; kText: text; kTuple: `count` ids from `number` on in the
// tuple pool; kDict, kList: `number` = index into the containers; kGlobal: index into kGlobals; kStorage,
// kTensor: index into those; kObject (a class or what it makes, neither known here): text, its name.
struct Value {
  Kind kind = Kind::kNone;
  uint32_t count = 0;
  int64_t number = 0;
  const char* text = nullptr;  // kText, kObject: of `count` bytes
};
using Id = uint32_t;  // index into values_

struct Storage {
  std::string_view key;
  DType dtype;
  uint64_t elements;
  std::string_view unread;  // its class where that is not known
};

const char* kind_name(Kind kind) {
  constexpr const char* names[] = {"None",   "a number", "a text",    "a tuple",  "a dictionary",
                                   "a list", "a class",  "a storage", "a tensor", "an object"};
  return names[static_cast<int>(kind)];
}

class Machine {
 public:
  Machine(std::span<const std::byte> pickle, const std::string& what) : cursor_(pickle), what_(what) {}

  Result<std::vector<PickledTensor>> run() {
    uint8_t op = 0, protocol = 0;
    if (!cursor_.read(op) || op != 0x80 || !cursor_.read(protocol) || protocol < 2 || protocol > 5)
      return bad(
          "data.pkl does not start with pickle protocol 2 to 5; expected a state dictionary saved by "
          "torch.save");
    while (true) {
      if (!cursor_.read(op)) return truncated();
      if (op == '.') break;
      RETURN_IF_ERROR(step(op));
    }
    return collect();
  }

 private:
  Status bad(const std::string& sentence) const { return Status::error(str(what_, ": ", sentence)); }
  Status truncated() const {
    return bad("data.pkl ends in the middle; the file is truncated, download it again");
  }
  Status wrong(std::string_view operation) const {
    return bad(str("data.pkl byte ", cursor_.position(), ": ", operation,
                   "; expected only a dictionary of tensors (save the state_dict alone, or as safetensors)"));
  }

  // --- values and the stack
  Status push(Value value) {
    stack_.push_back(static_cast<Id>(values_.size()));
    values_.push_back(value);
    return Status::ok();
  }
  Status push_integer(int64_t number) { return push({.kind = Kind::kInteger, .number = number}); }
  Status push_text(uint64_t length) {
    std::string_view text;
    if (!cursor_.take_text(length, text)) return truncated();
    return push({.kind = Kind::kText, .count = static_cast<uint32_t>(text.size()), .text = text.data()});
  }
  Status push_container(Kind kind) {
    containers_.emplace_back();
    return push({.kind = kind, .number = static_cast<int64_t>(containers_.size() - 1)});
  }
  // Makes a tuple of the stack from `begin` on.
  Status push_tuple(size_t begin) {
    if (begin > stack_.size() || begin < floor()) return wrong("a tuple of more values than there are");
    Value tuple{.kind = Kind::kTuple,
                .count = static_cast<uint32_t>(stack_.size() - begin),
                .number = static_cast<int64_t>(pool_.size())};
    pool_.insert(pool_.end(), stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    return push(tuple);
  }
  // Values below the innermost mark are out of reach.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  bool has(size_t count) const { return stack_.size() - floor() >= count; }
  Value& top(size_t depth = 0) { return values_[stack_[stack_.size() - 1 - depth]]; }
  Id pop() {
    Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  const Value& item(const Value& tuple, size_t i) const {
    return values_[pool_[static_cast<size_t>(tuple.number) + i]];
  }
  static std::string_view text_of(const Value& value) { return {value.text, value.count}; }

  // --- opcodes
  Status step(uint8_t op) {
    switch (op) {
      case '}': return push_container(Kind::kDict);
      case ']':
      case 0x8F: return push_container(Kind::kList);
      case ')': return push_tuple(stack_.size());
      case '(': marks_.push_back(stack_.size()); return Status::ok();
      case 't':
      case 0x91: return tuple_to_mark();
      case 0x85:
      case 0x86:
      case 0x87: return short_tuple(op - 0x84u);
      case 'q': return put<uint8_t>();
      case 'r': return put<uint32_t>();
      case 0x94: return remember(memo_.size());
      case 'h': return get<uint8_t>();
      case 'j': return get<uint32_t>();
      case 'c': return global_lines();
      case 0x93: return global_stack();
      case 'R':
      case 0x81: return reduce();
      case 0x92: return reduce_with_keywords();
      case '0': return drop(1);
      case '1': return drop_to_mark();
      case 'b': return build();
      case 'Q': return persistent();
      case 's': return set_items(stack_.size() < 2 ? 0 : stack_.size() - 2, false);
      case 'u': return set_items(0, true);
      case 'a': return append_items(stack_.empty() ? 0 : stack_.size() - 1, false);
      case 'e':
      case 0x90: return append_items(0, true);
      default: return literal(op);
    }
  }

  // Opcodes that push one value, and the frame marker.
  Status literal(uint8_t op) {
    switch (op) {
      case 'N': return push({});
      case 0x88: return push_integer(1);
      case 0x89: return push_integer(0);
      case 'J': return integer<int32_t>();
      case 'K': return integer<uint8_t>();
      case 'M': return integer<uint16_t>();
      case 0x8A: return long_integer<uint8_t>();
      case 0x8B: return long_integer<uint32_t>();
      case 'B': return bytes<uint32_t>();
      case 'C': return bytes<uint8_t>();
      case 0x8E:
      case 0x96: return bytes<uint64_t>();
      case 'G': return real();
      case 'X':
      case 'T': return text<uint32_t>();
      case 0x8C:
      case 'U': return text<uint8_t>();
      case 0x8D: return text<uint64_t>();
      case 0x95: return frame();
    }
    constexpr char digits[] = "0123456789abcdef";
    return wrong(str("opcode 0x", digits[op >> 4], digits[op & 15]));
  }

  template <typename T>
  Status integer() {
    T value;
    return cursor_.read(value) ? push_integer(value) : truncated();
  }
  template <typename T>
  Status long_integer() {
    T length = 0;
    std::span<const std::byte> bytes;
    if (!cursor_.read(length) || !cursor_.take(length, bytes)) return truncated();
    if (length > 8) return push({});  // the state of a random generator, say
    uint64_t value = length > 0 && (static_cast<uint8_t>(bytes.back()) & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < length; ++i) {
      value &= ~(uint64_t{0xFF} << (8 * i));
      value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
    }
    return push_integer(static_cast<int64_t>(value));
  }
  template <typename T>
  Status bytes() {  // never used beside the tensors
    T length;
    std::span<const std::byte> skipped;
    return cursor_.read(length) && cursor_.take(length, skipped) ? push({}) : truncated();
  }
  Status real() {  // numbers beside the tensors are never used
    uint64_t bits;
    return cursor_.read(bits) ? push({}) : truncated();
  }
  template <typename T>
  Status text() {
    T length;
    return cursor_.read(length) ? push_text(length) : truncated();
  }
  Status frame() {
    uint64_t length;
    return cursor_.read(length) ? Status::ok() : truncated();
  }
  Status tuple_to_mark() {
    if (marks_.empty()) return wrong("a tuple without a mark");
    size_t begin = marks_.back();
    marks_.pop_back();
    return push_tuple(begin);
  }
  Status short_tuple(size_t count) {
    if (!has(count)) return wrong("a tuple of more values than there are");
    return push_tuple(stack_.size() - count);
  }
  Status drop(size_t count) {
    if (!has(count)) return wrong("dropping more values than there are");
    stack_.resize(stack_.size() - count);
    return Status::ok();
  }
  Status drop_to_mark() {
    if (marks_.empty() || marks_.back() > stack_.size()) return wrong("dropping values without a mark");
    stack_.resize(marks_.back());
    marks_.pop_back();
    return Status::ok();
  }
  template <typename T>
  Status put() {
    T index;
    return cursor_.read(index) ? remember(index) : truncated();
  }
  Status remember(uint64_t index) {
    if (!has(1)) return wrong("a memo of nothing");
    if (index > memo_.size() + 256)
      return wrong(str("memo ", index, " after ", memo_.size()));  // picklers count up
    if (index >= memo_.size()) memo_.resize(index + 1, kNoId);
    memo_[index] = stack_.back();
    return Status::ok();
  }
  template <typename T>
  Status get() {
    T index;
    if (!cursor_.read(index)) return truncated();
    if (index >= memo_.size() || memo_[index] == kNoId)
      return wrong(str("memo ", uint64_t{index}, " that was never set"));
    stack_.push_back(memo_[index]);
    return Status::ok();
  }

  Status read_line(std::string_view& line) {
    size_t begin = cursor_.position();
    ByteCursor ahead = cursor_;
    uint8_t c = 0;
    do {
      if (!ahead.read(c)) return truncated();
    } while (c != '\n');
    if (!cursor_.take_text(ahead.position() - begin - 1, line) || !cursor_.read(c)) return truncated();
    return Status::ok();
  }
  Status global_lines() {
    std::string_view module, name;
    RETURN_IF_ERROR(read_line(module));
    RETURN_IF_ERROR(read_line(name));
    return push_global(module, name);
  }
  Status global_stack() {
    if (!has(2) || top().kind != Kind::kText || top(1).kind != Kind::kText)
      return wrong("a class without a name");
    std::string_view name = text_of(values_[pop()]), module = text_of(values_[pop()]);
    return push_global(module, name);
  }
  Status push_global(std::string_view module, std::string_view name) {
    int64_t index = 0;
    for (const KnownGlobal& known : kGlobals) {
      if (known.module == module && known.name == name) return push({.kind = Kind::kGlobal, .number = index});
      ++index;
    }
    if (is_harmful(module, name))
      return bad(str("data.pkl asks for ", shown_name(module), ".", shown_name(name),
                     ", which no checkpoint needs; nothing is ever run, and the file is refused as hostile"));
    return push_object(name);
  }
  Status push_object(std::string_view name) {
    return push({.kind = Kind::kObject, .count = static_cast<uint32_t>(name.size()), .text = name.data()});
  }

  // The object that the class and the arguments on the stack, the top `count` values, would make.
  Status make_object(size_t count) {
    std::string_view name = text_of(top(count - 1));
    RETURN_IF_ERROR(drop(count));
    return push_object(name);
  }
  Status reduce_with_keywords() {
    if (!has(3) || top(2).kind != Kind::kObject) return wrong("a call of something unknown");
    return make_object(3);
  }
  Status reduce() {
    if (has(2) && top(1).kind == Kind::kObject) return make_object(2);
    if (!has(2) || top().kind != Kind::kTuple || top(1).kind != Kind::kGlobal)
      return wrong("a call of something unknown");
    Value arguments = values_[pop()];
    const KnownGlobal& known = kGlobals[values_[pop()].number];
    switch (known.global) {
      case Global::kOrderedDict:
        if (arguments.count != 0) return push_object(known.name);
        return push_container(Kind::kDict);
      case Global::kSize:
        if (arguments.count != 1 || item(arguments, 0).kind != Kind::kTuple)
          return wrong("a torch.Size without a tuple");
        return push(item(arguments, 0));
      case Global::kRebuildParameter:
        if (arguments.count > 0 && item(arguments, 0).kind == Kind::kObject) return push(item(arguments, 0));
        if (arguments.count != 3 || item(arguments, 0).kind != Kind::kTensor)
          return wrong("a parameter without a tensor");
        return push(item(arguments, 0));
      case Global::kRebuildTensor: return rebuild_tensor(arguments);
      case Global::kStorageClass: break;
    }
    return wrong(str("a call of ", known.name));
  }

  Status rebuild_tensor(const Value& arguments) {
    if (arguments.count > 0 && item(arguments, 0).kind == Kind::kObject) return push(item(arguments, 0));
    if (arguments.count < 6 || arguments.count > 7 || item(arguments, 0).kind != Kind::kStorage ||
        item(arguments, 1).kind != Kind::kInteger || item(arguments, 2).kind != Kind::kTuple ||
        item(arguments, 3).kind != Kind::kTuple)
      return wrong("a tensor not made of (storage, offset, size, stride, requires_grad, hooks)");
    if (tensors_.size() == kMaxTensors) return wrong(str("more than ", kMaxTensors, " tensors"));
    const Storage& storage = storages_[static_cast<size_t>(item(arguments, 0).number)];
    PickledTensor tensor;
    tensor.storage_key = storage.key, tensor.dtype = storage.dtype,
    tensor.storage_elements = storage.elements;
    if (!storage.unread.empty())
      tensor.unread = str("is stored as ", shown_name(storage.unread), "; expected floats or integers");
    if (item(arguments, 1).number < 0) return wrong("a tensor with a negative offset");
    tensor.offset = static_cast<uint64_t>(item(arguments, 1).number);
    RETURN_IF_ERROR(read_dims(item(arguments, 2), tensor.shape));
    RETURN_IF_ERROR(read_dims(item(arguments, 3), tensor.strides));
    if (tensor.shape.size() != tensor.strides.size())
      return wrong("a tensor with other numbers of sizes and strides");
    tensors_.push_back(std::move(tensor));
    return push({.kind = Kind::kTensor, .number = static_cast<int64_t>(tensors_.size() - 1)});
  }
  Status read_dims(const Value& tuple, std::vector<int64_t>& dims) {
    if (tuple.count > kMaxRank) return wrong(str("a tensor of ", tuple.count, " dimensions"));
    for (size_t i = 0; i < tuple.count; ++i) {
      const Value& dim = item(tuple, i);
      if (dim.kind != Kind::kInteger || dim.number < 0) return wrong("a size or stride that is no count");
      dims.push_back(dim.number);
    }
    return Status::ok();
  }

  // State set on a dictionary (the _metadata of a state_dict) or an object is dropped.
  Status build() {
    if (!has(2) || (top(1).kind != Kind::kDict && top(1).kind != Kind::kObject))
      return wrong("state set on something else than a dictionary");
    pop();
    return Status::ok();
  }

  Status persistent() {
    if (!has(1) || top().kind != Kind::kTuple) return wrong("a persistent id that is no tuple");
    Value id = values_[pop()];
    bool sound = id.count == 5 && item(id, 0).kind == Kind::kText && text_of(item(id, 0)) == "storage" &&
                 (item(id, 1).kind == Kind::kGlobal || item(id, 1).kind == Kind::kObject) &&
                 item(id, 2).kind == Kind::kText && item(id, 4).kind == Kind::kInteger &&
                 item(id, 4).number >= 0;
    if (!sound) return wrong("a persistent id other than ('storage', class, key, device, elements)");
    Storage storage{text_of(item(id, 2)), DType::kU8, static_cast<uint64_t>(item(id, 4).number), {}};
    if (item(id, 1).kind == Kind::kObject) {
      storage.unread = text_of(item(id, 1));
    } else {
      const KnownGlobal& known = kGlobals[item(id, 1).number];
      if (known.global != Global::kStorageClass)
        return wrong("a persistent id of a class that is no storage");
      storage.dtype = known.dtype;
    }
    storages_.push_back(storage);
    return push({.kind = Kind::kStorage, .number = static_cast<int64_t>(storages_.size() - 1)});
  }

  // Moves the stack from `begin` (or the innermost mark) on into the container below it.
  Status move_items(size_t begin, bool marked, Kind kind, size_t multiple) {
    if (marked) {
      if (marks_.empty()) return wrong("items without a mark");
      begin = marks_.back();
      marks_.pop_back();
    }
    bool holder = begin > floor() && begin <= stack_.size() && (stack_.size() - begin) % multiple == 0;
    if (holder && values_[stack_[begin - 1]].kind == Kind::kObject) {
      stack_.resize(begin);
      return Status::ok();
    }
    if (!holder || values_[stack_[begin - 1]].kind != kind)
      return wrong(str("items without ", kind_name(kind), " to hold them"));
    auto& items = containers_[static_cast<size_t>(values_[stack_[begin - 1]].number)];
    items.insert(items.end(), stack_.begin() + static_cast<ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    return Status::ok();
  }
  Status set_items(size_t begin, bool marked) { return move_items(begin, marked, Kind::kDict, 2); }
  Status append_items(size_t begin, bool marked) { return move_items(begin, marked, Kind::kList, 1); }

  static std::string shown(const Value& value) {
    return value.kind == Kind::kObject ? str("an object ", shown_name(text_of(value)))
                                       : std::string(kind_name(value.kind));
  }
  bool holds_tensors(const Value& value) const {
    if (value.kind != Kind::kDict) return false;
    const auto& items = containers_[static_cast<size_t>(value.number)];
    return std::any_of(items.begin(), items.end(), [&](Id id) { return values_[id].kind == Kind::kTensor; });
  }

  Result<std::vector<PickledTensor>> collect() {
    if (stack_.size() != 1 || top().kind != Kind::kDict)
      return bad(str("holds ", stack_.empty() ? "nothing" : shown(top()),
                     "; expected a dictionary of tensors (a state_dict)"));
    const auto& items = containers_[static_cast<size_t>(top().number)];
    std::vector<PickledTensor> result;
    std::unordered_set<std::string_view> names;
    std::string inner;  // an entry that holds tensors
    bool any = false;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const Value &key = values_[items[i]], &value = values_[items[i + 1]];
      if (value.kind == Kind::kNone || value.kind == Kind::kInteger || value.kind == Kind::kText) continue;
      if (key.kind != Kind::kText) continue;  // no parameter has such a name
      std::string name = shown_name(text_of(key));
      if (!names.insert(text_of(key)).second) return bad(str("tensor ", name, " stands twice"));
      if (value.kind == Kind::kTensor) {
        result.push_back(tensors_[static_cast<size_t>(value.number)]);
        any = true;
      } else {
        result.emplace_back().unread = str("is ", shown(value), "; expected a tensor");
        if (inner.empty() && holds_tensors(value)) inner = name;
      }
      result.back().name = text_of(key);
    }
    if (any) return result;
    return bad(str("holds no tensors", inner.empty() ? "" : str(" but in its entry ", inner),
                   "; expected a dictionary of tensors",
                   inner.empty() ? " (a state_dict)" : ", save that entry alone"));
  }

  static constexpr Id kNoId = ~Id{0};
  ByteCursor cursor_;
  const std::string& what_;
  std::vector<Value> values_;
  std::vector<Id> stack_, pool_, memo_;
  std::vector<size_t> marks_;
  std::vector<std::vector<Id>> containers_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

Result<std::vector<PickledTensor>> parse_torch_pickle(std::span<const std::byte> pickle,
                                                      const std::string& what) {
  if (pickle.size() > kMaxPickle)
    return Status::error(str(what, ": data.pkl of ", pickle.size(), " bytes; expected at most ", kMaxPickle));
  return Machine(pickle, what).run();
}

}  // namespace mlc
