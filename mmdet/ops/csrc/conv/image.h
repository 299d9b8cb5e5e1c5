// Features as the CPU's convolutions read them.
#pragma once

#include <optional>

#include "../tensor.h"

namespace mmdet {

// Images (N, H, W, C) less an offset of each channel, zero outside.
struct Image {
  const void* data;  // float, or bfloat16
  bool is_bfloat16;
  const float* offset;  // or null
  int64_t height, width, channels;

  int64_t position_bytes() const {
    return channels * (is_bfloat16 ? 2 : 4);
  }
};

inline Image image_of(const Tensor& tensor, const std::optional<Tensor>& offset) {
  return {tensor.const_data_ptr(), tensor.scalar_type() == ScalarType::BFloat16,
          offset ? offset->const_data_ptr<float>() : nullptr, tensor.size(2), tensor.size(3), tensor.size(1)};
}

}  // namespace mmdet
