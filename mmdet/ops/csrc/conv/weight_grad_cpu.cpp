// The weight gradient of 3x3 convolutions on the CPU. A thread takes one or two rows of points through all tiles, so that
// what it sums up stays in a cache.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <numeric>

#include "ahead.h"
#include "point_rows.h"
#include "processors.h"
#include "workspace.h"

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

// The part of an image that tiles `begin` to `end` read, about: what they read besides was read for those before them.
MMDET_INLINE Ahead tiles_ahead(const Image& image, const Tiles& tiles, int64_t num_tiles, int64_t begin, int64_t end,
                               int64_t portions) {
  const int64_t row = image.width * image.position_bytes();
  const int64_t size = num_tiles / (tiles.rows * tiles.columns) * image.height * row;
  const int64_t under = (tiles.size + 1) * row;  // the first of a row of tiles reads the last lines under it, too
  const int64_t first = std::min(size * begin / num_tiles + under, size);
  const int64_t last = std::min(size * end / num_tiles + under, size);
  return {static_cast<const char*>(image.data) + first, last - first, portions};
}

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
    const Ahead next_inputs = tiles_ahead(work.input, work.tiles, work.num_tiles, next, last, portions);
    const Ahead next_grads = tiles_ahead(work.grad, work.tiles, work.num_tiles, next, last, portions);
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
        const bool is_whole = end_part - part == parts, paired = row >= kFirstPair<kTile> && row < kPoints - 1;
        const bool second = paired && (row - kFirstPair<kTile>) % 2 == 1;
        const bool both = paired && !second && is_whole && (place + 2) * parts <= last;
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
  // The most a worker has at a time.
  const int64_t share = (points * num_parts + num_workers - 1) / num_workers;
  const int64_t most_points = share >= 2 * num_parts ? 2 * points : points;
  const int64_t most_panels = (out_panels * std::min(share, num_parts) + num_parts - 1) / num_parts;
  const int64_t workspace_size = most_points * (most_panels * width * in_panels * width + kLine +
                                                (in_panels + most_panels) * at_once * width + 2 * kLine) +
                                 2 * points * std::max(in_panels, most_panels) * width;
  const int64_t plane = out_panels * width * in_panels * width;
  Tensor memory = workspace(3 * points * plane + num_workers * workspace_size, x);
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
