// What the CPU and CUDA kernels of RoIAlign share: the arguments, checked and laid out.
#pragma once

#include <optional>
#include <vector>

#include "../tensor.h"
#include "axis.h"

namespace mmdet {

struct Pooling {
  int64_t height, width, sampling_ratio;
  bool aligned;
};

// RoIs hold the image's index as a floating-point number; -1 where it is none of `count`.
template <typename T>
MMDET_HOST_DEVICE int64_t index_or_none(T value, int64_t count) {
  return value >= 0 && value < static_cast<T>(count) ? static_cast<int64_t>(value) : -1;
}

inline std::vector<Tensor> in_one_format(const std::vector<Tensor>& features, bool channels_last) {
  std::vector<Tensor> dense;
  for (const Tensor& feature : features) {
    dense.push_back(torch::stable::contiguous(feature, memory_format(channels_last)));
  }
  return dense;
}

}  // namespace mmdet
