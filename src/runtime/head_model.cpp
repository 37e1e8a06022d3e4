// One call of one function, and the read of all that it gives.
#include "runtime/head_model.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

constexpr const char* kLogits = "get_logits";
constexpr int64_t kAlignment = 256;  // bytes at which any GPU binds a part of a buffer

}  // namespace

bool HeadModel::is_head(const Module& module) {
  return module.plan().find_function(kLogits) && !module.plan().find_function("embed");
}

Status HeadModel::read_shape() {
  const Module& module = executor_->module();
  ASSIGN_OR_RETURN(vocab_size_, get_int(module.manifest(), "vocab_size", module.path()));
  ASSIGN_OR_RETURN(hidden_size_, get_int(module.manifest(), "hidden_size", module.path()));
  const PlanFunction& f = *module.plan().find_function(kLogits);
  heads_ = static_cast<int64_t>(f.results.size());
  if (f.arguments.size() == 1 && f.arguments[0].name == "hidden_states" && heads_ > 0) return Status::ok();
  return Status::error(str(module.path(), ": function '", kLogits, "' takes ", f.arguments.size(),
                           " inputs, expected hidden_states alone; use a newer mlc_llm"));
}

Status HeadModel::allocate() {
  RETURN_IF_ERROR(executor_->reserve_arena({{kLogits, {.rows = max_rows_}},
                                            {kLogits, {.rows = std::min<int64_t>(max_rows_, 16)}},
                                            {kLogits, {.rows = 1}}}));
  ASSIGN_OR_RETURN(hidden_, OwnedBuffer::allocate(*device_, 4 * max_rows_ * hidden_size_));
  const int64_t bytes = heads_ * stride(max_rows_);
  ASSIGN_OR_RETURN(logits_, OwnedBuffer::allocate(*device_, bytes));
  host_logits_.reserve(static_cast<size_t>(bytes / 4));
  return Status::ok();
}

Result<std::unique_ptr<HeadModel>> HeadModel::load(Device& device, std::shared_ptr<Module> module,
                                                   const std::string& weights_folder, int64_t max_rows,
                                                   const LoadProgress& progress) {
  if (!is_head(*module))
    return Status::error(str(module->path(), " is of a model of type ",
                             find_string(module->manifest(), "model_type").value_or("?"),
                             ", expected a draft head"));
  std::unique_ptr<HeadModel> head(new HeadModel);
  head->device_ = &device;
  head->max_rows_ = max_rows;
  for (const PlanWeight& w : module->plan().weights) head->weight_bytes_ += w.bytes;
  ASSIGN_OR_RETURN(head->weights_, WeightBuffers::load(*module, weights_folder, progress));
  head->executor_ = std::make_unique<Executor>(module, head->weights_->addresses());
  head->executor_->set_states({}, {});
  RETURN_IF_ERROR(head->read_shape());
  RETURN_IF_ERROR(head->allocate());
  return head;
}

int64_t HeadModel::stride(int64_t rows) const {
  return (4 * rows * vocab_size_ + kAlignment - 1) / kAlignment * kAlignment;
}

Status HeadModel::begin(std::span<const float> hidden) {
  rows_ = static_cast<int64_t>(hidden.size()) / hidden_size_;
  internal_check(!running_ && rows_ > 0 && rows_ <= max_rows_ &&
                     static_cast<int64_t>(hidden.size()) == rows_ * hidden_size_,
                 "a draft head's call beside another one, or of no or too many states");
  RETURN_IF_ERROR(device_->copy_in(device_->self, hidden_.address(), std::as_bytes(hidden)));
  std::vector<DeviceAddress> results;
  for (int64_t head = 0; head < heads_; ++head) results.push_back(logits_.address(head * stride(rows_)));
  const DeviceAddress argument = hidden_.address();
  const FunctionCall call{kLogits, {.rows = rows_}, {&argument, 1}, results};
  RETURN_IF_ERROR(executor_->run({&call, 1}));
  host_logits_.resize(static_cast<size_t>(heads_ * stride(rows_) / 4));
  RETURN_IF_ERROR(
      device_->begin_read(device_->self, std::as_writable_bytes(std::span(host_logits_)), logits_.address()));
  running_ = true;
  return Status::ok();
}

Result<bool> HeadModel::poll() {
  internal_check(running_, "poll: no call of the draft head is running");
  auto arrived = device_->poll(device_->self);
  if (!arrived.is_ok() || *arrived) running_ = false;
  return arrived;
}

Status HeadModel::wait() {
  Status waited = device_->sync(device_->self);
  if (!waited.is_ok()) running_ = false;
  return waited;
}

std::span<const float> HeadModel::logits(int64_t head, int64_t row) const {
  internal_check(!running_ && head < heads_ && row < rows_, "logits that no call of a draft head gave");
  return std::span<const float>(host_logits_)
      .subspan(static_cast<size_t>(head * stride(rows_) / 4 + row * vocab_size_),
               static_cast<size_t>(vocab_size_));
}

}  // namespace mlc::runtime
