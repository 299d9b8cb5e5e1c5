// Where all the pixels of one axis fall, at once: what the vectorized loops of the CPU kernels read.
#pragma once

#include <cmath>
#include <vector>

#include "cell.h"

namespace mmdet {

// The two cells each pixel from begin() to end() lies between, and the share of the second. A line of cells has
// kZeros zeros on both sides; the first two or the last two are all that a pixel beyond the reach of the map sees.
struct Neighbours {
  static constexpr int64_t kZeros = 2;
  std::vector<int32_t> cells;  // the first of the two, counted from the line's beginning
  std::vector<float> shares;

  void assign(const Cells& axis) {
    cells.clear();
    shares.clear();
    for (int64_t pixel = axis.begin(); pixel < axis.end(); ++pixel) {
      const float position = axis.position(pixel), whole = std::floor(position);
      const float cell = std::fmin(std::fmax(whole, -static_cast<float>(kZeros)), static_cast<float>(axis.count));
      cells.push_back(static_cast<int32_t>(cell) + static_cast<int32_t>(kZeros));
      shares.push_back(position - whole);
    }
  }
};

}  // namespace mmdet
