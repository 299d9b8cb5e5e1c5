// Statistics of Cross-Iteration BN on CUDA: a block for each channel.
#include <torch/csrc/stable/library.h>

#include "../block_sum.cuh"
#include "arguments.h"

namespace mmdet::cbn_statistics_cuda {
namespace {

constexpr int kThreads = 256;

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
    T sums[2] = {};  // mean and variance
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      sums[0] += patch[i] * weight[i];
      sums[1] += slope[i] * weight[i];
    }
    sum_over_block<kThreads>(sums);
    if (threadIdx.x == 0) {
      mixture.add_stored(ring, at, sums[0] + bias, sums[1]);
    }
  }
  const T* new_patch = ring.new_patch + group * n;
  const T* new_slope = ring.new_slope + channel * n;
  T* slope = ring.slope + (ring.slot(ring.count) * ring.channels + channel) * n;  // each thread has read what it writes
  T sums[2] = {};  // mean and variance
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    slope[i] = new_slope[i];
    sums[0] += new_patch[i] * weight[i];
    sums[1] += new_slope[i] * weight[i];
  }
  sum_over_block<kThreads>(sums);
  if (threadIdx.x == 0) {
    store(ring, channel, sums[0] + bias, sums[1]);
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

}  // namespace mmdet::cbn_statistics_cuda
