// From the operator's arguments to a Ring.
#pragma once

#include "../tensor.h"
#include "mixture.h"

namespace mmdet {

template <typename T>
Ring<T> make_ring(const Tensor& weight, const std::optional<Tensor>& bias, Tensor& patch, Tensor& slope, Tensor& mean,
                  Tensor& mean0, Tensor& var0, const Tensor& new_patch, const Tensor& new_slope,
                  const Tensor& own_mean, const Tensor& own_var, int64_t first, int64_t count) {
  return {
      .weight = weight.const_data_ptr<T>(),
      .bias = bias ? bias->const_data_ptr<T>() : nullptr,
      .patch = patch.mutable_data_ptr<T>(),
      .slope = slope.mutable_data_ptr<T>(),
      .mean = mean.mutable_data_ptr<T>(),
      .mean0 = mean0.mutable_data_ptr<T>(),
      .var0 = var0.mutable_data_ptr<T>(),
      .new_patch = new_patch.const_data_ptr<T>(),
      .new_slope = new_slope.const_data_ptr<T>(),
      .own_mean = own_mean.const_data_ptr<T>(),
      .own_var = own_var.const_data_ptr<T>(),
      .size = slope.size(0),
      .first = first,
      .count = count,
      .channels = slope.size(1),
      .groups = patch.size(1),
      .num_weights = slope.size(2),
  };
}

}  // namespace mmdet
