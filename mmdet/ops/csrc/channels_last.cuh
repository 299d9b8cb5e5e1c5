// Channels-last features as rows of vectors of 16 bytes: a block's threads lie side by side along a row's vectors, and
// below each other along the rows.
#pragma once

#include <algorithm>

#include "cuda_launch.h"

namespace mmdet {

constexpr int kRowThreads = 256;

template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

template <typename scalar_t>
constexpr int kLanes = 16 / sizeof(scalar_t);

template <typename scalar_t>
__device__ float widened(scalar_t value) {
  return static_cast<float>(value);
}
__device__ inline double widened(double value) {
  return value;
}

inline bool aligned_to_16(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// Where a thread stands: `across` of the `columns` of vectors, first of the rows down, down + step, ...
struct Place {
  int columns, across, down, step;
  __device__ explicit Place(int vectors)
      : columns(vectors < kRowThreads ? vectors : kRowThreads),
        across(static_cast<int>(threadIdx.x) % columns),
        down(static_cast<int>(threadIdx.x) / columns),
        step(kRowThreads / columns) {}
  // Threads that are left over where the columns do not divide them.
  __device__ bool idle() const {
    return down >= step;
  }
};

// Blocks for `rows` rows, enough to fill any GPU and few enough that what each leaves to be summed is little.
inline int64_t row_blocks(int64_t rows, int64_t vectors) {
  const int64_t step = kRowThreads / std::min<int64_t>(vectors, kRowThreads);
  return std::clamp<int64_t>((rows + step - 1) / step, 1, 1024);
}

}  // namespace mmdet
