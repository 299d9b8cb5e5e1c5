// 3x3 convolutions and their weight gradients by minimal filtering, F(4x4, 3x3) and F(3x3, 4x4) of Lavin & Gray
// (arXiv 1509.09308): a tile of 4x4 output positions takes 36 products in place of 144. F(3x3, 7x7) takes 81 in place of
// 441, and its error is ten times as large.
#pragma once

#include <cstdint>
#include <cstring>

#include "points.h"

// Sums here are of many terms; with fused multiply-adds they take half as long.
#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are handed on only where they are inlined
#endif

#define MMDET_INLINE inline __attribute__((always_inline))

namespace mmdet {

constexpr int kLine = 16;  // floats of a cache line; one more between points keeps them out of each other's place there

// Images (N, H, W, C) less an offset of each channel, zero outside.
struct Image {
  const void* data;  // float, or bfloat16
  bool is_bfloat16;
  const float* offset;  // or null
  int64_t height, width, channels;
};

// Transformed tiles (point, panel, tile, channel); a panel holds `width` channels, the last ones may be zero.
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
struct Winograd {
  typedef float Vector __attribute__((vector_size(4 * kLanes)));

  static constexpr int kWidth = 2 * kLanes;  // of a panel

  static MMDET_INLINE Vector load(const float* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof(Vector));
    return vector;
  }

  // The first `count`, then zeros.
  static MMDET_INLINE Vector load_some(const float* from, int64_t count) {
    if (count >= kLanes) {
      return load(from);
    }
    Vector vector{};
    std::memcpy(&vector, from, count * sizeof(float));
    return vector;
  }

  // bfloat16, which is the upper half of a float
  static MMDET_INLINE Vector load_some(const uint16_t* from, int64_t count) {
    uint16_t halves[kLanes] = {};
    if (count >= kLanes) {
      std::memcpy(halves, from, sizeof(halves));
    } else {
      std::memcpy(halves, from, count * sizeof(uint16_t));
    }
    uint32_t words[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      words[lane] = static_cast<uint32_t>(halves[lane]) << 16;
    }
    Vector vector;
    std::memcpy(&vector, words, sizeof(Vector));
    return vector;
  }

  static MMDET_INLINE void store(float* to, const Vector& vector) {
    std::memcpy(to, &vector, sizeof(Vector));
  }

  // in: kSize positions or weights of a line, out: its points; both `step` apart.
  template <int kTile, int kSize>
  static MMDET_INLINE void transform(const Vector* in, int step, Vector* out) {
    constexpr auto& matrix = kMatrix<kTile, kSize>;
    constexpr int last = kNumPoints<kTile> - 1;
    Vector line[kSize];
#pragma GCC unroll 9
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

  // out (kRows, kWidth), its rows `stride` apart, = or += sum over k < depth of a(row, k) * b(k, column)
  template <int kRows>
  static MMDET_INLINE void multiply(const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t depth,
                                    bool add, float* out, int64_t stride) {
    if (add) {  // they are here when they are needed
      for (int row = 0; row < kRows; ++row) {
        __builtin_prefetch(out + row * stride, 1);
        __builtin_prefetch(out + row * stride + kLanes, 1);
      }
    }
    Vector sums[kRows][2] = {};
    for (int64_t k = 0; k < depth; ++k) {
      const Vector left = load(b + k * kWidth), right = load(b + k * kWidth + kLanes);
#pragma GCC unroll 12
      for (int row = 0; row < kRows; ++row) {
        const float value = a[row * row_step + k * k_step];
        sums[row][0] += value * left;
        sums[row][1] += value * right;
      }
    }
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      float* target = out + row * stride;
      store(target, add ? load(target) + sums[row][0] : sums[row][0]);
      store(target + kLanes, add ? load(target + kLanes) + sums[row][1] : sums[row][1]);
    }
  }

  // The three sums of a line of products, `step` apart; `out_step` between them.
  template <int kTile>
  static MMDET_INLINE void sum_points(const float* products, int64_t step, float* out, int64_t out_step) {
    Vector points[kNumPoints<kTile>], sums[3];
#pragma GCC unroll 9
    for (int point = 0; point < kNumPoints<kTile>; ++point) {
      points[point] = load(products + point * step);
    }
    sum_line<kTile, 3>(points, 1, sums);
    for (int k = 0; k < 3; ++k) {
      store(out + k * out_step, sums[k]);
    }
  }
};

template <int kLanes>
using Vector = typename Winograd<kLanes>::Vector;

}  // namespace mmdet
