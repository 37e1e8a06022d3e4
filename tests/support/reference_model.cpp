// Loads weights as convert_weight would store them and runs graph functions by the interpreter.
#include "support/reference_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "formats/quant/float8.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "formats/quant/reader.h"
#include "frontend/layers/parameters.h"
#include "runtime/rope.h"
#include "support/whole_source.h"

namespace mlc::testing {
namespace {

using frontend::Parameter;
using graph::HostTensor;

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

HostTensor ints(std::vector<int32_t> values) {
  HostTensor t;
  t.dtype = DType::kI32;
  t.shape = {static_cast<int64_t>(values.size())};
  t.ints = std::move(values);
  return t;
}

// The slots of sequences with these first pages; slot 0 is that of the empty text.
std::vector<int32_t> slots_of(std::vector<int32_t> pages) {
  for (int32_t& page : pages) ++page;
  return pages;
}

WholeTensor read_source(const Checkpoint& checkpoint, const std::string& name) {
  const int index = checkpoint.find(name);
  if (index < 0) throw std::runtime_error("checkpoint has no tensor " + name);
  const SourceTensor& tensor = checkpoint.tensors()[static_cast<size_t>(index)];
  std::vector<std::byte> buffer;
  std::span<const std::byte> bytes = checkpoint.read(index, buffer);
  WholeTensor whole{tensor.shape, {}, tensor.dtype};
  whole.values.resize(bytes.size() / static_cast<size_t>(size_of(tensor.dtype)));
  decode_floats(tensor.dtype, bytes.data(), whole.values);
  return whole;
}

// Rows of the tensors side by side, as bytes.
std::vector<std::byte> read_side_by_side(const Checkpoint& checkpoint, const std::vector<std::string>& names,
                                         int64_t rows) {
  std::vector<std::vector<std::byte>> parts;
  for (const std::string& name : names) {
    const int index = checkpoint.find(name);
    if (index < 0) throw std::runtime_error("checkpoint has no tensor " + name);
    std::vector<std::byte> buffer;
    std::span<const std::byte> bytes = checkpoint.read(index, buffer);
    parts.emplace_back(bytes.begin(), bytes.end());
  }
  std::vector<std::byte> all;
  for (int64_t r = 0; r < rows; ++r)
    for (const std::vector<std::byte>& part : parts) {
      const auto row = static_cast<int64_t>(part.size()) / rows;
      all.insert(all.end(), part.begin() + r * row, part.begin() + (r + 1) * row);
    }
  return all;
}

// A weight whose codes come ready in the checkpoint.
std::vector<float> read_packed(const Checkpoint& checkpoint, const Parameter& parameter,
                               const WeightFormat& format) {
  std::vector<std::vector<std::byte>> records;
  for (const FormatRecord& record : format_records(format, parameter.shape)) {
    std::vector<std::string> names = source_names(parameter.source);
    for (std::string& name : names)
      name = name.substr(0, name.size() - std::string("weight").size()) + record.name;
    records.push_back(read_side_by_side(checkpoint, names, record.shape[0]));
  }
  std::vector<std::span<const std::byte>> spans(records.begin(), records.end());
  std::vector<float> values(static_cast<size_t>(parameter.shape[0] * parameter.shape[1]));
  read_weight(format, parameter.shape[0], parameter.shape[1], spans, values);
  return values;
}

// The logical values after quantization by rows. Files hold the scales of float32 schemes as bfloat16.
// `round_products`: code times scale is rounded to the scheme's dtype, as when weights are dequantized into
// it.
void quantize_and_back(const WeightFormat& format, int64_t k, bool round_products,
                       std::vector<float>& values) {
  WeightFormat rows = format;  // one by one, with float32 scales as they are read back
  rows.transposed = false;
  const bool paired = format.zero == WeightFormat::Zero::kPaired;
  std::vector<uint32_t> words(static_cast<size_t>(format.row_bytes(k) / 4));
  std::vector<std::byte> scales(static_cast<size_t>(format.groups(k) * size_of(format.dtype)));
  const std::span<const std::byte> records[] = {std::as_bytes(std::span(words)), scales};
  for (size_t at = 0; at < values.size(); at += static_cast<size_t>(k)) {
    std::span<float> row(values.data() + at, static_cast<size_t>(k));
    quantize_row(format, row, words.data(), scales.data());
    if (format.dtype == DType::kF32 && !paired) {
      std::vector<float> s(static_cast<size_t>(format.groups(k)));
      decode_floats(DType::kF32, scales.data(), s);
      round_floats(DType::kBF16, s);
      encode_floats(DType::kF32, s, scales.data());
    }
    read_weight(rows, 1, k, records, row);
    if (round_products) round_floats(format.dtype, row);
  }
}

// The same of a whole weight, whose rows share scales; kernels never round its products.
void pack_and_read(const WeightFormat& format, int64_t k, std::vector<float>& values) {
  const int64_t n = static_cast<int64_t>(values.size()) / k;
  const std::vector<std::vector<std::byte>> records = pack_float8(format, n, k, values);
  const std::vector<std::span<const std::byte>> spans(records.begin(), records.end());
  read_weight(format, n, k, spans, values);
}

}  // namespace

HostTensor load_parameter(const Checkpoint& checkpoint, const Parameter& parameter, const QuantScheme& scheme,
                          Storage storage) {
  const WeightFormat format = frontend::format_of(parameter, scheme);
  HostTensor t;
  t.shape = parameter.shape;
  if (format.is_quantized() && format.is_imported()) {
    t.floats = read_packed(checkpoint, parameter, format);
    return t;
  }
  WholeTensor whole = evaluate(
      parameter.source, [&](const std::string& name) { return read_source(checkpoint, name); }, format.dtype,
      storage == Storage::kExact);
  if (whole.shape != t.shape)
    throw std::runtime_error(parameter.name + ": the sources do not have the parameter's shape");
  t.floats = std::move(whole.values);
  if (format.is_quantized()) {
    round_floats(scheme.model_dtype, t.floats);
    if (format.is_float8())
      pack_and_read(format, parameter.shape.back(), t.floats);
    else
      quantize_and_back(format, parameter.shape.back(), storage == Storage::kExact, t.floats);
  } else if (storage == Storage::kAsStored) {
    round_floats(format.dtype == DType::kF32 ? DType::kBF16 : format.dtype, t.floats);
  }
  return t;
}

HostTensor reference_rope(const frontend::RopeSpec& spec, const std::vector<int32_t>& positions,
                          const std::vector<int64_t>& text_lengths) {
  runtime::RopeTable table = must(runtime::RopeTable::create(spec.to_json(), "test"));
  HostTensor t;
  t.shape = {static_cast<int64_t>(positions.size()), spec.rotary_dim};
  t.floats.resize(static_cast<size_t>(t.elements()));
  for (size_t r = 0; r < positions.size(); ++r)
    table.factors(positions[r], text_lengths[r], t.floats.data() + r * static_cast<size_t>(spec.rotary_dim));
  return t;
}

ReferenceModel::ReferenceModel(const std::string& source, const std::string& scheme_name, Storage storage,
                               int64_t pages) {
  const std::unique_ptr<Checkpoint> checkpoint = must(Checkpoint::open(source));
  const Json hf =
      checkpoint->gguf() ? must(checkpoint->gguf_config()) : must(read_json_file(source + "/config.json"));
  config_ = must(frontend::parse_hf_config(hf, "auto", source));
  if (config_.packing)
    if (const Status status = checkpoint->add_packed(*config_.packing); !status.is_ok())
      throw std::runtime_error(status.message());
  const QuantScheme scheme = must(find_quant_scheme(scheme_name));
  built_ = frontend::build_model(config_, scheme);
  for (const Parameter& parameter : built_.parameters)
    parameters_[parameter.name] = load_parameter(*checkpoint, parameter, scheme, storage);
  states_ = graph::make_states(*built_.module, pages, pages + 1);
  for (auto& [name, state] : states_) {
    std::fill(state.values.begin(), state.values.end(), std::nanf(""));
    for (int64_t layer = 0; layer < state.slots.layers; ++layer)
      std::fill_n(state.values.begin() + layer * state.pages * state.slots.slot_elements(),
                  state.slots.slot_elements(), 0.0f);
  }
}

HostTensor ReferenceModel::run(const std::string& function, std::map<std::string, HostTensor> arguments,
                               const std::vector<SequenceStep>& steps) {
  std::vector<int64_t> text_lengths;
  std::vector<int32_t> positions, limits, row_sequence, row_slots, page_indptr = {0}, page_ids;
  std::vector<int32_t> row_indptr = {0}, first_pages;
  for (size_t s = 0; s < steps.size(); ++s) {
    for (size_t i = 0; i < steps[s].tokens.size(); ++i) {
      const int32_t position = steps[s].start + static_cast<int32_t>(i);
      positions.push_back(position);
      limits.push_back(frontend::is_encoder(config_)
                           ? steps[s].start + static_cast<int32_t>(steps[s].tokens.size())
                           : position + 1);
      text_lengths.push_back(steps[s].start + static_cast<int64_t>(steps[s].tokens.size()));
      row_sequence.push_back(static_cast<int32_t>(s));
      row_slots.push_back(steps[s].pages.at(static_cast<size_t>(position / 16)) * 16 + position % 16);
    }
    page_ids.insert(page_ids.end(), steps[s].pages.begin(), steps[s].pages.end());
    page_indptr.push_back(static_cast<int32_t>(page_ids.size()));
    row_indptr.push_back(static_cast<int32_t>(positions.size()));
    first_pages.push_back(steps[s].pages.front());
    if (steps[s].start == 0) copy_slots({0}, slots_of({first_pages.back()}));
  }
  if (!steps.empty()) {
    const std::vector<frontend::RopeSpec> ropes = frontend::rope_specs(config_);
    for (size_t i = 0; i < ropes.size(); ++i)
      if (ropes[i].rotary_dim > 0)
        arguments["rope_factors" + (i ? "_" + std::to_string(i) : "")] =
            reference_rope(ropes[i], positions, text_lengths);
    arguments["positions"] = ints(positions);
    arguments["token_types"] = ints(std::vector<int32_t>(positions.size()));
    arguments["limits"] = ints(limits);
    arguments["row_sequence"] = ints(row_sequence);
    arguments["row_slots"] = ints(row_slots);
    arguments["page_indptr"] = ints(page_indptr);
    arguments["page_ids"] = ints(page_ids);
    arguments["row_indptr"] = ints(row_indptr);
    arguments["slot_ids"] = ints(slots_of(first_pages));
  }
  auto provide = [&](const std::string& name) -> const HostTensor& { return parameters_.at(name); };
  std::vector<HostTensor> results = graph::interpret(*built_.module, function, arguments, provide, states_);
  return results.empty() ? HostTensor{} : std::move(results[0]);
}

HostTensor ReferenceModel::step(const std::string& function, const std::vector<SequenceStep>& steps,
                                std::vector<int32_t> logit_positions) {
  std::vector<int32_t> ids;
  for (const SequenceStep& s : steps) ids.insert(ids.end(), s.tokens.begin(), s.tokens.end());
  std::map<std::string, HostTensor> arguments;
  arguments["input_embeds"] = run("embed", {{"input_ids", ints(ids)}});
  if (!logit_positions.empty()) arguments["logit_positions"] = ints(std::move(logit_positions));
  return run(function, std::move(arguments), steps);
}

void ReferenceModel::copy_pages(std::vector<int32_t> sources, std::vector<int32_t> targets) {
  copy_slots(slots_of(sources), slots_of(targets));
  if (built_.module->states.empty()) return;
  run("copy_pages", {{"source_pages", ints(std::move(sources))}, {"target_pages", ints(std::move(targets))}});
}

void ReferenceModel::copy_slots(std::vector<int32_t> sources, std::vector<int32_t> targets) {
  if (built_.module->slot_states.empty()) return;
  run("copy_slots", {{"source_slots", ints(std::move(sources))}, {"target_slots", ints(std::move(targets))}});
}

double relative_rms(const float* a, const float* b, size_t count) {
  double difference = 0, reference = 0;
  for (size_t i = 0; i < count; ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    reference += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / reference);
}

}  // namespace mlc::testing
