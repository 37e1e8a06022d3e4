// Lays out, fills and uploads what a step tells the kernels.
#include "runtime/step_inputs.h"

#include <algorithm>
#include <bit>
#include <map>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

// Fields begin where any GPU binds a part of a buffer (Vulkan's largest minimum is 256 bytes).
constexpr int64_t kAlignment = 256 / sizeof(int32_t);

// Elements along the first axis that an argument of some function has within the limits; 0: none has it.
Result<int64_t> extent_of(const Plan& plan, const std::string& argument, const Dims& limits,
                          const std::string& what) {
  std::map<std::string, int64_t> values;
  for (const Symbol& s : kSymbols) values.emplace(s.name, limits.*s.value);
  int64_t most = 0;
  for (const PlanFunction& f : plan.functions)
    for (const PlanTensor& a : f.arguments) {
      if (a.name != argument || a.shape.empty()) continue;
      auto count = plan.expressions[a.shape[0]].evaluate(values);
      if (!count || *count < 0)
        return Status::error(str(what, ": the input '", argument, "' of function '", f.name,
                                 "' has no size for ", limits.rows,
                                 " rows; the library is damaged, compile the model again"));
      most = std::max(most, *count);
    }
  return most;
}

// Which are one of each, of a group of paged states.
constexpr const char* kOfGroups[] = {"row_slots", "page_indptr", "page_ids"};

std::string table_name(const char* name, size_t table) { return table == 0 ? name : str(name, "_", table); }

}  // namespace

std::string StepInputs::field_name(size_t field) {
  static constexpr const char* kNames[] = {
      "input_ids",  "positions", "token_types",     "limits",     "mask",       "row_sequence",
      "row_indptr", "slot_ids",  "logit_positions", "skip_begin", "skip_count", "adapter"};
  static_assert(sizeof kNames / sizeof *kNames == kRowSlots);
  if (field < kRowSlots) return kNames[field];
  const size_t of_groups = field - kRowSlots;
  return of_group(kOfGroups[of_groups / kMostGroups], static_cast<int64_t>(of_groups % kMostGroups));
}

Result<StepInputs> StepInputs::create(const Plan& plan, const Json& manifest, const Dims& limits,
                                      const std::string& what) {
  StepInputs inputs;
  inputs.bidirectional_ = find_string(manifest, "attention") == "bidirectional";
  for (size_t f = 0; f < kFieldCount; ++f) {
    Extent& e = inputs.fields_[f];
    e.name = field_name(f);
    ASSIGN_OR_RETURN(e.most, extent_of(plan, e.name, limits, what));
    // Each sequence has a table of its own, though they may share pages.
    if (f >= kPageIds) e.most *= limits.batch;
    e.first = inputs.size_;
    inputs.size_ += (e.most + kAlignment - 1) / kAlignment * kAlignment;
  }
  const Json* ropes = mlc::find(manifest, "rope");
  if (!ropes || !ropes->is_array())
    return Status::error(what +
                         ": the manifest's key 'rope' is no list of rope tables; compile the model again");
  for (size_t i = 0; i < ropes->size(); ++i) {
    Factors& factors = inputs.factors_.emplace_back();
    ASSIGN_OR_RETURN(factors.table, RopeTable::create((*ropes)[i], what));
    ASSIGN_OR_RETURN(factors.rows, extent_of(plan, table_name("rope_factors", i), limits, what));
    ASSIGN_OR_RETURN(factors.keys, extent_of(plan, table_name("key_factors", i), limits, what));
  }
  return inputs;
}

int64_t StepInputs::window_keys() const {
  for (const Factors& f : factors_)
    if (f.keys > 0) return f.keys;
  return 0;
}

int64_t StepInputs::device_bytes() const {
  int64_t bytes = 4 * size_;
  for (const Factors& f : factors_) bytes += 4 * (f.rows + f.keys) * f.table.rotary_dim();
  return bytes;
}

int64_t StepInputs::table_bytes(int64_t positions) const {
  int64_t bytes = 0;
  for (const Factors& f : factors_)
    if (f.table.rotary_dim() > 0) bytes += f.table.table_bytes(positions);
  return bytes;
}

Status StepInputs::allocate(Device& device, int64_t positions) {
  device_ = &device;
  ASSIGN_OR_RETURN(packed_, OwnedBuffer::allocate(device, 4 * size_));
  if (device.properties.host_memory)
    elements_ = static_cast<int32_t*>(packed_.address().handle);
  else
    host_.resize(static_cast<size_t>(size_)), elements_ = host_.data();
  for (Factors& f : factors_) {
    const int64_t width = f.table.rotary_dim();
    if (width == 0) continue;
    f.table.reserve(positions);
    f.values.reserve(static_cast<size_t>(f.rows * width));
    ASSIGN_OR_RETURN(f.of_rows, OwnedBuffer::allocate(device, 4 * f.rows * width));
    if (f.keys == 0) continue;
    ASSIGN_OR_RETURN(f.of_keys, OwnedBuffer::allocate(device, 4 * f.keys * width));
    std::vector<float> keys(static_cast<size_t>(f.keys * width));
    for (int64_t i = 0; i < f.keys; ++i) f.table.factors(i, f.keys, keys.data() + i * width);
    RETURN_IF_ERROR(device.copy_in(device.self, f.of_keys.address(), std::as_bytes(std::span(keys))));
  }
  return Status::ok();
}

