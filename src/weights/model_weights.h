// The weights of a model as f32 rows, wherever they lie: read when they are asked for, so that of a model one
// weight, or a part of one, is in memory at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "formats/shards.h"
#include "frontend/model.h"
#include "graph/ops/registry.h"
#include "weights/block.h"
#include "weights/plan.h"

namespace mlc::weights {

class ModelWeights {
 public:
  explicit ModelWeights(int threads) : threads_(threads) {}
  virtual ~ModelWeights() = default;
  ModelWeights(const ModelWeights&) = delete;
  ModelWeights& operator=(const ModelWeights&) = delete;

  // A row is the last axis; a vector's rows are its elements.
  struct Shape {
    std::vector<int64_t> dims;
    int64_t rows = 0, row_size = 0;
    int64_t parts() const { return dims.size() > 2 ? dims[0] : 1; }  // experts of a stack
  };
  // Internal error for a name that the model has not.
  virtual const Shape& shape(const std::string& name) const = 0;
  // The weight's pages will not be needed again soon.
  virtual void release(const std::string& name) const = 0;

  // Rows [begin, end), read on all threads.
  std::vector<float> rows(const std::string& name, int64_t begin, int64_t end) const;
  graph::HostTensor whole(const std::string& name) const;
  // Rows of a table by id; ids that it has not are brought into it.
  graph::HostTensor take(const std::string& name, std::span<const int32_t> ids) const;

 protected:
  // Any thread.
  virtual void read(const std::string& name, int64_t begin, int64_t end,
                    std::vector<float>& values) const = 0;
  int threads() const { return threads_; }

 private:
  int threads_;
};

// Those of a checkpoint, as the parameters of a conversion's plan. Both must outlive it.
class SourceWeights : public ModelWeights {
 public:
  SourceWeights(const Plan& plan, const Checkpoint& checkpoint, int threads);

  const ParameterPlan& find(const std::string& name) const;
  const Shape& shape(const std::string& name) const override;
  void release(const std::string& name) const override;
  const Checkpoint& checkpoint() const { return checkpoint_; }

 protected:
  void read(const std::string& name, int64_t begin, int64_t end, std::vector<float>& values) const override;

 private:
  const Checkpoint& checkpoint_;
  struct Entry {
    const ParameterPlan* plan;
    Shape shape;
  };
  std::unordered_map<std::string, Entry> by_name_;
};

// Those of a folder of converted weights, as kernels meet them: code times scale, not rounded again.
class FolderWeights : public ModelWeights {
 public:
  // The parameters of a model in `scheme`. Errors: a record is missing or has another shape or dtype.
  static Result<std::unique_ptr<FolderWeights>> open(const std::string& folder,
                                                     const std::vector<frontend::Parameter>& parameters,
                                                     const QuantScheme& scheme, int threads);

  const Shape& shape(const std::string& name) const override;
  void release(const std::string& name) const override;

 protected:
  void read(const std::string& name, int64_t begin, int64_t end, std::vector<float>& values) const override;

 private:
  explicit FolderWeights(int threads) : ModelWeights(threads) {}
  struct Entry {
    Shape shape;
    WeightFormat format;
    std::vector<const TensorRecord*> records;  // in the order of format_records()
  };
  Result<Entry> find_records(const frontend::Parameter& parameter, const WeightFormat& format,
                             DType plain) const;
  const Entry& entry(const std::string& name) const;
  void read_quantized(const Entry& entry, int64_t begin, int64_t end, std::vector<float>& values) const;

  std::unique_ptr<Shards> shards_;
  std::unordered_map<std::string, Entry> by_name_;
};

}  // namespace mlc::weights
