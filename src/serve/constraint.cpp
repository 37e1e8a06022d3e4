// From a grammar's mask to a request's: its stop tokens.
#include "serve/constraint.h"

#include "base/strings.h"

namespace mlc::serve {
namespace {

Status of_field(const Status& status) {
  return status.is_ok() ? status : Status::error(str("response_format: ", status.message()));
}

}  // namespace

Constraint::Constraint(GrammarMatcher matcher, const GenerationConfig& config)
    : matcher_(std::move(matcher)),
      stops_(config.ignore_eos ? std::vector<int32_t>() : config.stop_token_ids) {}

Result<std::unique_ptr<Constraint>> Constraint::start(const GenerationConfig& config) {
  auto matcher = config.grammar->start();
  if (!matcher.is_ok()) return of_field(matcher.status());
  return std::unique_ptr<Constraint>(new Constraint(std::move(*matcher), config));
}

Status Constraint::prepare() {
  if (prepared_) return Status::ok();
  auto mask = matcher_.mask();
  if (!mask.is_ok()) return of_field(mask.status());
  mask_ = std::move(*mask);
  std::vector<int32_t> named;  // stop tokens that the grammar has as text
  for (int32_t stop : stops_) {
    if (mask_.allows(stop)) named.push_back(stop);
    mask_.set(stop, mask_.may_end);
  }
  if (mask_.empty())
    for (int32_t stop : named) mask_.set(stop, true);
  if (mask_.empty())
    return Status::error("response_format: no token of this model goes on with the text; change the grammar");
  prepared_ = true;
  return Status::ok();
}

Status Constraint::accept(int32_t token) {
  prepared_ = false;
  return of_field(matcher_.accept(token));
}

Result<std::vector<int32_t>> Constraint::forced() {
  auto forced = matcher_.forced();
  if (!forced.is_ok()) return of_field(forced.status());
  return forced;
}

size_t Constraint::valid(std::span<const int32_t> proposals) {
  auto count = matcher_.valid(proposals);
  return count.is_ok() ? *count : 0;  // what is wrong the next mask says too
}

}  // namespace mlc::serve
