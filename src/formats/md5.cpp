// MD5 over vectors of lanes: lane i of each vector belongs to stream i.
#include "formats/md5.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr size_t kBlock = 64;             // bytes of one step of MD5
constexpr size_t kPiece = 1024 * kBlock;  // bytes read from a file at once

typedef uint32_t Lanes __attribute__((vector_size(4 * kMd5Lanes)));

struct State {
  Lanes a, b, c, d;
};

constexpr std::array<uint32_t, 64> kSines = {  // floor(2^32 * |sin(i + 1)|)
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr int kTurns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

// One step: i in [0, 64) is a constant once the loop over it is unrolled.
[[gnu::always_inline]] inline void step(int i, State& s, const Lanes* words) {
  Lanes f;
  int word;
  if (i < 16)
    f = s.d ^ (s.b & (s.c ^ s.d)), word = i;
  else if (i < 32)
    f = s.c ^ (s.d & (s.b ^ s.c)), word = (5 * i + 1) & 15;
  else if (i < 48)
    f = s.b ^ s.c ^ s.d, word = (3 * i + 5) & 15;
  else
    f = s.c ^ (s.b | ~s.d), word = (7 * i) & 15;
  f += s.a + kSines[static_cast<size_t>(i)] + words[word];
  int turn = kTurns[i / 16][i % 4];
  s.a = s.d, s.d = s.c, s.c = s.b;
  s.b += (f << turn) | (f >> (32 - turn));
}

// `blocks` blocks of each lane, read at data[lane].
[[gnu::always_inline]] inline void digest_blocks(State& state, const std::byte* const* data, size_t blocks) {
  State s = state;
  for (size_t block = 0; block < blocks; ++block) {
    uint32_t loaded[16][kMd5Lanes];
    for (int lane = 0; lane < kMd5Lanes; ++lane)
      for (int word = 0; word < 16; ++word)
        std::memcpy(&loaded[word][lane], data[lane] + block * kBlock + static_cast<size_t>(4 * word), 4);
    Lanes words[16];
    std::memcpy(words, loaded, sizeof(words));
    State before = s;
#pragma GCC unroll 64
    for (int i = 0; i < 64; ++i) step(i, s, words);
    s.a += before.a, s.b += before.b, s.c += before.c, s.d += before.d;
  }
  state = s;
}

#ifdef __x86_64__
// A rotation, and a round function, is one instruction here.
[[gnu::target("avx512vl")]] void digest_avx512(State& state, const std::byte* const* data, size_t blocks) {
  digest_blocks(state, data, blocks);
}
[[gnu::target("avx2")]] void digest_avx2(State& state, const std::byte* const* data, size_t blocks) {
  digest_blocks(state, data, blocks);
}
#endif
void digest_generic(State& state, const std::byte* const* data, size_t blocks) {
  digest_blocks(state, data, blocks);
}

void digest(State& state, const std::byte* const* data, size_t blocks) {
#ifdef __x86_64__
  static const bool avx512 = __builtin_cpu_supports("avx512vl"), avx2 = __builtin_cpu_supports("avx2");
  if (avx512) return digest_avx512(state, data, blocks);
  if (avx2) return digest_avx2(state, data, blocks);
#endif
  digest_generic(state, data, blocks);
}

void reset_lane(State& s, int lane) {
  s.a[lane] = 0x67452301, s.b[lane] = 0xefcdab89, s.c[lane] = 0x98badcfe, s.d[lane] = 0x10325476;
}

std::string hex_of_lane(const State& s, int lane) {
  std::string text;
  for (uint32_t word : {s.a[lane], s.b[lane], s.c[lane], s.d[lane]})
    for (int byte = 0; byte < 4; ++byte)
      for (int nibble : {4, 0}) text += "0123456789abcdef"[(word >> (8 * byte + nibble)) & 15];
  return text;
}

// The end of a message of `total` bytes whose last total % 64 are `rest`: one or two padded blocks.
size_t pad(const std::byte* rest, uint64_t total, std::array<std::byte, 2 * kBlock>& end) {
  size_t left = total % kBlock, size = left + 9 <= kBlock ? kBlock : 2 * kBlock;
  end.fill(std::byte{0});
  if (left > 0) std::memcpy(end.data(), rest, left);
  end[left] = std::byte{0x80};
  uint64_t bits = 8 * total;
  std::memcpy(end.data() + size - 8, &bits, 8);
  return size / kBlock;
}

// One file being read, or memory that is there as a whole: hands out runs of whole blocks, the padding last.
struct Stream {
  platform::File file = platform::kNoFile;
  size_t index = 0;  // of the result
  uint64_t total = 0;
  std::unique_ptr<std::byte[]> buffer;
  const std::byte* data = nullptr;
  size_t blocks = 0;  // whole blocks ready at `data`
  size_t rest = 0;    // bytes after them
  bool at_end = false, padded = false;
  std::array<std::byte, 2 * kBlock> end;

  bool active() const { return file != platform::kNoFile; }
  bool finished() const { return padded && blocks == 0; }

  // Makes blocks > 0 unless the message is over. False when the file cannot be read.
  bool refill() {
    while (blocks == 0 && !padded) {
      if (at_end) {
        blocks = pad(data, total, end);
        data = end.data();
        padded = true;
        return true;
      }
      if (rest > 0) std::memmove(buffer.get(), data, rest);
      data = buffer.get();
      const int64_t got = platform::read_bytes(file, {buffer.get() + rest, kPiece - rest});
      if (got < 0) return false;
      at_end = got == 0;
      total += static_cast<uint64_t>(got);
      size_t have = rest + static_cast<size_t>(got);
      blocks = have / kBlock, rest = have % kBlock;
    }
    return true;
  }
  void take(size_t count) {
    data += count * kBlock;
    blocks -= count;
  }
};

}  // namespace

