// Functions made for each kind of processor, and the choice among them when the process runs.
#pragma once

#include <cstdint>

// Of `template <int kLanes> void stage(const Work&, int64_t begin, int64_t end)`, FIRST and SECOND, for vectors of kLanes
// floats: `stages()` returns those for the processor at hand.
#define MMDET_STAGES_FOR(NAME, TARGET, LANES, FIRST, SECOND)                \
  TARGET void NAME##_first(const Work& work, int64_t begin, int64_t end) {  \
    FIRST<LANES>(work, begin, end);                                         \
  }                                                                         \
  TARGET void NAME##_second(const Work& work, int64_t begin, int64_t end) { \
    SECOND<LANES>(work, begin, end);                                        \
  }                                                                         \
  constexpr Stages NAME{LANES, NAME##_first, NAME##_second};

#define MMDET_STAGES_TYPE                        \
  struct Stages {                                \
    int64_t lanes;                               \
    void (*first)(const Work&, int64_t, int64_t);  \
    void (*second)(const Work&, int64_t, int64_t); \
  };

#if defined(__x86_64__)
#define MMDET_STAGES(FIRST, SECOND)                                                      \
  MMDET_STAGES_TYPE                                                                      \
  MMDET_STAGES_FOR(any, , 4, FIRST, SECOND)                                              \
  MMDET_STAGES_FOR(avx2, __attribute__((target("avx2,fma"))), 8, FIRST, SECOND)          \
  MMDET_STAGES_FOR(avx512, __attribute__((target("avx512f"))), 16, FIRST, SECOND)        \
  const Stages& stages() {                                                               \
    if (__builtin_cpu_supports("avx512f")) {                                             \
      return avx512;                                                                     \
    }                                                                                    \
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : any; \
  }
#else
#define MMDET_STAGES(FIRST, SECOND)         \
  MMDET_STAGES_TYPE                         \
  MMDET_STAGES_FOR(any, , 4, FIRST, SECOND) \
  const Stages& stages() {                  \
    return any;                             \
  }
#endif
