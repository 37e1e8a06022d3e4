// What a step tells the kernels (frontend/functions.h): the fields of one packed int32 buffer, written and
// uploaded at once (but for block tables behind more than kLongestGap unused bytes, which follow), and
// rotation factors for each row, one array a rope table.
//
// A field is there if a function of the plan has an argument of its name. Where it lies depends on the limits
// that an engine is started with, never on a step, so recorded launches stay valid.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/plan.h"
#include "runtime/dims.h"
#include "runtime/memory.h"
#include "runtime/rope.h"
#include "runtime/sequences/sequence_store.h"

namespace mlc::runtime {

class StepInputs {
 public:
  // For steps of at most `limits`, which are those of the engine; of `pages` those that one sequence has.
  // Errors: a rope table of an unknown kind.
  static Result<StepInputs> create(const Plan& plan, const Json& manifest, const Dims& limits,
                                   const std::string& what);
  // Whether the rows of a sequence can be a tree.
  bool verifies_trees() const { return fields_[kMask].most > 0; }
  // Whether rows see all of their sequence.
  bool bidirectional() const { return bidirectional_; }
  // Positions for which a rolling window has rotations; 0 without one.
  int64_t window_keys() const;

  // On the device; the tables that factors are taken from lie on the host.
  int64_t device_bytes() const;
  int64_t table_bytes(int64_t positions) const;
  // Takes the memory, that of tables for `positions`, and writes what never changes. Filling allocates
  // nothing then.
  Status allocate(Device& device, int64_t positions);

  // Where the argument of that name lies; false: it is no input of a step.
  bool find(std::string_view argument, DeviceAddress& address) const;

  // The inputs of a step over sequences for whose new tokens there is room.
  void fill(const SequenceStore& store, std::span<const StepSequence> sequences);
  Status upload();
  // Of the step that was filled in.
  Dims dims() const;

 private:
  // Fields of block tables are one for each group of paged states. Those of page ids may be by far the
  // largest and come last: what follows their ends is not uploaded.
  enum Field : size_t {
    kInputIds,
    kPositions,
    kTokenTypes,
    kLimits,
    kMask,
    kRowSequence,
    kRowIndptr,
    kSlotIds,
    kLogitPositions,
    kSkipBegin,
    kSkipCount,
    kAdapter,
    kRowSlots,
    kPageIndptr = kRowSlots + kMostGroups,
    kPageIds = kPageIndptr + kMostGroups,
    kFieldCount = kPageIds + kMostGroups,
  };
  static std::string field_name(size_t field);

  // Elements of the packed buffer.
  struct Extent {
    std::string name;
    int64_t first = 0, most = 0;  // most 0: no function has the field
    int64_t used = 0;             // of the running step
  };

  struct Factors {
    RopeTable table;
    int64_t rows = 0, keys = 0;  // of a step at most, of a rolling window; 0: no function has the argument
    std::vector<float> values;   // of the running step
    OwnedBuffer of_rows, of_keys;
  };

  void put(size_t field, int64_t value);
  void put_tables(const SequenceStore& store, SequenceId id, int64_t position, int64_t rows);
  // Bytes that are copied for nothing rather than that a copy of its own begins: some 5 us at 16 GB/s.
  static constexpr int64_t kLongestGap = 64 << 10;
  Status upload(int64_t first, int64_t end);
  void put_factors(int64_t position, int64_t text_length);
  void put_rows(const StepSequence& sequence, int64_t index, int64_t position, int64_t length);

  std::array<Extent, kFieldCount> fields_;
  int64_t size_ = 0;  // elements of the packed buffer
  Dims dims_;
  bool bidirectional_ = false;
  std::vector<Factors> factors_;
  Device* device_ = nullptr;
  OwnedBuffer packed_;
  std::vector<int32_t> host_;    // a copy, where the host does not reach the device's memory
  int32_t* elements_ = nullptr;  // the host's view of the packed buffer
};

}  // namespace mlc::runtime
