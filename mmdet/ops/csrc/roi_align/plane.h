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

// Scratch that a thread keeps from one RoI to the next.
template <typename T, typename Row>
struct PlanePool {
  std::vector<Row*> rows;
  std::vector<T> line;

  // The rows of bin p, each from the first column that counts.
  void gather(Row* origin, int64_t stride, const Taps<T>& y, int64_t p, const Taps<T>& x) {
    rows.clear();
    for (int64_t k = y.starts[p]; k < y.starts[p + 1]; ++k) {
      rows.push_back(origin + y.pixels[k] * stride + x.first);
    }
    line.assign(x.span(), T(0));
  }

  // out (bins, bins): first the rows of a bin are summed into a line, then the line into bins.
  template <typename Out>
  void pool(Row* origin, int64_t stride, const Taps<T>& y, const Taps<T>& x, Out* out) {
    for (int64_t p = 0; p < y.bins(); ++p) {
      gather(origin, stride, y, p, x);
      weighted_sum(rows.data(), y.weights.data() + y.starts[p], y.starts[p + 1] - y.starts[p], line.data(), x.span());
      for (int64_t q = 0; q < x.bins(); ++q) {
        T sum = 0;
        for (int64_t k = x.starts[q]; k < x.starts[q + 1]; ++k) {
          sum += x.weights[k] * line[x.pixels[k] - x.first];
        }
        *out++ = static_cast<Out>(sum);
      }
    }
  }

  // The transpose of pool: adds the gradient of the bins to the pixels.
  void spread(Row* origin, int64_t stride, const Taps<T>& y, const Taps<T>& x, const T* grad) {
    for (int64_t p = 0; p < y.bins(); ++p) {
      gather(origin, stride, y, p, x);
      for (int64_t q = 0; q < x.bins(); ++q, ++grad) {
        for (int64_t k = x.starts[q]; k < x.starts[q + 1]; ++k) {
          line[x.pixels[k] - x.first] += x.weights[k] * *grad;
        }
      }
      add_outer(rows.data(), y.weights.data() + y.starts[p], y.starts[p + 1] - y.starts[p], line.data(), x.span());
    }
  }
};

}  // namespace mmdet
