// Functions that CPU and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define MMDET_HOST_DEVICE __host__ __device__ inline
#else
#define MMDET_HOST_DEVICE inline
#endif
