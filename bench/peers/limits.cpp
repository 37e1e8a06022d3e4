// What this machine can do at most: limits THREADS prints {"read_bytes_s", "int8_mac_s", "bf16_mac_s"}, of
// all threads together.
//   read_bytes_s  sums over 1 GiB on huge pages, the best of five passes
//   int8_mac_s    8-bit multiply-adds of independent registers: vpdpbusd of 512 bits where the CPU has it,
//   else vpmaddubsw and
//                 vpaddw of 256 bits (32 products an instruction pair), the best of five
//   bf16_mac_s    multiply-adds of bf16 in matrix tiles (tdpbf16ps), the best of five; 0 where the CPU or the
//   system has none
#include <cpuid.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// Seconds that `threads` threads need for work(thread), the best of five.
double best_seconds(int threads, const std::function<void(int)>& work) {
  double best = 1e9;
  for (int pass = 0; pass < 5; ++pass) {
    auto start = Clock::now();
    std::vector<std::thread> helpers;
    for (int t = 1; t < threads; ++t) helpers.emplace_back(work, t);
    work(0);
    for (std::thread& h : helpers) h.join();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

constexpr int64_t kBytes = int64_t{1} << 30;
volatile int64_t sink;

__attribute__((target("avx2"))) void read_part(const char* data, int64_t bytes) {
  __m256i sum[8] = {};
  for (int64_t i = 0; i < bytes; i += 256) {
#pragma GCC unroll 4
    for (int64_t line = 0; line < 256; line += 64) _mm_prefetch(data + i + 4096 + line, _MM_HINT_T0);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s)
      sum[s] =
          _mm256_add_epi64(sum[s], _mm256_load_si256(reinterpret_cast<const __m256i*>(data + i + 32 * s)));
  }
  for (int s = 1; s < 8; ++s) sum[0] = _mm256_add_epi64(sum[0], sum[s]);
  sink = sink + _mm256_extract_epi64(sum[0], 0);
}

constexpr int64_t kSteps = 20'000'000;  // of eight instructions or pairs

// Eight chains in registers, written out: an array of them would live in memory.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void multiply_vnni() {
  __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(2);
  __m512i a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  for (int64_t i = 0; i < kSteps; ++i)
    asm volatile(
        "vpdpbusd %9, %8, %0\n\tvpdpbusd %9, %8, %1\n\tvpdpbusd %9, %8, %2\n\tvpdpbusd %9, %8, %3\n\t"
        "vpdpbusd %9, %8, %4\n\tvpdpbusd %9, %8, %5\n\tvpdpbusd %9, %8, %6\n\tvpdpbusd %9, %8, %7"
        : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h)
        : "v"(x), "v"(y));
  a = _mm512_add_epi32(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)),
                       _mm512_add_epi32(_mm512_add_epi32(e, f), _mm512_add_epi32(g, h)));
  sink = sink + _mm_cvtsi128_si32(_mm512_castsi512_si128(a));
}

__attribute__((target("avx2"))) void multiply_avx2() {
  __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2), product;
  __m256i a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
  auto step = [&](__m256i& sum) __attribute__((target("avx2"), always_inline)) {
    asm volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(x), "x"(y));
  };
  for (int64_t i = 0; i < kSteps; ++i) step(a), step(b), step(c), step(d), step(e), step(f), step(g), step(h);
  a = _mm256_add_epi16(_mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d)),
                       _mm256_add_epi16(_mm256_add_epi16(e, f), _mm256_add_epi16(g, h)));
  sink = sink + _mm256_extract_epi16(a, 0);
}

bool may_use_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16AndTiles = 1u << 22 | 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBf16AndTiles) != kBf16AndTiles) return false;
  return syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
}

// Four sums of tiles that share two factors of each kind.
void multiply_tiles() {
  alignas(64) static constexpr struct {
    uint8_t palette = 1, reserved[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } kShapes;
  asm volatile("ldtilecfg %0" : : "m"(kShapes));
  for (int64_t i = 0; i < kSteps / 16; ++i)
    asm volatile(
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\ttdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\ttdpbf16ps %%tmm7, %%tmm5, %%tmm3"
        :
        :);
  asm volatile("tilerelease");
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1 || !__builtin_cpu_supports("avx2")) return 1;
  void* memory = mmap(nullptr, kBytes + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  madvise(memory, kBytes, MADV_HUGEPAGE);
  auto* data = static_cast<char*>(memory);
  std::fill(data, data + kBytes, 1);
  const int64_t part = kBytes / threads / 256 * 256;
  const double read_s = best_seconds(threads, [&](int t) { read_part(data + t * part, part); });
  const bool vnni = __builtin_cpu_supports("avx512vnni");
  const double multiply_s = best_seconds(threads, [&](int) { vnni ? multiply_vnni() : multiply_avx2(); });
  const double tiles_s = may_use_tiles() ? best_seconds(threads, [&](int) { multiply_tiles(); }) : 0;
  std::printf("{\"read_bytes_s\": %.4g, \"int8_mac_s\": %.4g, \"bf16_mac_s\": %.4g}\n",
              double(part * threads) / read_s, double(kSteps) * 8 * (vnni ? 64 : 32) * threads / multiply_s,
              tiles_s > 0 ? double(kSteps / 16) * 4 * 16 * 16 * 32 * threads / tiles_s : 0.0);
}
