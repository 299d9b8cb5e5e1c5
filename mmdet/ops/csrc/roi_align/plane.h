// One RoI on one channel of pixels laid out row by row, on the CPU.
#pragma once

#include <algorithm>
#include <vector>

#include "../rows.h"
#include "axis.h"

namespace mmdet {

// The pixels of every bin of an axis with their weights, weightless ones left out; [begin, end) limits the pixels.
template <typename T>
struct Taps {
  std::vector<int64_t> pixels;
  std::vector<T> weights;
  std::vector<int64_t> starts;  // bin p has the taps starts[p] to starts[p + 1]
  int64_t first = 0, last = -1;  // the pixels of all bins lie between these, both included

  void assign(const Axis<T>& axis, int64_t bins, int64_t begin, int64_t end) {
    pixels.clear();
    weights.clear();
    starts.assign(1, 0);
    first = end;
    last = begin - 1;
    for (int64_t p = 0; p < bins; ++p) {
      const PixelRange range = axis.pixels(p);
      for (int64_t pixel = std::max(range.begin, begin); pixel < std::min(range.end, end); ++pixel) {
        const T weight = axis.weight(p, pixel);
        if (weight != 0) {
          pixels.push_back(pixel);
          weights.push_back(weight);
          first = std::min(first, pixel);
          last = std::max(last, pixel);
        }
      }
      starts.push_back(static_cast<int64_t>(pixels.size()));
    }
  }

  int64_t bins() const {
    return static_cast<int64_t>(starts.size()) - 1;
  }
  int64_t span() const {
    return std::max<int64_t>(last - first + 1, 0);
  }
};

// One RoI's bins in a plane: the rows of a bin first, then its columns.
template <typename T>
class PlanePool {
 public:
  void assign(const Taps<T>& y, const Taps<T>& x, int64_t stride) {
    y_ = &y;
    x_ = &x;
    line_.resize(x.span());
    offsets_.clear();
    for (int64_t pixel : y.pixels) {
      offsets_.push_back(pixel * stride + x.first);
    }
  }

  // out: (y bins, x bins)
  template <typename Pixel, typename Out>
  void pool(const Pixel* plane, Out* out) {
    for (int64_t p = 0; p < y_->bins(); ++p) {
      const int64_t start = y_->starts[p];
      std::fill(line_.begin(), line_.end(), T(0));
      add_rows(plane, offsets_.data() + start, y_->weights.data() + start, y_->starts[p + 1] - start, line_.data(),
               x_->span());
      for (int64_t q = 0; q < x_->bins(); ++q) {
        T sum = 0;
        for (int64_t k = x_->starts[q]; k < x_->starts[q + 1]; ++k) {
          sum += x_->weights[k] * line_[x_->pixels[k] - x_->first];
        }
        *out++ = static_cast<Out>(sum);
      }
    }
  }

  // The transpose of pool: adds the gradient of the bins to the pixels.
  void spread(T* plane, const T* grad) {
    for (int64_t p = 0; p < y_->bins(); ++p) {
      std::fill(line_.begin(), line_.end(), T(0));
      for (int64_t q = 0; q < x_->bins(); ++q, ++grad) {
        for (int64_t k = x_->starts[q]; k < x_->starts[q + 1]; ++k) {
          line_[x_->pixels[k] - x_->first] += x_->weights[k] * *grad;
        }
      }
      const int64_t start = y_->starts[p];
      add_to_rows(plane, offsets_.data() + start, y_->weights.data() + start, y_->starts[p + 1] - start, line_.data(),
                  x_->span());
    }
  }

 private:
  const Taps<T>* y_;
  const Taps<T>* x_;
  std::vector<int64_t> offsets_;  // of the rows, from the plane to the first column that counts
  std::vector<T> line_;
};

}  // namespace mmdet
