// The conversion: workers take blocks in order; whoever completes a shard closes it.
#include "weights/convert.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "base/threads.h"
#include "formats/md5.h"
#include "weights/block.h"
#include "weights/journal.h"

namespace mlc::weights {
namespace {

// One shard being written. Created at its first write, committed after its last.
struct OpenShard {
  std::unique_ptr<AtomicFile> file;
  std::atomic<int64_t> bytes_left{0};
  bool kept = false;  // finished by an earlier run
};

// The blocks of a parameter that are not done, and the transposed arrays of a KN format until then.
struct OpenParameter {
  std::atomic<int64_t> blocks_left{0};
  std::once_flag allocated, measured;
  std::vector<std::byte> weight, scale;
  float largest = 0;  // magnitude, where rows share a scale
};

// What stands for the scale of inputs until `mlc_llm calibrate` has measured it: bfloat16, as all floats.
std::vector<std::byte> input_scale_of_one() { return {std::byte{0x80}, std::byte{0x3F}}; }

class Conversion {
 public:
  Conversion(Plan& plan, const Checkpoint& checkpoint, std::string folder, const ConvertOptions& options)
      : plan_(plan),
        checkpoint_(checkpoint),
        folder_(std::move(folder)),
        options_(options),
        shards_(plan.index.shards.size()),
        parameters_(plan.parameters.size()) {}

  Result<ConvertResult> run() {
    ASSIGN_OR_RETURN(
        journal_,
        Journal::open(folder_, conversion_fingerprint(plan_, checkpoint_) + options_.choice, plan_));
    ConvertResult result{static_cast<int>(journal_->finished().size())};
    if (result.kept_shards == 0) remove_indices();
    std::vector<Block> blocks = make_blocks();
    parallel_for(options_.threads, static_cast<int64_t>(blocks.size()), [&](int64_t i) {
      static thread_local BlockBuffers buffers;
      if (!failed_) fail_if(convert_one(blocks[static_cast<size_t>(i)], buffers));
      if (!failed_) fail_if(hash_finished(2 * kMd5Lanes));
    });
    if (failed_) return failure_;
    RETURN_IF_ERROR(hash_rest());
    RETURN_IF_ERROR(write_shard_index(folder_, plan_.index));
    journal_->remove();
    result.notes = non_finite_notes(irregular_, checkpoint_);
    return result;
  }

 private:
  // An older index must not describe a mixture of old and new shards.
  void remove_indices() {
    for (const char* name : {"tensor-cache", "ndarray-cache"})
      for (const char* end : {".json", "-b16.json"})
        platform::remove_file(path_join(folder_, str(name, end)).c_str());
  }

  std::vector<Block> make_blocks() {
    for (size_t s = 0; s < shards_.size(); ++s) {
      const ShardRecord& shard = plan_.index.shards[s];
      shards_[s].kept = journal_->finished().contains(shard.file);
      shards_[s].bytes_left = shard.size;
      if (shards_[s].kept) {
        finished_.push_back(s);
        if (options_.progress) options_.progress(shard.size);
      }
    }
    std::vector<Block> blocks;
    for (size_t p = 0; p < plan_.parameters.size(); ++p) {
      const ParameterPlan& parameter = plan_.parameters[p];
      if (is_kept(parameter)) continue;
      for (int64_t row = 0; row < parameter.rows; row += parameter.block_rows) {
        blocks.push_back({p, row, std::min(row + parameter.block_rows, parameter.rows)});
        ++parameters_[p].blocks_left;
      }
    }
    return spread_over_shards(std::move(blocks));
  }

