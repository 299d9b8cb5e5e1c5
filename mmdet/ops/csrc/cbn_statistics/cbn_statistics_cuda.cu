// Statistics of Cross-Iteration BN on CUDA: a block for each channel.
#include <torch/csrc/stable/library.h>

#include "../cuda_launch.h"
#include "arguments.h"

namespace mmdet {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

// Sums of a over the block and of b, in the first thread.
template <typename T>
__device__ void sum_over_block(T& a, T& b) {
  __shared__ T partial[2][kThreads / kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) {
    a += __shfl_down_sync(0xffffffffu, a, step);
    b += __shfl_down_sync(0xffffffffu, b, step);
  }
  __syncthreads();  // the last sums have been read
  if (threadIdx.x % kWarp == 0) {
    partial[0][threadIdx.x / kWarp] = a;
    partial[1][threadIdx.x / kWarp] = b;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) {
      a += partial[0][warp];
      b += partial[1][warp];
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) channel_statistics(const Ring<T> ring, T* means, T* vars) {
  const int64_t channel = blockIdx.x, n = ring.num_weights, group = ring.group(channel);
  const T* weight = ring.weight + channel * n;
  const T bias = ring.bias_of(channel);
  Mixture<T> mixture;
  mixture.add(ring.own_mean[channel], ring.own_var[channel]);
  for (int64_t entry = 0; entry < ring.count; ++entry) {
    const int64_t slot = ring.slot(entry), at = slot * ring.channels + channel;
    const T* patch = ring.patch + (slot * ring.groups + group) * n;
    const T* slope = ring.slope + at * n;
    T mean = 0, var = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      mean += patch[i] * weight[i];
      var += slope[i] * weight[i];
    }
    sum_over_block(mean, var);
    if (threadIdx.x == 0) {
      mixture.add_stored(ring, at, mean + bias, var);
    }
  }
  const T* new_patch = ring.new_patch + group * n;
  const T* new_slope = ring.new_slope + channel * n;
  T* slope = ring.slope + (ring.slot(ring.count) * ring.channels + channel) * n;  // each thread has read what it writes
  T mean = 0, var = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    slope[i] = new_slope[i];
    mean += new_patch[i] * weight[i];
    var += new_slope[i] * weight[i];
  }
  sum_over_block(mean, var);
  if (threadIdx.x == 0) {
    store(ring, channel, mean + bias, var);
    means[channel] = mixture.mean;
    vars[channel] = mixture.variance();
  }
}

std::tuple<Tensor, Tensor> cbn_statistics(Tensor weight, std::optional<Tensor> bias, Tensor patch, Tensor slope,
                                          Tensor mean, Tensor mean0, Tensor var0, Tensor new_patch, Tensor new_slope,
                                          Tensor own_mean, Tensor own_var, int64_t first,
                                          int64_t count) {
  const CurrentStream stream(weight);
  Tensor out_mean = torch::stable::empty_like(own_mean), out_var = torch::stable::empty_like(own_var);
  MMDET_DISPATCH_ACCUMULATE("cbn_statistics", weight, [&] {
    const auto ring = make_ring<scalar_t>(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope,
                                          own_mean, own_var, first, count);
    channel_statistics<<<ring.channels, kThreads, 0, stream>>>(ring, out_mean.mutable_data_ptr<scalar_t>(),
                                                               out_var.mutable_data_ptr<scalar_t>());
    check_cuda(cudaGetLastError());
    // Only now: all channels of a group read it.
    const int64_t patch_size = ring.groups * ring.num_weights;
    check_cuda(cudaMemcpyAsync(ring.patch + ring.slot(count) * patch_size, ring.new_patch,
                               patch_size * sizeof(scalar_t), cudaMemcpyDeviceToDevice, stream));
  });
  return {out_mean, out_var};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("cbn_statistics", TORCH_BOX(&cbn_statistics));
}

}  // namespace mmdet
