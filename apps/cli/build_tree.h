// What `mlc_llm build` leaves, and what of it a later build can keep (mlc-facts 1.19):
//
//   dist/<model>-<quantization>/<model>-<quantization>-<target>.{so,dylib,dll,tar}
//   dist/<model>-<quantization>/params/        config, tokenizer and weights
//   dist/<model>-<quantization>/mod_cache_before_build_<target>.pkl
//
// The last has its name from the document of 2023. It is JSON, no pickle: what weights and library were made
// of, {"weights": text, "library": {"made_of": text, "bytes": count}}.
#pragma once

#include <string>

#include "apps/cli/checkpoint.h"

namespace mlc::cli {

struct BuildTree {
  std::string folder;    // dist/<model>-<quantization>
  std::string local_id;  // <model>-<quantization>
  std::string target;    // in file names: "vulkan", "metal_x86_64", ...
  std::string suffix;    // ".so"

  std::string params() const { return folder + "/params"; }
  std::string library() const { return folder + "/" + local_id + "-" + target + suffix; }
  std::string cache() const { return folder + "/mod_cache_before_build_" + target + ".pkl"; }
};

// Whether params/ holds weights made of `made_of`, by any target's cache, and all of them are there.
bool has_weights(const BuildTree& tree, const std::string& made_of);
// Whether the library is there as it was made of `made_of`.
bool has_library(const BuildTree& tree, const std::string& made_of);
// Notes what is there now. Of the library only where it exists.
Status write_build_cache(const BuildTree& tree, const std::string& weights, const std::string& library);

// The conversation template that the builder of 2023 gave a model by its name, "" for other names.
std::string template_2023(const std::string& model);

}  // namespace mlc::cli
