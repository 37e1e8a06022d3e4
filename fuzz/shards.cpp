// The index of a folder of converted weights; what it accepts, it must accept again after writing it.
#include "formats/shards.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mlc;
  auto index = parse_shard_index(fuzz::text_of(data, size), fuzz::kFile);
  fuzz::check_status(index.status());
  if (!index.is_ok()) return 0;
  for (const ShardRecord& shard : index->shards)
    for (const TensorRecord& tensor : shard.tensors)
      internal_check(tensor.offset >= 0 && tensor.size >= 0 && tensor.offset <= shard.size - tensor.size,
                     "tensors lie in their shard");
  bool needed = false;
  bf16_twin(*index, needed);
  auto again = parse_shard_index(shard_index_text(*index), fuzz::kFile);
  internal_check(again.is_ok(), "an index that was read can be written and read again");
  return 0;
}
