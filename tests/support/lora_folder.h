// Writes PEFT folders, for tests.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"

namespace mlc::testing {

struct LoraMatrices {
  int64_t rank = 0, in = 0, out = 0;
  std::vector<float> a = {}, b = {};  // [rank, in], [out, rank]
};

// Fills the matrices with random values where they are empty and writes them; all have one rank.
inline void write_lora_folder(const std::string& folder, std::map<std::string, LoraMatrices>& modules,
                              double alpha, bool fan_in_fan_out = false) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Json header = Json::object();
  std::string data;
  auto put = [&](const std::string& name, int64_t rows, int64_t columns, std::vector<float>& values) {
    if (values.empty())
      for (int64_t i = 0; i < rows * columns; ++i) values.push_back(uniform(random));
    const std::string bytes = packed(values);
    header["base_model.model." + name + ".weight"] = {
        {"dtype", "F32"},
        {"shape", {rows, columns}},
        {"data_offsets", {data.size(), data.size() + bytes.size()}}};
    data += bytes;
  };
  int64_t rank = 0;
  for (auto& [name, m] : modules) {
    put(name + ".lora_A", m.rank, m.in, m.a);
    put(name + ".lora_B", m.out, m.rank, m.b);
    rank = m.rank;
  }
  const Json config = {{"peft_type", "LORA"},
                       {"r", rank},
                       {"lora_alpha", alpha},
                       {"fan_in_fan_out", fan_in_fan_out},
                       {"base_model_name_or_path", "test/base"}};
  std::ofstream(folder + "/adapter_config.json") << json_text(config);
  std::ofstream(folder + "/adapter_model.safetensors", std::ios::binary) << safetensors(header.dump(), data);
}

}  // namespace mlc::testing
