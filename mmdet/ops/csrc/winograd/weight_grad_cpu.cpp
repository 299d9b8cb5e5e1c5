// The weight gradient of 3x3 convolutions on the CPU. A thread takes a row of points through all tiles, so that what it
// sums up stays in a cache.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <numeric>

#include "../tensor.h"
#include "processors.h"
#include "winograd.h"

namespace mmdet {
namespace {

constexpr int64_t kTilesAtOnce = 48;

template <int kLanes>
constexpr int kRows = kLanes == 16 ? 8 : 4;  // multiplied at once; a panel holds a whole number of them

struct Work {
  Image input, grad;
  int64_t pad_y, pad_x, num_tiles, at_once;
  Tiles tiles;
  int64_t in_panels, out_panels, num_parts, num_workers;
  float* workspaces;
  int64_t workspace_size;
  float* sums;     // (row of points, column of the kernel, output channel, input channel), of whole panels
  float* weights;  // (output channel, input channel, 3, 3), or input channels last
  bool channels_last;
};

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
#pragma GCC unroll 9
      for (int j = 0; j < kSize; ++j) {
        const float* even = memory + j * channels + channel;
        line[j] = Kernel::load(even) + sign * Kernel::load(even + kSize * channels);
      }
      Kernel::template transform<kTile, kSize>(line, 1, points);
      const int64_t place = tile * Kernel::kWidth + channel % Kernel::kWidth;
#pragma GCC unroll 9
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

// The part of an image that the next tiles read, about: it is asked for, in `count` portions, before they are gathered.
struct Ahead {
  const char* from;
  int64_t lines, count;

  Ahead(const Image& image, const Tiles& tiles, int64_t num_tiles, int64_t begin, int64_t end, int64_t count)
      : count(count) {
    const int64_t row = image.width * image.channels * (image.is_bfloat16 ? 2 : 4);
    const int64_t size = num_tiles / (tiles.rows * tiles.columns) * image.height * row;
    const int64_t under = (tiles.size + 1) * row;  // the first of a row of tiles reads the last lines under it, too
    const int64_t first = std::min(size * begin / num_tiles + under, size);
    from = static_cast<const char*>(image.data) + first;
    lines = (std::min(size * end / num_tiles + under, size) - first) / 64;
  }

