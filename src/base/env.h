// Every environment variable that mlc_llm reads, one function each, with its default. Nothing else calls
// getenv.
#pragma once

#include <string>

namespace mlc::env {

// Non-empty value of a variable, else `fallback`.
std::string get(const char* name, const std::string& fallback = "");

// MLC_LLM_HOME: root of the caches. Default: $XDG_CACHE_HOME/mlc_llm, else ~/.cache/mlc_llm.
std::string home();
// MLC_JIT_POLICY: ON (default: use the cache, else compile), OFF, REDO, READONLY.
inline std::string jit_policy() { return get("MLC_JIT_POLICY", "ON"); }
// MLC_DOWNLOAD_CACHE_POLICY: ON (default: use the cache, else download), OFF, REDO, READONLY.
inline std::string download_cache_policy() { return get("MLC_DOWNLOAD_CACHE_POLICY", "ON"); }
// HF_ENDPOINT: the hub that HF:// names and huggingface.co addresses are asked of, for example a mirror.
// Default: https://huggingface.co.
inline std::string hub_endpoint() { return get("HF_ENDPOINT", "https://huggingface.co"); }
// HF_TOKEN: the token that this hub, and no other host, is shown; for models that are gated or private.
inline std::string hub_token() { return get("HF_TOKEN"); }
// MLC_TEMP_DIR: where temporary files go. Default: the system's.
std::string temp_dir();
// MLC_LOG: 0 quiet, 1 (default) notes, 2 details.
inline std::string log_level() { return get("MLC_LOG", "1"); }
// MLC_NUM_THREADS: threads of the CPU device. Default: the cores this process may use.
inline std::string num_threads() { return get("MLC_NUM_THREADS"); }
// MLC_CPU_FEATURES: comma list that hides the others (for tests of older CPUs), for example "avx2,fma,f16c".
inline std::string cpu_features() { return get("MLC_CPU_FEATURES"); }
// TERM: the terminal's kind. chat asks it to mark pasted text unless it is dumb.
inline std::string terminal() { return get("TERM", "dumb"); }
// MLC_BLESS: 1 makes golden tests write what they got into their files instead of comparing (tests only).
// Default: off.
inline bool bless() { return get("MLC_BLESS") == "1"; }

// MLC_INTERNAL_PRESHARD_NUM: convert_weight writes weights split for that many tensor-parallel ranks.
constexpr const char* kPreshardNum = "MLC_INTERNAL_PRESHARD_NUM";
inline std::string preshard_num() { return get("MLC_INTERNAL_PRESHARD_NUM"); }

}  // namespace mlc::env
