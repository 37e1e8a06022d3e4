/* What the text library's crate getrandom asks for random bytes (seeds of hash tables): the host's. */
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

uint32_t __getrandom_v03_custom(unsigned char* to, size_t bytes) {
  for (size_t done = 0; done < bytes; done += 256)
    if (getentropy(to + done, bytes - done < 256 ? bytes - done : 256) != 0) return 1;
  return 0;
}
