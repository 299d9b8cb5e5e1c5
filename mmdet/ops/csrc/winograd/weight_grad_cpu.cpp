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

constexpr int64_t kTilesAtOnce = 32;

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

// Tile `tile` of the channels of some panels: row `point_row` of the points of kSize x kSize positions of image n from
// (top, left) on. `memory` is for kSize lines of these channels.
template <int kLanes, int kTile, int kSize, typename T>
MMDET_INLINE void gather_row(const Image& image, int64_t n, int64_t top, int64_t left, int point_row,
                             int64_t first_panel, const Panels& panels, int64_t tile, float* memory) {
  using Kernel = Winograd<kLanes>;
  const int64_t first = first_panel * Kernel::kWidth, channels = panels.num_panels * Kernel::kWidth;
  const T* rows[kSize];  // where the image's first column would be
  float factors[kSize];
  int num_rows = 0;
  for (int i = 0; i < kSize; ++i) {
    const int64_t y = top + i;
    if (kMatrix<kTile, kSize>[point_row][i] != 0 && y >= 0 && y < image.height) {
      rows[num_rows] =
          static_cast<const T*>(image.data) + ((n * image.height + y) * image.width + left) * image.channels + first;
      factors[num_rows++] = kMatrix<kTile, kSize>[point_row][i];
    }
  }
  const float* offset = image.offset ? image.offset + first : nullptr;
  for (int j = 0; j < kSize; ++j) {
    float* line = memory + j * channels;
    const int64_t count = left + j >= 0 && left + j < image.width ? std::min(channels, image.channels - first) : 0;
    int64_t channel = 0;
    for (; channel + 4 * kLanes <= count; channel += 4 * kLanes) {
      add_rows<kLanes, 4>(rows, factors, num_rows, j * image.channels + channel, offset ? offset + channel : nullptr,
                             kLanes, line + channel);
    }
    for (; channel < count; channel += kLanes) {
      add_rows<kLanes, 1>(rows, factors, num_rows, j * image.channels + channel, offset ? offset + channel : nullptr,
                             count - channel, line + channel);
    }
    std::fill(line + std::min(channel, channels), line + channels, 0.f);
  }
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    Vector<kLanes> line[kSize], points[kNumPoints<kTile>];
#pragma GCC unroll 9
    for (int j = 0; j < kSize; ++j) {
      line[j] = Kernel::load(memory + j * channels + channel);
    }
    Kernel::template transform<kTile, kSize>(line, 1, points);
#pragma GCC unroll 9
    for (int point = 0; point < kNumPoints<kTile>; ++point) {
      Kernel::store(panels.at(point, channel / Kernel::kWidth) + tile * Kernel::kWidth + channel % Kernel::kWidth,
                    points[point]);
    }
  }
}

template <int kLanes, int kTile, int kSize>
MMDET_INLINE void gather_tile(const Image& image, int64_t n, int64_t top, int64_t left, int point_row,
                              int64_t first_panel, const Panels& panels, int64_t tile, float* memory) {
  if (image.is_bfloat16) {
    gather_row<kLanes, kTile, kSize, uint16_t>(image, n, top, left, point_row, first_panel, panels, tile, memory);
  } else {
    gather_row<kLanes, kTile, kSize, float>(image, n, top, left, point_row, first_panel, panels, tile, memory);
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

// The sums over all tiles for a row of points and the output channels of some panels.
template <int kLanes, int kTile>
MMDET_INLINE void sum_tiles(const Work& work, int point_row, int64_t first_panel, int64_t last_panel,
                            float* workspace) {
  using Kernel = Winograd<kLanes>;
  constexpr int kPoints = kNumPoints<kTile>;
  const int64_t columns = work.in_panels * Kernel::kWidth, num_rows = (last_panel - first_panel) * Kernel::kWidth;
  const int64_t point_size = num_rows * columns + kLine;
  float* products = workspace;  // (point, output channel, input channel)
  Panels inputs{products + kPoints * point_size, work.in_panels, work.at_once, Kernel::kWidth};
  Panels grads{inputs.data + kPoints * inputs.point_size(), last_panel - first_panel, work.at_once, Kernel::kWidth};
  float* lines = grads.data + kPoints * grads.point_size();
  for (int64_t start = 0; start < work.num_tiles; start += work.at_once) {
    inputs.num_tiles = grads.num_tiles = std::min(work.at_once, work.num_tiles - start);
    for (int64_t tile = 0; tile < inputs.num_tiles; ++tile) {
      const auto [n, top, left] = work.tiles.at(start + tile);
      gather_tile<kLanes, kTile, kPoints>(work.input, n, top - work.pad_y, left - work.pad_x, point_row, 0, inputs,
                                          tile, lines);
      gather_tile<kLanes, kTile, kTile>(work.grad, n, top, left, point_row, first_panel, grads, tile, lines);
    }
    const int64_t portions = kPoints * grads.num_panels * inputs.num_panels * Kernel::kWidth / kRows<kLanes>;
    const int64_t next = start + inputs.num_tiles, last = std::min(next + work.at_once, work.num_tiles);
    const Ahead next_inputs(work.input, work.tiles, work.num_tiles, next, last, portions);
    const Ahead next_grads(work.grad, work.tiles, work.num_tiles, next, last, portions);
    int64_t portion = 0;
    for (int point = 0; point < kPoints; ++point) {
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
  float* sums = work.sums + point_row * 3 * plane + first_panel * Kernel::kWidth * columns;
  for (int64_t i = 0; i < num_rows * columns; i += kLanes) {
    Kernel::template sum_points<kTile>(products + i, point_size, sums + i, plane);
  }
}

// Items: a worker, which takes its share of the rows of points and parts of output channels. Whole rows come first: so
// the workers read the same tiles at the same time, and only one of them from memory.
template <int kLanes>
MMDET_INLINE void sum_rows(const Work& work, int64_t begin, int64_t end) {
  const int64_t parts = work.num_parts, num_tasks = (work.tiles.size + 2) * parts;
  for (int64_t worker = begin; worker < end; ++worker) {
    const int64_t first = worker * num_tasks / work.num_workers, last = (worker + 1) * num_tasks / work.num_workers;
    float* workspace = work.workspaces + worker * work.workspace_size;
    for (const bool whole : {true, false}) {
      for (int64_t row = first / parts; row * parts < last; ++row) {
        const int64_t part = std::max(first, row * parts), end_part = std::min(last, (row + 1) * parts);
        const int64_t panel = (part - row * parts) * work.out_panels / parts;
        const int64_t end_panel = (end_part - row * parts) * work.out_panels / parts;
        if ((end_part - part == parts) != whole) {
          continue;
        }
        if (work.tiles.size == 7) {
          sum_tiles<kLanes, 7>(work, static_cast<int>(row), panel, end_panel, workspace);
        } else {
          sum_tiles<kLanes, 4>(work, static_cast<int>(row), panel, end_panel, workspace);
        }
      }
    }
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
  const int64_t at_once = std::min(kTilesAtOnce, num_tiles);
  const int64_t plane = out_panels * width * in_panels * width;
  const int64_t workspace_size =
      points * (plane + kLine + (in_panels + out_panels) * at_once * width + 2 * kLine) +
      points * std::max(in_panels, out_panels) * width;
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