  // Threads take blocks in order, and two that write to one file wait for each other in the kernel: as many
  // shards as there are threads take turns. Transposed formats hold whole parameters in memory until their
  // last block, so their order stays.
  std::vector<Block> spread_over_shards(std::vector<Block> blocks) const {
    std::vector<std::vector<Block>> by_shard;
    size_t last = SIZE_MAX;
    for (const Block& block : blocks) {
      const ParameterPlan& p = plan_.parameters[block.parameter];
      if (p.format.transposed) return blocks;
      if (p.places[0].shard != last) by_shard.emplace_back();
      last = p.places[0].shard;
      by_shard.back().push_back(block);
    }
    std::vector<Block> spread;
    size_t threads = static_cast<size_t>(options_.threads);
    for (size_t first = 0; first < by_shard.size(); first += threads)
      for (size_t turn = 0, taken = 1; taken > 0; ++turn) {
        taken = 0;
        for (size_t s = first; s < std::min(first + threads, by_shard.size()); ++s)
          if (turn < by_shard[s].size()) spread.push_back(by_shard[s][turn]), ++taken;
      }
    return spread;
  }

  bool is_kept(const ParameterPlan& p) const {
    return std::ranges::all_of(p.places, [&](RecordPlace place) { return shards_[place.shard].kept; });
  }

  void add_irregular(const std::map<int, NonFinite>& found) {
    if (found.empty()) return;
    std::lock_guard lock(mutex_);
    for (const auto& [tensor, counts] : found) irregular_[tensor].add(counts);
  }

  Status convert_one(const Block& block, BlockBuffers& buffers) {
    const ParameterPlan& p = plan_.parameters[block.parameter];
    OpenParameter& open = parameters_[block.parameter];
    if (needs_largest(p)) std::call_once(open.measured, [&] { open.largest = find_largest(p, checkpoint_); });
    convert_block(p, checkpoint_, block, buffers, options_.quantizer, open.largest);
    RETURN_IF_ERROR(buffers.status);
    add_irregular(buffers.irregular);
    if (p.format.transposed) {
      std::call_once(open.allocated, [&] {
        open.weight.resize(static_cast<size_t>(plan_.record(p.places[0]).size));
        open.scale.resize(static_cast<size_t>(plan_.record(p.places[1]).size));
      });
      transpose(buffers.weight, p, block, size_of(p.format.container), open.weight);
      transpose(buffers.scale, p, block, size_of(plan_.record(p.places[1]).stored_dtype()), open.scale);
    } else {
      RETURN_IF_ERROR(write_rows(p, 0, block, buffers.weight));
      if (p.places.size() > 1) RETURN_IF_ERROR(write_rows(p, 1, block, buffers.scale));
      if (p.places.size() > 2 && block.row_begin == 0)
        RETURN_IF_ERROR(write(p.places[2], 0, input_scale_of_one()));
    }
    if (--open.blocks_left > 0) return Status::ok();
    for (int index : p.sources) checkpoint_.release(index);
    if (p.format.transposed) {
      RETURN_IF_ERROR(write(p.places[0], 0, open.weight));
      RETURN_IF_ERROR(write(p.places[1], 0, open.scale));
      std::vector<std::byte>().swap(open.weight);
      std::vector<std::byte>().swap(open.scale);
    }
    return Status::ok();
  }

  // Puts rows [block rows, columns] of `item` bytes into the columns of to[columns, all rows].
  static void transpose(const std::vector<std::byte>& from, const ParameterPlan& p, const Block& block,
                        int item, std::vector<std::byte>& to) {
    auto move = [&]<typename T>(T) {
      const T* source = reinterpret_cast<const T*>(from.data());
      T* target = reinterpret_cast<T*>(to.data());
      int64_t rows = block.row_end - block.row_begin,
              columns = static_cast<int64_t>(from.size() / sizeof(T)) / rows;
      for (int64_t c = 0; c < columns; ++c)
        for (int64_t r = 0; r < rows; ++r) target[c * p.rows + block.row_begin + r] = source[r * columns + c];
    };
    if (item == 4)
      move(uint32_t{});
    else
      move(uint16_t{});
  }

  // What a block has of record `index`: codes or scales, which rows may share.
  Status write_rows(const ParameterPlan& p, size_t index, const Block& block,
                    const std::vector<std::byte>& bytes) {
    const RecordPlace place = p.places[index];
    const bool shared = index == 1 && p.format.group_n != 1;
    const int64_t rows = shared ? p.format.scale_rows(p.rows) : p.rows;
    const int64_t row = !shared ? block.row_begin : p.format.group_n ? block.row_begin / p.format.group_n : 0;
    return write(place, plan_.record(place).size / std::max<int64_t>(1, rows) * row, bytes);
  }