std::string md5(std::span<const std::byte> bytes) {
  State state{};
  reset_lane(state, 0);
  const std::byte* lanes[kMd5Lanes];
  size_t whole = bytes.size() / kBlock;
  std::fill(std::begin(lanes), std::end(lanes), bytes.data());
  digest(state, lanes, whole);
  std::array<std::byte, 2 * kBlock> end;
  size_t blocks = pad(bytes.data() + whole * kBlock, bytes.size(), end);
  std::fill(std::begin(lanes), std::end(lanes), end.data());
  digest(state, lanes, blocks);
  return hex_of_lane(state, 0);
}

Result<std::vector<std::string>> md5_files(const std::vector<std::string>& paths) {
  std::vector<std::string> digests(paths.size());
  std::array<Stream, kMd5Lanes> streams;
  State state{};
  size_t next = 0;
  Status status;
  auto close_all = [&] {
    for (Stream& s : streams)
      if (s.active()) platform::close_file(s.file);
  };
  while (true) {
    const std::byte* lanes[kMd5Lanes];
    const std::byte* some = nullptr;
    size_t blocks = SIZE_MAX;
    for (int lane = 0; lane < kMd5Lanes && status.is_ok(); ++lane) {
      Stream& s = streams[static_cast<size_t>(lane)];
      if (!s.active() && next < paths.size()) {
        auto buffer = s.buffer ? std::move(s.buffer) : std::make_unique<std::byte[]>(kPiece);
        s = Stream{};
        s.file = platform::open_file(paths[next], platform::Access::kRead), s.index = next,
        s.buffer = std::move(buffer);
        reset_lane(state, lane);
        if (!s.active()) status = Status::error(str(paths[next], ": cannot open: ", platform::last_error()));
        ++next;
      }
      if (!s.active()) continue;
      if (!s.refill()) status = Status::error(str(paths[s.index], ": cannot read: ", platform::last_error()));
      lanes[lane] = some = s.data;
      blocks = std::min(blocks, s.blocks);
    }
    if (!status.is_ok() || some == nullptr) break;
    for (int lane = 0; lane < kMd5Lanes; ++lane)
      if (!streams[static_cast<size_t>(lane)].active()) lanes[lane] = some;
    digest(state, lanes, blocks);
    for (int lane = 0; lane < kMd5Lanes; ++lane) {
      Stream& s = streams[static_cast<size_t>(lane)];
      if (!s.active()) continue;
      s.take(blocks);
      if (!s.finished()) continue;
      digests[s.index] = hex_of_lane(state, lane);
      platform::close_file(s.file);
      s.file = platform::kNoFile;
    }
  }
  if (!status.is_ok()) {
    close_all();
    return status;
  }
  return digests;
}

}  // namespace mlc
