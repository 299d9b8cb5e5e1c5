// Statistics of Cross-Iteration BN on the CPU. Threads share the channels.
#include <torch/csrc/stable/library.h>

#include <cstring>

#include "../rows.h"
#include "arguments.h"

namespace mmdet {
namespace {

constexpr int64_t kLanes = 16;

// Sum of a[i] * b[i].
template <typename T>
MMDET_CLONES T dot(const T* a, const T* b, int64_t n) {
  T sums[kLanes] = {}, rest = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
  for (; i < n; ++i) {
    rest += a[i] * b[i];
  }
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    rest += sums[lane];
  }
  return rest;
}

template <typename T>
Mixture<T> channel_statistics(const Ring<T>& ring, int64_t channel) {
  const int64_t n = ring.num_weights, group = ring.group(channel);
  const T* weight = ring.weight + channel * n;
  const T bias = ring.bias_of(channel);
  Mixture<T> mixture;
  mixture.add(ring.own_mean[channel], ring.own_var[channel]);
  for (int64_t entry = 0; entry < ring.count; ++entry) {
    const int64_t slot = ring.slot(entry), at = slot * ring.channels + channel;
    mixture.add_stored(ring, at, dot(ring.patch + (slot * ring.groups + group) * n, weight, n) + bias,
                       dot(ring.slope + at * n, weight, n));
  }
  const T* slope = ring.new_slope + channel * n;
  store(ring, channel, dot(ring.new_patch + group * n, weight, n) + bias, dot(slope, weight, n));
  std::memcpy(ring.slope + (ring.slot(ring.count) * ring.channels + channel) * n, slope, n * sizeof(T));
  return mixture;
}

std::tuple<Tensor, Tensor> cbn_statistics(Tensor weight, std::optional<Tensor> bias, Tensor patch, Tensor slope,
                                          Tensor mean, Tensor mean0, Tensor var0, Tensor new_patch, Tensor new_slope,
                                          Tensor own_mean, Tensor own_var, int64_t first,
                                          int64_t count) {
  Tensor out_mean = torch::stable::empty_like(own_mean), out_var = torch::stable::empty_like(own_var);
  MMDET_DISPATCH_ACCUMULATE("cbn_statistics", weight, [&] {
    const auto ring = make_ring<scalar_t>(weight, bias, patch, slope, mean, mean0, var0, new_patch, new_slope,
                                          own_mean, own_var, first, count);
    auto* means = out_mean.mutable_data_ptr<scalar_t>();
    auto* vars = out_var.mutable_data_ptr<scalar_t>();
    torch::stable::parallel_for(0, ring.channels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) {
        const auto mixture = channel_statistics(ring, channel);
        means[channel] = mixture.mean;
        vars[channel] = mixture.variance();
      }
    });
    // Only now: all channels of a group read it.
    const int64_t patch_size = ring.groups * ring.num_weights;
    std::memcpy(ring.patch + ring.slot(count) * patch_size, ring.new_patch, patch_size * sizeof(scalar_t));
  });
  return {out_mean, out_var};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("cbn_statistics", TORCH_BOX(&cbn_statistics));
}

}  // namespace mmdet
