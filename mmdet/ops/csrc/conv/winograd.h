// 3x3 convolutions and their weight gradients by minimal filtering, F(4x4, 3x3) and F(3x3, 4x4) of Lavin & Gray
// (arXiv 1509.09308): a tile of 4x4 output positions takes 36 products in place of 144. F(3x3, 7x7) takes 81 in place of
// 441, F(3x3, 8x8) 100 in place of 576, and their error is 25 times as large.
#pragma once

#include "points.h"
#include "vectors.h"

namespace mmdet {

// Transformed tiles (point, panel, tile, channel); a panel holds `width` channels, the last ones may be zero. A cache
// line between points keeps them out of each other's place in a cache.
struct Panels {
  float* data;
  int64_t num_panels, num_tiles, width;

  int64_t point_size() const {
    return num_panels * num_tiles * width + kLine;
  }
  float* at(int64_t point, int64_t panel) const {
    return data + point * point_size() + panel * num_tiles * width;
  }
};

// The tiles of images, `size` output positions each way: an image's rows of tiles, one after the other.
struct Tiles {
  struct Place {
    int64_t n, top, left;  // image, and the tile's first output position
  };
  int64_t rows, columns, size;

  Place at(int64_t tile) const {
    const int64_t row = tile / columns;
    return {row / rows, row % rows * size, tile % columns * size};
  }
};

template <int kLanes>
struct Winograd : Vectors<kLanes> {
  using typename Vectors<kLanes>::Vector;
  using Vectors<kLanes>::load;
  using Vectors<kLanes>::store;

  // in: kSize positions or weights of a line, out: its points; both `step` apart.
  template <int kTile, int kSize>
  static MMDET_INLINE void transform(const Vector* in, int step, Vector* out) {
    constexpr auto& matrix = kMatrix<kTile, kSize>;
    constexpr int last = kNumPoints<kTile> - 1;
    Vector line[kSize];
#pragma GCC unroll 10
    for (int k = 0; k < kSize; ++k) {
      line[k] = in[k * step];
    }
    if constexpr (kFirstPair<kTile> == 1) {
      out[0] = weigh<0>(matrix[0], line) + weigh<1>(matrix[0], line);
    }
#pragma GCC unroll 4
    for (int point = kFirstPair<kTile>; point < last; point += 2) {
      const Vector even = weigh<0>(matrix[point], line), odd = weigh<1>(matrix[point], line);
      out[point * step] = even + odd;
      out[(point + 1) * step] = even - odd;
    }
    out[last * step] = weigh<0>(matrix[last], line) + weigh<1>(matrix[last], line);
  }

  // The sum of every other element, from kFirst on, each times its factor.
  template <int kFirst, size_t kSize>
  static MMDET_INLINE Vector weigh(const std::array<float, kSize>& factors, const Vector* line) {
    Vector sum{};
#pragma GCC unroll 5
    for (size_t k = kFirst; k < kSize; k += 2) {
      if (factors[k] != 0) {
        sum += factors[k] * line[k];
      }
    }
    return sum;
  }

  // in: the points of a line; out: kSize sums, of weights or of output positions; both `step` apart.
  template <int kTile, int kSize>
  static MMDET_INLINE void sum_line(const Vector* in, int step, Vector* out) {
    constexpr int first = kFirstPair<kTile>, last = kNumPoints<kTile> - 1;
    Vector sums[kSize] = {};
    if constexpr (first == 1) {
      sums[0] = in[0];
    }
#pragma GCC unroll 4
    for (int point = first; point < last; point += 2) {
      const Vector even = in[point * step] + in[(point + 1) * step], odd = in[point * step] - in[(point + 1) * step];
#pragma GCC unroll 4
      for (int k = 0; k < kSize; ++k) {
        sums[k] += kPowers<kTile>[point / 2][k] * (k % 2 ? odd : even);
      }
    }
    sums[kSize - 1] += in[last * step];
#pragma GCC unroll 4
    for (int k = 0; k < kSize; ++k) {
      out[k * step] = sums[k];
    }
  }

  // The three sums of a line of products, `step` apart, in place of or added to `out`; `out_step` between them.
  template <int kTile>
  static MMDET_INLINE void sum_points(const float* products, int64_t step, bool add, float* out, int64_t out_step) {
    Vector points[kNumPoints<kTile>], sums[3];
#pragma GCC unroll 10
    for (int point = 0; point < kNumPoints<kTile>; ++point) {
      points[point] = load(products + point * step);
    }
    sum_line<kTile, 3>(points, 1, sums);
    for (int k = 0; k < 3; ++k) {
      float* target = out + k * out_step;
      store(target, add ? load(target) + sums[k] : sums[k]);
    }
  }
};

}  // namespace mmdet