  Status write(RecordPlace place, int64_t offset, const std::vector<std::byte>& bytes) {
    OpenShard& shard = shards_[place.shard];
    if (shard.kept || bytes.empty()) return Status::ok();
    ASSIGN_OR_RETURN(AtomicFile * file, open_file(place.shard));
    RETURN_IF_ERROR(file->write_at(plan_.record(place).offset + offset, bytes));
    if (options_.progress) options_.progress(static_cast<int64_t>(bytes.size()));
    if ((shard.bytes_left -= static_cast<int64_t>(bytes.size())) > 0) return Status::ok();
    RETURN_IF_ERROR(file->commit());
    std::lock_guard lock(mutex_);
    shard.file.reset();
    finished_.push_back(place.shard);
    return journal_->add(plan_.index.shards[place.shard].file);
  }

  Result<AtomicFile*> open_file(size_t shard) {
    std::lock_guard lock(mutex_);
    if (!shards_[shard].file) {
      ASSIGN_OR_RETURN(shards_[shard].file,
                       AtomicFile::create(path_join(folder_, plan_.index.shards[shard].file)));
    }
    return shards_[shard].file.get();
  }

  Status hash(const std::vector<size_t>& shards) {
    std::vector<std::string> paths;
    for (size_t s : shards) paths.push_back(path_join(folder_, plan_.index.shards[s].file));
    ASSIGN_OR_RETURN(std::vector<std::string> digests, md5_files(paths));
    for (size_t i = 0; i < shards.size(); ++i) plan_.index.shards[shards[i]].md5 = digests[i];
    return Status::ok();
  }

  // Digests finished shards, a full set of lanes at a time, once `enough` wait: soon after they were written,
  // while the system still has their pages.
  Status hash_finished(size_t enough) {
    std::vector<size_t> batch;
    {
      std::lock_guard lock(mutex_);
      if (finished_.size() < enough) return Status::ok();
      batch.assign(finished_.end() - kMd5Lanes, finished_.end());
      finished_.resize(finished_.size() - kMd5Lanes);
    }
    return hash(batch);
  }

  // The shards that are left, longest first, dealt to the threads.
  Status hash_rest() {
    std::vector<size_t>& rest = finished_;
    std::sort(rest.begin(), rest.end(),
              [&](size_t a, size_t b) { return plan_.index.shards[a].size > plan_.index.shards[b].size; });
    size_t lots =
        std::max<size_t>(static_cast<size_t>(options_.threads), (rest.size() + kMd5Lanes - 1) / kMd5Lanes);
    parallel_for(options_.threads, static_cast<int64_t>(lots), [&](int64_t lot) {
      std::vector<size_t> batch;
      for (size_t i = static_cast<size_t>(lot); i < rest.size(); i += lots) batch.push_back(rest[i]);
      fail_if(hash(batch));
    });
    return failure_;
  }

  void fail_if(Status status) {
    if (status.is_ok()) return;
    std::lock_guard lock(mutex_);
    if (!failed_) failure_ = std::move(status);
    failed_ = true;
  }

  Plan& plan_;
  const Checkpoint& checkpoint_;
  std::string folder_;
  const ConvertOptions& options_;
  std::unique_ptr<Journal> journal_;
  std::vector<OpenShard> shards_;
  std::vector<OpenParameter> parameters_;
  std::mutex mutex_;                    // of files, finished_, irregular_, failure_
  std::vector<size_t> finished_;        // shards that wait for their digest
  std::map<int, NonFinite> irregular_;  // by tensor of the checkpoint
  std::atomic<bool> failed_{false};
  Status failure_;
};

}  // namespace

Result<ConvertResult> convert(Plan& plan, const Checkpoint& checkpoint, const std::string& folder,
                              const ConvertOptions& options) {
  RETURN_IF_ERROR(make_directories(folder));
  return Conversion(plan, checkpoint, folder, options).run();
}

}  // namespace mlc::weights
