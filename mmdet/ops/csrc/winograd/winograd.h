// 3x3 convolutions and their weight gradients by minimal filtering, F(4x4, 3x3) and F(3x3, 4x4) of Lavin & Gray
// (arXiv 1509.09308): a tile of 4x4 output positions takes 36 products in place of 144. The points are 0, the roots of
// 1/2 and of 2, and infinity: of 0, 1, -1, 2 and -2 the error would be four times as large.
#pragma once

#include <cstdint>
#include <cstring>

// Sums here are of many terms; with fused multiply-adds they take half as long.
#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are handed on only where they are inlined
#endif

#define MMDET_INLINE inline __attribute__((always_inline))

namespace mmdet {

constexpr int kTile = 4;           // output positions of a tile, each way
constexpr int kPatch = kTile + 2;  // input positions under them, and points
constexpr float kRootHalf = 0.70710678f, kRoot2 = 1.41421356f;
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

// The tiles of images: an image's rows of tiles, one after the other.
struct Tiles {
  struct Place {
    int64_t n, top, left;  // image, and the tile's first output position
  };
  int64_t rows, columns;

  Place at(int64_t tile) const {
    const int64_t row = tile / columns;
    return {row / rows, row % rows * kTile, tile % columns * kTile};
  }
};

// Where the positions of a square lie in an image: elements from its start on, or -1 outside.
template <int kSize>
struct Square {
  int64_t offsets[kSize * kSize];

  Square(const Image& image, int64_t n, int64_t top, int64_t left) {
    for (int i = 0; i < kSize; ++i) {
      for (int j = 0; j < kSize; ++j) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
        offsets[i * kSize + j] = inside ? ((n * image.height + y) * image.width + x) * image.channels : -1;
      }
    }
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

  // in: the positions or taps of a line, out: its points; both `step` apart.
  template <int kSize>
  static MMDET_INLINE void transform(const Vector* in, int step, Vector* out) {
    Vector even, odd, even_2, odd_2;  // of the roots of 1/2 and of 2
    if constexpr (kSize == kPatch) {
      const Vector d0 = in[0], d1 = in[step], d2 = in[2 * step], d3 = in[3 * step], d4 = in[4 * step],
                   d5 = in[5 * step];
      even = d4 - 2 * d2;
      odd = (d3 - 2 * d1) * kRootHalf;
      even_2 = d4 - 0.5f * d2;
      odd_2 = (d3 - 0.5f * d1) * kRoot2;
      out[0] = d0 - 2.5f * d2 + d4;
      out[5 * step] = d1 - 2.5f * d3 + d5;
    } else {
      const Vector g0 = in[0], g1 = in[step], g2 = in[2 * step], g3 = kSize == 4 ? in[3 * step] : Vector{};
      even = (g0 + 0.5f * g2) * (-2 / 3.f);
      odd = (g1 + 0.5f * g3) * (-2 / 3.f * kRootHalf);
      even_2 = (g0 + 2 * g2) * (1 / 6.f);
      odd_2 = (g1 + 2 * g3) * (1 / 6.f * kRoot2);
      out[0] = g0;
      out[5 * step] = kSize == 4 ? g3 : g2;
    }
    out[step] = even + odd;
    out[2 * step] = even - odd;
    out[3 * step] = even_2 + odd_2;
    out[4 * step] = even_2 - odd_2;
  }

  // in: the points of a line; out: kSize sums, of weights or of output positions; both `step` apart.
  template <int kSize>
  static MMDET_INLINE void sum_line(const Vector* in, int step, Vector* out) {
    const Vector sum = in[step] + in[2 * step], difference = (in[step] - in[2 * step]) * kRootHalf;
    const Vector sum_2 = in[3 * step] + in[4 * step], difference_2 = (in[3 * step] - in[4 * step]) * kRoot2;
    const Vector infinity = in[5 * step];
    out[0] = in[0] + sum + sum_2;
    out[step] = difference + difference_2;
    out[2 * step] = 0.5f * sum + 2 * sum_2;
    if constexpr (kSize == 4) {
      out[3 * step] = 0.5f * difference + 2 * difference_2 + infinity;
    } else {
      out[2 * step] += infinity;
    }
  }

  // (kSize, kSize) positions or taps, to (6, 6) points; the rows of both are kPatch apart.
  template <int kSize>
  static MMDET_INLINE void transform_square(Vector* lines, Vector* points) {
    for (int j = 0; j < kSize; ++j) {
      transform<kSize>(lines + j, kPatch, lines + j);
    }
    for (int i = 0; i < kPatch; ++i) {
      transform<kSize>(lines + i * kPatch, 1, points + i * kPatch);
    }
  }

