// MD5 (RFC 1321) of several streams at once: the digest that MLC's index records for each shard.
//
// One stream of MD5 is a chain of dependent additions and runs at some 0.6 GB/s; kMd5Lanes independent
// streams share the vector instructions and run together at several GB/s.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace mlc {

constexpr int kMd5Lanes = 16;

// 32 lower-case hex digits.
std::string md5(std::span<const std::byte> bytes);

// Digests of whole files, in order of `paths`; reads them in small pieces (some kMd5Lanes * 64 KiB of
// memory).
Result<std::vector<std::string>> md5_files(const std::vector<std::string>& paths);

}  // namespace mlc