  MMDET_INLINE void ask(int64_t portion) const {
    const char* end = from + lines * (portion + 1) / count * 64;
    for (const char* line = from + lines * portion / count * 64; line < end; line += 64) {
      __builtin_prefetch(line, 0, 2);
    }
  }
};

// The sums over all tiles for some rows of points and the output channels of some panels.
template <int kLanes, int kTile>
MMDET_INLINE void sum_tiles(const Work& work, const PointRows& rows, int64_t first_panel, int64_t last_panel,
                            float* workspace) {
  using Kernel = Winograd<kLanes>;
  const int num_points = (rows.end - rows.begin) * kNumPoints<kTile>;
  const int64_t columns = work.in_panels * Kernel::kWidth, num_rows = (last_panel - first_panel) * Kernel::kWidth;
  const int64_t point_size = num_rows * columns + kLine;
  float* products = workspace;  // (point, output channel, input channel)
  Panels inputs{products + num_points * point_size, work.in_panels, work.at_once, Kernel::kWidth};
  Panels grads{inputs.data + num_points * inputs.point_size(), last_panel - first_panel, work.at_once, Kernel::kWidth};
  float* lines = grads.data + num_points * grads.point_size();
  for (int64_t start = 0; start < work.num_tiles; start += work.at_once) {
    inputs.num_tiles = grads.num_tiles = std::min(work.at_once, work.num_tiles - start);
    for (int64_t tile = 0; tile < inputs.num_tiles; ++tile) {
      const auto [n, top, left] = work.tiles.at(start + tile);
      gather_tile<kLanes, kTile, kNumPoints<kTile>>(work.input, n, top - work.pad_y, left - work.pad_x, rows, 0, inputs,
                                                    tile, lines);
      gather_tile<kLanes, kTile, kTile>(work.grad, n, top, left, rows, first_panel, grads, tile, lines);
    }
    const int64_t portions = num_points * grads.num_panels * inputs.num_panels * Kernel::kWidth / kRows<kLanes>;
    const int64_t next = start + inputs.num_tiles, last = std::min(next + work.at_once, work.num_tiles);
    const Ahead next_inputs(work.input, work.tiles, work.num_tiles, next, last, portions);
    const Ahead next_grads(work.grad, work.tiles, work.num_tiles, next, last, portions);
    int64_t portion = 0;
    for (int point = 0; point < num_points; ++point) {
      for (int64_t panel = 0; panel < grads.num_panels; ++panel) {
        for (int64_t column = 0; column < inputs.num_panels; ++column) {
          for (int64_t row = 0; row < Kernel::kWidth; row += kRows<kLanes>) {
            next_inputs.ask(portion);
            next_grads.ask(portion++);
            Kernel::template multiply<kRows<kLanes>>(
                grads.at(point, panel) + row, 1, Kernel::kWidth, inputs.at(point, column), inputs.num_tiles, start != 0,
                products + point * point_size + (panel * Kernel::kWidth + row) * columns + column * Kernel::kWidth,
                columns);
          }
        }
      }
    }
  }
  const int64_t plane = work.out_panels * Kernel::kWidth * columns;
  for (int which = rows.begin; which < rows.end; ++which) {
    const float* from = products + (which - rows.begin) * kNumPoints<kTile> * point_size;
    float* sums = work.sums + (rows.row + which) * 3 * plane + first_panel * Kernel::kWidth * columns;
    for (int64_t i = 0; i < num_rows * columns; i += kLanes) {
      Kernel::template sum_points<kTile>(from + i, point_size, sums + i, plane);
    }
  }
}

// The order in which rows of points are shared out: the single one lies where it does not part a pair of two workers.
template <int kTile>
constexpr int row_at(int place) {
  constexpr int last = kNumPoints<kTile> - 1, middle = last / 2;
  return kFirstPair<kTile> == 1 || place < middle ? place : place == middle ? last : place - 1;
}

// Items: a worker, which takes its share of the rows of points and parts of output channels. Whole rows come first: so
// the workers read the same tiles at the same time, and only one of them from memory.
template <int kLanes, int kTile>
MMDET_INLINE void sum_share(const Work& work, int64_t begin, int64_t end) {
  constexpr int kPoints = kNumPoints<kTile>;
  const int64_t parts = work.num_parts, num_tasks = kPoints * parts;
  for (int64_t worker = begin; worker < end; ++worker) {
    const int64_t first = worker * num_tasks / work.num_workers, last = (worker + 1) * num_tasks / work.num_workers;
    float* workspace = work.workspaces + worker * work.workspace_size;
    for (const bool whole : {true, false}) {
      for (int64_t place = first / parts; place * parts < last;) {
        const int64_t part = std::max(first, place * parts), end_part = std::min(last, (place + 1) * parts);
        const int row = row_at<kTile>(static_cast<int>(place));
        const int pair = row - kFirstPair<kTile>;  // even: the first of one
        const bool is_whole = end_part - part == parts, second = row < kPoints - 1 && pair >= 0 && pair % 2 == 1;
        const bool both = is_whole && row < kPoints - 1 && pair >= 0 && !second && (place + 2) * parts <= last;
        if (is_whole == whole) {
          const PointRows rows{second ? row - 1 : row, second, both || second ? 2 : 1};
          sum_tiles<kLanes, kTile>(work, rows, (part - place * parts) * work.out_panels / parts,
                                   (end_part - place * parts) * work.out_panels / parts, workspace);
        }
        place += both ? 2 : 1;
      }
    }
  }
}

template <int kLanes>
MMDET_INLINE void sum_rows(const Work& work, int64_t begin, int64_t end) {
  if (work.tiles.size == 7) {
    sum_share<kLanes, 7>(work, begin, end);
  } else {
    sum_share<kLanes, 4>(work, begin, end);
  }
}

// Items: an output channel.
template <int kLanes, int kTile>
MMDET_INLINE void write_channels(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  const int64_t cin = work.input.channels, columns = work.in_panels * Kernel::kWidth;
  const int64_t plane = work.out_panels * Kernel::kWidth * columns;
  const int64_t step = work.channels_last ? 1 : 9, tap_step = work.channels_last ? cin : 1;
  for (int64_t cout = begin; cout < end; ++cout) {
    for (int64_t channel = 0; channel < cin; channel += kLanes) {
      float taps[9][kLanes];
      for (int k = 0; k < 3; ++k) {
        Kernel::template sum_points<kTile>(work.sums + k * plane + cout * columns + channel, 3 * plane, taps[k],
                                           3 * kLanes);
      }
      float* weights = work.weights + cout * cin * 9 + channel * step;
      for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, cin - channel); ++lane) {
        for (int64_t k = 0; k < 9; ++k) {
          weights[lane * step + k * tap_step] = taps[k][lane];
        }
      }
    }
  }
}