  // Tile `tile` of all channels: the 36 points of the 6x6 positions of image n from (top, left) on.
  static MMDET_INLINE void gather(const Image& image, int64_t n, int64_t top, int64_t left, const Panels& panels,
                                  int64_t tile) {
    const Square<kPatch> square(image, n, top, left);
    const float* data = static_cast<const float*>(image.data);
    for (int64_t channel = 0; channel < panels.width; channel += kLanes) {
      Vector lines[kPatch * kPatch], points[kPatch * kPatch];
      for (int i = 0; i < kPatch * kPatch; ++i) {
        const int64_t offset = square.offsets[i];
        lines[i] = offset < 0 ? Vector{} : load_some(data + offset + channel, image.channels - channel);
      }
      transform_square<kPatch>(lines, points);
      for (int point = 0; point < kPatch * kPatch; ++point) {
        store(panels.at(point, 0) + tile * panels.width + channel, points[point]);
      }
    }
  }

  // Tile `tile` of the channels of some panels: row `point_row` of the points of kSize x kSize positions.
  template <int kSize, typename T>
  static MMDET_INLINE void gather_row(const Image& image, int64_t n, int64_t top, int64_t left, int point_row,
                                      int64_t first_panel, const Panels& panels, int64_t tile) {
    const Square<kSize> square(image, n, top, left);
    const T* data = static_cast<const T*>(image.data);
    int used[kSize], num_used = 0;  // rows of positions
    float factors[kSize];           // of these
    for (int i = 0; i < kSize; ++i) {
      Vector unit[kSize] = {}, points[kPatch];
      unit[i] += 1;
      transform<kSize>(unit, 1, points);
      std::memcpy(&factors[num_used], &points[point_row], sizeof(float));
      used[num_used] = i;
      num_used += factors[num_used] != 0;
    }
    for (int64_t channel = 0; channel < panels.num_panels * kWidth; channel += kLanes) {
      const int64_t source = first_panel * kWidth + channel, count = image.channels - source;
      Vector line[kSize], points[kPatch];
      const Vector shift = image.offset && count > 0 ? load_some(image.offset + source, count) : Vector{};
#pragma GCC unroll 6
      for (int j = 0; j < kSize; ++j) {
        Vector sum{};
        for (int k = 0; k < num_used && count > 0; ++k) {
          const int64_t offset = square.offsets[used[k] * kSize + j];
          if (offset >= 0) {
            sum += factors[k] * (load_some(data + offset + source, count) - shift);
          }
        }
        line[j] = sum;
      }
      transform<kSize>(line, 1, points);
      for (int point = 0; point < kPatch; ++point) {
        store(panels.at(point, channel / kWidth) + tile * kWidth + channel % kWidth, points[point]);
      }
    }
  }

  // out (kRows, kWidth), its rows `stride` apart, = or += sum over k < depth of a(row, k) * b(k, column)
  template <int kRows>
  static MMDET_INLINE void multiply(const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t depth,
                                    bool add, float* out, int64_t stride) {
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
  static MMDET_INLINE void sum_points(const float* products, int64_t step, float* out, int64_t out_step) {
    Vector points[kPatch], sums[3];
    for (int point = 0; point < kPatch; ++point) {
      points[point] = load(products + point * step);
    }
    sum_line<3>(points, 1, sums);
    for (int k = 0; k < 3; ++k) {
      store(out + k * out_step, sums[k]);
    }
  }

  // products: of 36 points, `step` apart; out: the pixels of a tile, of which `height` x `width` are inside.
  static MMDET_INLINE void scatter(const float* products, int64_t step, const float* bias, int64_t height,
                                   int64_t width, int64_t channels, float* out, int64_t row_stride,
                                   int64_t column_stride) {
    Vector lines[kPatch * kPatch];
    for (int point = 0; point < kPatch * kPatch; ++point) {
      lines[point] = load(products + point * step);
    }
    const Vector shift = bias ? load_some(bias, channels) : Vector{};
    for (int j = 0; j < kPatch; ++j) {
      sum_line<kTile>(lines + j, kPatch, lines + j);
    }
    for (int i = 0; i < kTile; ++i) {
      sum_line<kTile>(lines + i * kPatch, 1, lines + i * kPatch);
    }
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        const Vector value = lines[i * kPatch + j] + shift;
        std::memcpy(out + i * row_stride + j * column_stride, &value,
                    channels >= kLanes ? sizeof(Vector) : channels * sizeof(float));
      }
    }
  }
};

}  // namespace mmdet
