// Mixed requests over real sockets for a long time: 0 crashes, 0 wrong answers, memory that stays.
//
//   ninja -C build bench_soak && build/bench/bench_soak [REQUESTS=100000] [CLIENTS=12]
//
// Prints a line after each tenth. Exit 1 where an answer is not that of its lone run, pages or calls stay in
// use, or memory at the end is more than 2 % above that after the first tenth.
#include "support/soak.h"

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  const int64_t requests = argc > 1 ? std::atoll(argv[1]) : 100'000;
  const int clients = argc > 2 ? std::atoi(argv[2]) : 12;
  mlc::testing::Soak soak;
  int64_t after_tenth = 0, now = 0;
  for (int64_t tenth = 1; tenth <= 10; ++tenth) {
    soak.run(requests * (tenth - 1) / 10, requests * tenth / 10, clients);
    now = mlc::testing::Soak::resident_bytes();
    if (tenth == 1) after_tenth = now;
    std::printf("%lld requests: %lld answered, %lld left, %lld refused, %zu wrong, %.1f MB\n",
                static_cast<long long>(requests * tenth / 10), static_cast<long long>(soak.answered()),
                static_cast<long long>(soak.left()), static_cast<long long>(soak.refused()),
                soak.wrong().size(), static_cast<double>(now) / 1e6);
    std::fflush(stdout);
  }
  for (const std::string& problem : soak.wrong()) std::printf("wrong: %s\n", problem.c_str());
  const mlc::runtime::StateCost used = soak.states_in_use();
  bool right = soak.wrong().empty() && soak.calls_at_work() == 0 && used.slots == 0 && soak.is_healthy();
  for (int64_t pages : used.pages) right &= pages == 0;
  const double growth = static_cast<double>(now) / static_cast<double>(after_tenth) - 1;
  std::printf("memory grew by %.2f %% from the first tenth to the end; %s\n", 100 * growth,
              right ? "all answers right, nothing kept" : "FAILED");
  return right && growth <= 0.02 ? 0 : 1;
}
