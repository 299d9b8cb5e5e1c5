// Tiles of an image to rows of points: all columns of a few rows at a time, of all channels.
#pragma once

#include <algorithm>

#include "image.h"
#include "winograd.h"

namespace mmdet {

// sums (kVectors): of each row, less a shift, times its factor, at one position. `count` of the channels exist.
template <int kLanes, int kVectors, typename T>
MMDET_INLINE void add_rows(const T* const* rows, const float* factors, int num_rows, int64_t from,
                           const float* shift, int64_t count, float* sums) {
  using Kernel = Winograd<kLanes>;
  Vector<kLanes> totals[kVectors] = {}, shifts[kVectors] = {};
  if (shift) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      shifts[i] = Kernel::load_some(shift + i * kLanes, count);
    }
  }
  for (int k = 0; k < num_rows; ++k) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      totals[i] += factors[k] * (Kernel::load_some(rows[k] + from + i * kLanes, count) - shifts[i]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    Kernel::store(sums + i * kLanes, totals[i]);
  }
}

// One or two rows of points. Those of opposite points are the sum and the difference of what the even and what the odd
// lines of positions give, so the two together take as long to gather as one of them.
struct PointRows {
  int row;         // of the matrix; the first of a pair
  int begin, end;  // 0, 1: this row, 1, 2: the second of the pair, 0, 2: both
};

// Tile `tile` of the channels of some panels: some rows of the points of kSize x kSize positions of image n from
// (top, left) on. `memory` is for 2 kSize lines of these channels.
template <int kLanes, int kTile, int kSize, typename T>
MMDET_INLINE void gather_rows(const Image& image, int64_t n, int64_t top, int64_t left, const PointRows& point_rows,
                              int64_t first_panel, const Panels& panels, int64_t tile, float* memory) {
  using Kernel = Winograd<kLanes>;
  constexpr int kPoints = kNumPoints<kTile>;
  const int64_t first = first_panel * Kernel::kWidth, channels = panels.num_panels * Kernel::kWidth;
  const T* rows[2][kSize];  // even and odd: where the image's first column would be
  float factors[2][kSize];
  int num_rows[2] = {0, 0};
  for (int i = 0; i < kSize; ++i) {
    const int64_t y = top + i;
    const float factor = kMatrix<kTile, kSize>[point_rows.row][i];
    if (factor != 0 && y >= 0 && y < image.height) {
      const int place = num_rows[i % 2]++;
      rows[i % 2][place] =
          static_cast<const T*>(image.data) + ((n * image.height + y) * image.width + left) * image.channels + first;
      factors[i % 2][place] = factor;
    }
  }
  const float* offset = image.offset ? image.offset + first : nullptr;
  for (int j = 0; j < kSize; ++j) {
    const int64_t count = left + j >= 0 && left + j < image.width ? std::min(channels, image.channels - first) : 0;
    for (int odd = 0; odd < 2; ++odd) {
      float* line = memory + (odd * kSize + j) * channels;
      int64_t channel = 0;
      for (; channel + 4 * kLanes <= count; channel += 4 * kLanes) {
        add_rows<kLanes, 4>(rows[odd], factors[odd], num_rows[odd], j * image.channels + channel,
                            offset ? offset + channel : nullptr, kLanes, line + channel);
      }
      for (; channel < count; channel += kLanes) {
        add_rows<kLanes, 1>(rows[odd], factors[odd], num_rows[odd], j * image.channels + channel,
                            offset ? offset + channel : nullptr, count - channel, line + channel);
      }
      std::fill(line + std::min(channel, channels), line + channels, 0.f);
    }
  }
  for (int which = point_rows.begin; which < point_rows.end; ++which) {
    const float sign = which == 0 ? 1 : -1;
    for (int64_t channel = 0; channel < channels; channel += kLanes) {
      Vector<kLanes> line[kSize], points[kPoints];
#pragma GCC unroll 10
      for (int j = 0; j < kSize; ++j) {
        const float* even = memory + j * channels + channel;
        line[j] = Kernel::load(even) + sign * Kernel::load(even + kSize * channels);
      }
      Kernel::template transform<kTile, kSize>(line, 1, points);
      const int64_t place = tile * Kernel::kWidth + channel % Kernel::kWidth;
#pragma GCC unroll 10
      for (int point = 0; point < kPoints; ++point) {
        Kernel::store(panels.at((which - point_rows.begin) * kPoints + point, channel / Kernel::kWidth) + place,
                      points[point]);
      }
    }
  }
}

template <int kLanes, int kTile, int kSize>
MMDET_INLINE void gather_tile(const Image& image, int64_t n, int64_t top, int64_t left, const PointRows& rows,
                              int64_t first_panel, const Panels& panels, int64_t tile, float* memory) {
  if (image.is_bfloat16) {
    gather_rows<kLanes, kTile, kSize, uint16_t>(image, n, top, left, rows, first_panel, panels, tile, memory);
  } else {
    gather_rows<kLanes, kTile, kSize, float>(image, n, top, left, rows, first_panel, panels, tile, memory);
  }
}

}  // namespace mmdet
