// Where an image's pixels fall in a mask map that is stretched over a box, one axis at a time.
#pragma once

#include <cmath>
#include <cstdint>

#include "../host_device.h"

namespace mmdet {

struct Cells {
  float lower, upper;     // the box, in pixels of the image
  int64_t count, pixels;  // cells of the map, pixels of the image

  MMDET_HOST_DEVICE bool drawn() const {
    return std::isfinite(lower) && std::isfinite(upper) && upper > lower;
  }

  // The pixels that see the map: interpolation against the zeros around it reaches half a cell beyond the box.
  MMDET_HOST_DEVICE int64_t begin() const {
    return clamp(std::floor(lower - margin()));
  }
  MMDET_HOST_DEVICE int64_t end() const {
    return clamp(std::ceil(upper + margin()));
  }

  // Position of a pixel's centre among the centres of cells, 0 to count - 1. From -2 and from count + 1 on there are
  // zeros alone, and a box of next to no size would put it beyond all integers.
  MMDET_HOST_DEVICE float position(int64_t pixel) const {
    const auto cells = static_cast<float>(count);
    const float place = product((static_cast<float>(pixel) + 0.5f - lower) / (upper - lower), cells) - 0.5f;
    return std::fmin(std::fmax(place, -2.0f), cells + 1.0f);
  }

 private:
  MMDET_HOST_DEVICE float margin() const {
    return (upper - lower) / static_cast<float>(2 * count);
  }
  MMDET_HOST_DEVICE int64_t clamp(float pixel) const {
    return static_cast<int64_t>(std::fmin(std::fmax(pixel, 0.0f), static_cast<float>(pixels)));
  }
};

// Value between two cells, at this share of the way from the first to the second; exact where both are equal.
MMDET_HOST_DEVICE float between(float before, float after, float share) {
  return before + product(share, after - before);
}

// Value at a position between cells; zeros stand on both sides of the map.
template <typename Read>
MMDET_HOST_DEVICE float interpolate(float position, int64_t count, const Read& read) {
  const float whole = std::floor(position), share = position - whole;
  const auto cell = static_cast<int64_t>(whole);
  const float before = cell >= 0 && cell < count ? read(cell) : 0.0f;
  const float after = cell >= -1 && cell + 1 < count ? read(cell + 1) : 0.0f;
  return between(before, after, share);
}

// Value at pixel (i, j) of the image, of a map that y and x stretch over a box.
MMDET_HOST_DEVICE float value_at(const float* map, const Cells& y, const Cells& x, int64_t i, int64_t j) {
  const float vertical = y.position(i);
  return interpolate(x.position(j), x.count, [&](int64_t column) {
    return interpolate(vertical, y.count, [&](int64_t row) { return map[row * x.count + column]; });
  });
}

}  // namespace mmdet
