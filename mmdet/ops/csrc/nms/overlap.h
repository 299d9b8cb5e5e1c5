// When two boxes overlap too much, rounded as torchvision rounds on every device.
#pragma once

#include <cmath>
#include <limits>

#include "../host_device.h"

namespace mmdet {

// A float exceeds a double just when it exceeds the nearest float at or below it.
template <typename T>
T rounded_down(double threshold) {
  const T rounded = static_cast<T>(threshold);
  return rounded > threshold ? std::nextafter(rounded, -std::numeric_limits<T>::infinity()) : rounded;
}

// Whether IoU > threshold. A comparison with NaN keeps its first operand where torchvision's does.
template <typename T>
MMDET_HOST_DEVICE bool overlap(T kept_x1, T kept_y1, T kept_x2, T kept_y2, T x1, T y1, T x2, T y2, T threshold) {
  const T left = kept_x1 < x1 ? x1 : kept_x1, top = kept_y1 < y1 ? y1 : kept_y1;
  const T right = x2 < kept_x2 ? x2 : kept_x2, bottom = y2 < kept_y2 ? y2 : kept_y2;
  const T width = 0 < right - left ? right - left : 0, height = 0 < bottom - top ? bottom - top : 0;
  const T intersection = product(width, height);
  const T sum = product(kept_x2 - kept_x1, kept_y2 - kept_y1) + product(x2 - x1, y2 - y1);
  return intersection / (sum - intersection) > threshold;
}

}  // namespace mmdet
