// What the CPU and CUDA kernels share: one channel of Cross-Iteration BN.
#pragma once

#include <cstdint>

#include "../host_device.h"

namespace mmdet {

// The history as models/layers/cbn.py lays it out: a ring of `size` iterations.
template <typename T>
struct Ring {
  const T* weight;                                      // (Cout, P)
  const T* bias;                                        // (Cout), or null
  T *patch, *slope, *mean, *mean0, *var0;               // (size, G, P), (size, Cout, P), then (size, Cout)
  const T *new_patch, *new_slope, *own_mean, *own_var;  // (G, P), (Cout, P), (Cout), (Cout)
  int64_t size, first, count;                           // the window: `count` iterations from slot `first` on
  int64_t channels, groups, num_weights;                // Cout, G, P

  MMDET_HOST_DEVICE int64_t slot(int64_t entry) const {
    return (first + entry) % size;
  }
  MMDET_HOST_DEVICE int64_t group(int64_t channel) const {
    return channel / (channels / groups);
  }
  MMDET_HOST_DEVICE T bias_of(int64_t channel) const {
    return bias == nullptr ? T(0) : bias[channel];
  }
};

// Mean and variance of a mixture of equal shares, without cancellation (Welford).
template <typename T>
struct Mixture {
  T mean = 0, variances = 0, spread = 0;
  int64_t count = 0;

  MMDET_HOST_DEVICE void add(T entry_mean, T entry_var) {
    ++count;
    const T difference = entry_mean - mean;
    mean += difference / static_cast<T>(count);
    spread += difference * (entry_mean - mean);
    variances += entry_var;
  }
  // An entry carried over to the weights of today, of which it has this mean and variance to first order.
  MMDET_HOST_DEVICE void add_stored(const Ring<T>& ring, int64_t at, T linear_mean, T linear_var) {
    const T shift = linear_mean - ring.mean0[at];
    const T var = ring.var0[at] + linear_var - shift * shift;
    add(ring.mean[at] + shift, var > 0 ? var : T(0));
  }
  MMDET_HOST_DEVICE T variance() const {
    return (variances + spread) / static_cast<T>(count);
  }
};

// Today's own entry into the ring.
template <typename T>
MMDET_HOST_DEVICE void store(const Ring<T>& ring, int64_t channel, T linear_mean, T linear_var) {
  const int64_t at = ring.slot(ring.count) * ring.channels + channel;
  ring.mean[at] = ring.own_mean[channel];
  ring.mean0[at] = linear_mean;
  ring.var0[at] = ring.own_var[channel] - linear_var;
}

}  // namespace mmdet
