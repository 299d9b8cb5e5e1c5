// Sums over the threads of a block, in an order that never changes.
#pragma once

#include "cuda_launch.h"

namespace mmdet {

constexpr int kWarp = 32;

// The first thread's values become the sums of all `kThreads` threads' values.
template <int kThreads, typename T, int N>
__device__ void sum_over_block(T (&values)[N]) {
  __shared__ T partial[N][kThreads / kWarp];
  __syncthreads();  // the last sums have been read
  for (int k = 0; k < N; ++k) {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      values[k] += __shfl_down_sync(0xffffffffu, values[k], step);
    }
    if (threadIdx.x % kWarp == 0) {
      partial[k][threadIdx.x / kWarp] = values[k];
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int k = 0; k < N; ++k) {
      for (int warp = 1; warp < kThreads / kWarp; ++warp) {
        values[k] += partial[k][warp];
      }
    }
  }
}

}  // namespace mmdet