bool StepInputs::find(std::string_view argument, DeviceAddress& address) const {
  if (const auto field = std::ranges::find(fields_, argument, &Extent::name); field != fields_.end()) {
    address = packed_.address(4 * field->first);
    return true;
  }
  for (size_t i = 0; i < factors_.size(); ++i) {
    const bool keys = argument == table_name("key_factors", i);
    if (!keys && argument != table_name("rope_factors", i)) continue;
    address = (keys ? factors_[i].of_keys : factors_[i].of_rows).address();
    return true;
  }
  return false;
}

void StepInputs::put(size_t field, int64_t value) {
  Extent& e = fields_[field];
  if (e.most == 0) return;
  internal_check(e.used < e.most, "a step's input is larger than planned");
  elements_[e.first + e.used++] = static_cast<int32_t>(value);
}

void StepInputs::put_factors(int64_t position, int64_t text_length) {
  for (Factors& f : factors_) {
    if (f.rows == 0) continue;
    const auto width = static_cast<size_t>(f.table.rotary_dim());
    f.values.resize(f.values.size() + width);
    // Keys that are rotated when they are met are so as in a text as long as the window can be.
    f.table.factors(position, f.keys > 0 ? f.keys : text_length, f.values.data() + f.values.size() - width);
  }
}

void StepInputs::fill(const SequenceStore& store, std::span<const StepSequence> sequences) {
  for (Extent& e : fields_) e.used = 0;
  for (Factors& f : factors_) f.values.clear();
  dims_ = {.batch = static_cast<int64_t>(sequences.size())};
  put(kRowIndptr, 0);
  for (size_t g = 0; g < store.groups(); ++g) put(kPageIndptr + g, 0);
  for (size_t s = 0; s < sequences.size(); ++s) {
    const SequenceId id = sequences[s].id;
    const auto rows = static_cast<int64_t>(sequences[s].tokens.size());
    const int64_t length = store.attended(id);
    int64_t position = length - rows;
    put_tables(store, id, position, rows);
    put_rows(sequences[s], static_cast<int64_t>(s), position, length);
    dims_.rows += rows;
    put(kRowIndptr, dims_.rows);
    put(kSlotIds, store.slot(id));
    for (int64_t row = dims_.rows - sequences[s].wanted; row < dims_.rows; ++row) put(kLogitPositions, row);
    dims_.wanted += sequences[s].wanted;
  }
}

// The rows of one sequence, whose first new token has that position, and which has `length` tokens then.
void StepInputs::put_rows(const StepSequence& sequence, int64_t index, int64_t position, int64_t length) {
  std::array<uint32_t, kMostTreeTokens> masks{};  // of the rows of a tree
  for (int64_t i = 0; i < static_cast<int64_t>(sequence.tokens.size()); ++i) {
    int64_t depth = i;
    if (const auto at = static_cast<size_t>(i); !sequence.parents.empty()) {
      // A row sees its parent and what that sees: the rows between them are hidden.
      const int64_t parent = sequence.parents[at], between = i - parent - 1;
      const uint32_t seen_by_parent = parent < 0 ? 0 : masks[static_cast<size_t>(parent)];
      masks[at] = ((1u << between) - 1) << 1 | seen_by_parent << (between + 1);
      depth = i - std::popcount(masks[at]);
    }
    put(kInputIds, sequence.tokens[static_cast<size_t>(i)]);
    put(kPositions, position + depth);
    put(kTokenTypes, 0);
    put(kLimits, bidirectional_ ? length : position + i + 1);
    put(kMask, sequence.parents.empty() ? 0 : static_cast<int64_t>(masks[static_cast<size_t>(i)]));
    put(kRowSequence, index);
    put(kAdapter, sequence.adapter);
    // What is proposed is rotated as if the text ended there: so it is if it does.
    put_factors(position + depth, sequence.proposed ? position + depth + 1 : length);
  }
}

// Of each group: where the rows from `position` on go, and the pages of their sequence.
void StepInputs::put_tables(const SequenceStore& store, SequenceId id, int64_t position, int64_t rows) {
  for (size_t g = 0; g < store.groups(); ++g) {
    const BlockTable& table = store.table(g, id);
    const PagePool& pool = store.pool(g);
    for (int64_t i = 0; i < rows; ++i) put(kRowSlots + g, pool.slot(table, position + i));
    // Nobody reads a freed page, but its id is one that may be read.
    for (int32_t page : table.pages) put(kPageIds + g, page == kFreedPage ? 0 : page);
    int64_t& pages = dims_.*kPagesOf[g];
    put(kPageIndptr + g, pages += static_cast<int64_t>(table.pages.size()));
    if (g > 0) continue;
    put(kSkipBegin, pool.limits().sliding.sinks);
    put(kSkipCount, table.skip);
  }
}

Status StepInputs::upload(int64_t first, int64_t end) {
  if (host_.empty() || first == end) return Status::ok();
  return device_->copy_in(
      device_->self, packed_.address(4 * first),
      std::as_bytes(std::span(host_).subspan(static_cast<size_t>(first), static_cast<size_t>(end - first))));
}

Status StepInputs::upload() {
  int64_t first = 0, end = 0;
  for (const Extent& e : fields_) {
    if (e.used == 0) continue;
    if (4 * (e.first - end) > kLongestGap) {
      RETURN_IF_ERROR(upload(first, end));
      first = e.first;
    }
    end = e.first + e.used;
  }
  RETURN_IF_ERROR(upload(first, end));
  for (const Factors& f : factors_)
    if (!f.values.empty())
      RETURN_IF_ERROR(
          device_->copy_in(device_->self, f.of_rows.address(), std::as_bytes(std::span(f.values))));
  return Status::ok();
}

Dims StepInputs::dims() const { return dims_; }

}  // namespace mlc::runtime
