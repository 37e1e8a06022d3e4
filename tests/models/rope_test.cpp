// Rotation factors of every kind of rope_scaling, from config.json to the runtime's table, against
// transformers.
#include "runtime/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/strings.h"
#include "frontend/config.h"
#include "frontend/model.h"
#include "support/compiled_model.h"
#include "support/toys.h"

namespace mlc::testing {
namespace {

Json cases() { return must(read_json_file(std::string(MLC_SOURCE_DIR) + "/tests/data/models/rope.json")); }

// The llama toy, rotated as a case says.
frontend::ModelConfig parsed(const Json& keys) {
  Json hf = must(read_json_file(toy_file("llama", "config.json")));
  for (const char* key : {"rope_theta", "rope_scaling", "rope_parameters"}) hf.erase(key);
  hf.update(keys);
  return must(frontend::parse_hf_config(hf, "auto", "config.json"));
}

// Factors at `position` against transformers' frequencies, which are float32: an error of 8 * 2^-24 of a
// frequency (its power and a few divisions) is one of position * frequency * 2^-21 of the angle; a factor is
// rounded too.
void expect_factors(const std::vector<float>& got, const Json& text, int64_t position,
                    const std::string& what) {
  const Json& frequencies = text["inv_freq"];
  const double a = text["attention_factor"];
  const size_t half = frequencies.size();
  ASSERT_EQ(got.size(), 2 * half) << what;
  for (size_t d = 0; d < half; ++d) {
    const double angle = static_cast<double>(position) * frequencies[d].get<double>();
    const double bound = a * (std::fabs(angle) * std::ldexp(1, -21) + std::ldexp(1, -23));
    EXPECT_NEAR(got[d], a * std::cos(angle), bound) << what << ", cosine " << d;
    EXPECT_NEAR(got[half + d], a * std::sin(angle), bound) << what << ", sine " << d;
  }
}

TEST(Rope, FactorsAreTransformers) {
  const Json all = cases();
  ASSERT_GT(all.size(), 80u);
  for (const Json& one : all) {
    const frontend::RopeSpec spec = frontend::rope_spec(parsed(one["config"]));
    runtime::RopeTable table = must(runtime::RopeTable::create(spec.to_json(), "library"));
    std::vector<float> row(static_cast<size_t>(spec.rotary_dim));
    for (const auto& [key, text] : one["texts"].items()) {
      const int64_t length = std::stoll(key);
      for (int64_t position : {int64_t{0}, int64_t{1}, length / 2, length - 1}) {
        if (position >= length) continue;
        table.factors(position, length, row.data());
        expect_factors(row, text, position,
                       str(json_text(one["config"]), " position ", position, " of ", length));
      }
    }
    EXPECT_EQ(table.depends_on_length(), one["texts"].size() > 2) << json_text(one["config"]);
  }
}

// A table answers in any order, and for texts that grow and shrink.
TEST(Rope, OrderDoesNotMatter) {
  for (const Json& one : cases()) {
    const Json spec = frontend::rope_spec(parsed(one["config"])).to_json();
    runtime::RopeTable used = must(runtime::RopeTable::create(spec, "library"));
    used.reserve(64);
    std::vector<float> a(static_cast<size_t>(used.rotary_dim())), b = a;
    for (int64_t length : {100, 3, 64, 20, 100, 17, 16, 40})
      for (int64_t position : {length - 1, int64_t{0}, length / 2}) {
        used.factors(position, length, a.data());
        must(runtime::RopeTable::create(spec, "library")).factors(position, length, b.data());
        ASSERT_EQ(a, b) << json_text(spec) << " position " << position << " of " << length;
      }
  }
}

TEST(Rope, TablesTakeTheMemoryThatIsAnnounced) {
  auto bytes = [](const Json& scaling, int64_t positions) {
    const Json spec = {
        {"kind", scaling["rope_type"]}, {"rotary_dim", 4}, {"theta", 10000.0}, {"scaling", scaling}};
    return must(runtime::RopeTable::create(spec, "library")).table_bytes(positions);
  };
  const Json longrope = {{"rope_type", "longrope"},
                         {"short_factor", {1, 1}},
                         {"long_factor", {2, 4}},
                         {"original_max_position_embeddings", 32},
                         {"max_position_embeddings", 128}};
  const Json dynamic = {{"rope_type", "dynamic"}, {"factor", 2}, {"max_position_embeddings", 32}};
  EXPECT_EQ(bytes({{"rope_type", "linear"}, {"factor", 2}}, 100), 4 * 4 * 100);
  EXPECT_EQ(bytes(dynamic, 100), 4 * 4 * 32);  // beyond, each length has its own
  EXPECT_EQ(bytes(longrope, 100), 4 * 4 * (32 + 100));
  EXPECT_EQ(bytes(longrope, 20), 4 * 4 * (20 + 20));
}

// What no compiler wrote is refused, not computed with.
TEST(Rope, DamagedLibraries) {
  struct {
    const char *spec, *message;
  } const bad[] = {
      {R"({"kind": "yarm", "rotary_dim": 4, "theta": 10000})", "unknown rope kind 'yarm', expected"},
      {R"({"kind": "default", "rotary_dim": 3, "theta": 10000})", "rope has rotary_dim 3"},
      {R"({"kind": "linear", "rotary_dim": 4, "theta": 10000})", "'factor'"},
      {R"({"kind": "linear", "rotary_dim": 4, "theta": 10000, "scaling": {"factor": 0}})", "'factor' is 0"},
      {R"({"kind": "dynamic", "rotary_dim": 4, "theta": 1e4, "scaling": {"factor": 2}})",
       "'max_position_embeddings'"},
      {R"({"kind": "dynamic", "rotary_dim": 2, "theta": 1e4,
           "scaling": {"factor": 2, "max_position_embeddings": 8}})",
       "2 rotated elements"},
      {R"({"kind": "yarn", "rotary_dim": 4, "theta": 1,
           "scaling": {"factor": 2, "original_max_position_embeddings": 8}})",
       "theta 1, expected more than 1"},
      {R"({"kind": "yarn", "rotary_dim": 4, "theta": 10,
           "scaling": {"factor": 2, "original_max_position_embeddings": 8, "beta_fast": -1}})",
       "beta_fast -1"},
      {R"({"kind": "longrope", "rotary_dim": 4, "theta": 10,
           "scaling": {"original_max_position_embeddings": 8, "short_factor": [1], "long_factor": [1, 1]}})",
       "'short_factor' is no list of 2 numbers above 0"},
      {R"({"kind": "longrope", "rotary_dim": 4, "theta": 10,
           "scaling": {"original_max_position_embeddings": 1, "short_factor": [1, 1], "long_factor": [1, 1]}})",
       "original_max_position_embeddings 1, expected 2 or more"},
      {R"({"kind": "llama3", "rotary_dim": 4, "theta": 10, "scaling": {"factor": 2, "low_freq_factor": 4,
           "high_freq_factor": 1, "original_max_position_embeddings": 8}})",
       "expected the second to be higher"},
  };
  for (const auto& one : bad) {
    const auto table = runtime::RopeTable::create(must(parse_json(one.spec, "test")), "m.so");
    ASSERT_FALSE(table.is_ok()) << one.spec;
    EXPECT_EQ(table.status().message().rfind("m.so: ", 0), 0u) << table.status().message();
    EXPECT_NE(table.status().message().find(one.message), std::string::npos) << table.status().message();
  }
}

}  // namespace
}  // namespace mlc::testing
