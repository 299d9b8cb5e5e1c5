// Prefetching.
#pragma once

#include <cstdint>

#include "vectors.h"

namespace mmdet {

// Memory that is asked for, in `count` portions, before it is read.
struct Ahead {
  const char* from;
  int64_t lines, count;

  Ahead(const void* from, int64_t size, int64_t count)
      : from(static_cast<const char*>(from)), lines(size / 64), count(count) {}

  MMDET_INLINE void ask(int64_t portion) const {
    const char* end = from + lines * (portion + 1) / count * 64;
    for (const char* line = from + lines * portion / count * 64; line < end; line += 64) {
      __builtin_prefetch(line);
    }
  }
};

}  // namespace mmdet