template <int kLanes>
MMDET_INLINE void write_weights(const Work& work, int64_t begin, int64_t end) {
  if (work.tiles.size == 7) {
    write_channels<kLanes, 7>(work, begin, end);
  } else {
    write_channels<kLanes, 4>(work, begin, end);
  }
}

MMDET_STAGES(sum_rows, write_weights)

Image image_of(const Tensor& tensor, const std::optional<Tensor>& offset) {
  return {tensor.const_data_ptr(), tensor.scalar_type() == ScalarType::BFloat16,
          offset ? offset->const_data_ptr<float>() : nullptr, tensor.size(2), tensor.size(3), tensor.size(1)};
}

// x (B, Cin, H, W) and grad (B, Cout, H', W') are float32 or bfloat16 and dense channels-last; offset (Cout) is float32.
// tile: 4, or 7, which is faster where it fits, and less exact.
Tensor weight_grad_3x3(Tensor x, Tensor grad, std::optional<Tensor> offset, int64_t pad_y, int64_t pad_x,
                       bool channels_last, int64_t tile) {
  const Stages& run = stages();
  STD_TORCH_CHECK(tile == 4 || tile == 7, "weight_grad_3x3: tiles are of 4 or 7 positions");
  const int64_t cin = x.size(1), cout = grad.size(1), width = 2 * run.lanes, points = tile + 2;
  const int64_t in_panels = (cin + width - 1) / width, out_panels = (cout + width - 1) / width;
  const int64_t tiles_y = (grad.size(2) + tile - 1) / tile, tiles_x = (grad.size(3) + tile - 1) / tile;
  const int64_t num_tiles = x.size(0) * tiles_y * tiles_x;
  Tensor weights = empty({cout, cin, 3, 3}, ScalarType::Float, x, channels_last);
  if (num_tiles == 0) {
    return torch::stable::zero_(weights);
  }
  // As many parts of the output channels as give every thread the same work.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t num_parts = std::min(threads / std::gcd(threads, points), out_panels);
  const int64_t num_workers = std::min(threads, points * num_parts);
  const int64_t num_turns = (num_tiles + kTilesAtOnce - 1) / kTilesAtOnce;
  const int64_t at_once = (num_tiles + num_turns - 1) / num_turns;
  const int64_t plane = out_panels * width * in_panels * width;
  const int64_t workspace_size =
      2 * points * (plane + kLine + (in_panels + out_panels) * at_once * width + 2 * kLine +
                    std::max(in_panels, out_panels) * width);
  Tensor memory = empty({3 * points * plane + num_workers * workspace_size}, ScalarType::Float, x);
  float* sums = memory.mutable_data_ptr<float>();
  const Work work{
      .input = image_of(x, std::nullopt),
      .grad = image_of(grad, offset),
      .pad_y = pad_y,
      .pad_x = pad_x,
      .num_tiles = num_tiles,
      .at_once = at_once,
      .tiles = {tiles_y, tiles_x, tile},
      .in_panels = in_panels,
      .out_panels = out_panels,
      .num_parts = num_parts,
      .num_workers = num_workers,
      .workspaces = sums + 3 * points * plane,
      .workspace_size = workspace_size,
      .sums = sums,
      .weights = weights.mutable_data_ptr<float>(),
      .channels_last = channels_last,
  };
  torch::stable::parallel_for(0, num_workers, 1, [&](int64_t begin, int64_t end) { run.first(work, begin, end); });
  torch::stable::parallel_for(0, cout, 4, [&](int64_t begin, int64_t end) { run.second(work, begin, end); });
  return weights;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("weight_grad_3x3", TORCH_BOX(&weight_grad_3x3));
}

}  // namespace mmdet
