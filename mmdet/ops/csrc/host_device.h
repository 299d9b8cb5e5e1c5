// Functions that CPU and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define MMDET_HOST_DEVICE __host__ __device__ inline
#define MMDET_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#else
#define MMDET_HOST_DEVICE inline
#define MMDET_LAUNCH_BOUNDS(threads, blocks)
#endif

namespace mmdet {

// Kept out of fused multiply-adds, which CUDA would form: every device gives the same bits.
MMDET_HOST_DEVICE float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
MMDET_HOST_DEVICE double product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

}  // namespace mmdet
