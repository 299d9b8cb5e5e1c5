// The geometry of RoIAlign, one axis at a time.
//
// A bin is the mean of a grid of bilinear samples, so it separates: the weight of a pixel in a bin is its weight in the
// bin's rows times its weight in the bin's columns. Every kernel, forward or backward, CPU or CUDA, sums over pixels
// with the weights of this file.
#pragma once

#include <cmath>
#include <cstdint>

#include "../host_device.h"

namespace mmdet {

struct PixelRange {
  int64_t begin, end;
};

template <typename T>
struct Axis {
  T start;         // lower edge of the RoI, in pixels of the feature map
  T bin;           // length of a bin
  T samples;       // samples in a bin: whole, but no box is so large that it overflows
  int64_t length;  // pixels of the feature map

  MMDET_HOST_DEVICE Axis(T lower, T upper, T scale, bool aligned, int64_t bins, int64_t sampling_ratio, int64_t length)
      : length(length) {
    const T offset = aligned ? T(0.5) : T(0);
    start = lower * scale - offset;
    T size = upper * scale - offset - start;
    if (!aligned && size < 1) {
      size = 1;
    }
    bin = size / static_cast<T>(bins);
    samples = sampling_ratio > 0 ? static_cast<T>(sampling_ratio) : std::ceil(bin);
    if (!std::isfinite(start) || !std::isfinite(bin) || !(samples > 0)) {
      start = bin = samples = 0;
    }
  }

  // In torchvision's order of operations: at the map's edges a rounding error decides whether a sample counts.
  MMDET_HOST_DEVICE T sample(int64_t p, T i) const {
    return start + static_cast<T>(p) * bin + (i + T(0.5)) * bin / samples;
  }

  // Pixels that may have a weight in bin p.
  MMDET_HOST_DEVICE PixelRange pixels(int64_t p) const {
    if (samples == 0 || length == 0) {
      return {0, 0};
    }
    const T first = sample(p, 0), last = sample(p, samples - 1), limit = static_cast<T>(length - 1);
    const T low = std::floor(std::fmin(first, last)), high = std::floor(std::fmax(first, last)) + 1;
    return {static_cast<int64_t>(std::fmin(std::fmax(low, T(0)), limit)),
            static_cast<int64_t>(std::fmin(std::fmax(high, T(-1)), limit)) + 1};
  }

  // Weight of one pixel in bin p.
  MMDET_HOST_DEVICE T weight(int64_t p, int64_t pixel) const {
    const T origin = sample(p, 0), step = bin / samples;
    T first = 0, last = samples - 1;
    if (step != 0) {  // only samples within a pixel reach it; one more on either side for rounding
      const T before = (static_cast<T>(pixel - 1) - origin) / step, after = (static_cast<T>(pixel + 1) - origin) / step;
      first = std::fmax(first, std::floor(std::fmin(before, after)));
      last = std::fmin(last, std::ceil(std::fmax(before, after)));
    }
    T sum = 0;
    if (last >= first) {
      const auto count = static_cast<int64_t>(last - first) + 1;
      for (int64_t i = 0; i < count; ++i) {
        sum += share(sample(p, first + static_cast<T>(i)), pixel);
      }
    }
    return sum / samples;
  }

 private:
  // Weight of one pixel in a linear interpolation at `position`; up to a pixel outside, the edge pixel stands in.
  MMDET_HOST_DEVICE T share(T position, int64_t pixel) const {
    if (!(position >= -1 && position <= static_cast<T>(length))) {
      return 0;
    }
    const T inside = std::fmin(std::fmax(position, T(0)), static_cast<T>(length - 1));
    return std::fmax(T(0), 1 - std::fabs(inside - static_cast<T>(pixel)));
  }
};

}  // namespace mmdet
