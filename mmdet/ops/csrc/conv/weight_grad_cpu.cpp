// The weight gradient of 3x3 convolutions on the CPU. A thread takes some tiles after the other, and one or two rows of
// points of them at a time: so the tiles are read from memory once, and their points stay in a cache.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <numeric>

#include "ahead.h"
#include "point_rows.h"
#include "processors.h"
#include "workspace.h"

namespace mmdet {
namespace {

constexpr int64_t kTilesAtOnce = 72;

template <int kLanes>
constexpr int kRows = kLanes == 16 ? 8 : 4;  // multiplied at once; a panel holds a whole number of them

// Products of a panel and a panel; a cache line between points keeps them out of each other's place in a cache.
template <int kLanes>
constexpr int64_t kBlock = 4 * kLanes * kLanes + kLine;

// Of rows of points: (row, column of the kernel, panel, panel of inputs, output channel, input channel).
struct Sums {
  float* data;
  int64_t panels, in_panels, width;

  int64_t plane() const {
    return panels * in_panels * width * width + kLine;
  }
  float* at(int64_t row, int64_t panel, int64_t in_panel) const {
    return data + 3 * row * plane() + (panel * in_panels + in_panel) * width * width;
  }
};

struct Work {
  Image input, grad;
  int64_t pad_y, pad_x, num_tiles, at_once;
  Tiles tiles;
  int64_t num_parts, num_workers;
  float* workspaces;
  int64_t workspace_size;
  Sums sums;
  float* weights;  // (output channel, input channel, 3, 3), or input channels last
  bool channels_last;
  float scale;
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

// What a worker does at a time.
struct Task {
  PointRows rows;
  int64_t first_panel, last_panel;  // of the output channels
};

// Adds the tiles from `start` on to the sums of a task; `asks`: for the tiles after them.
template <int kLanes, int kTile>
MMDET_INLINE void sum_tiles(const Work& work, int64_t start, const Task& task, bool asks, float* workspace) {
  using Kernel = Winograd<kLanes>;
  constexpr int kWidth = Kernel::kWidth, kPoints = kNumPoints<kTile>;
  const PointRows& rows = task.rows;
  const int num_points = (rows.end - rows.begin) * kPoints;
  const int64_t num_tiles = std::min(work.at_once, work.num_tiles - start);
  float* products = workspace;  // (point, output channel, input channel), of one panel and one panel of inputs
  const Panels inputs{products + num_points * kBlock<kLanes>, work.sums.in_panels, num_tiles, kWidth};
  const Panels grads{inputs.data + num_points * inputs.point_size(), task.last_panel - task.first_panel, num_tiles,
                     kWidth};
  float* lines = grads.data + num_points * grads.point_size();
  for (int64_t tile = 0; tile < num_tiles; ++tile) {
    const auto [n, top, left] = work.tiles.at(start + tile);
    gather_tile<kLanes, kTile, kPoints>(work.input, n, top - work.pad_y, left - work.pad_x, rows, 0, inputs, tile,
                                        lines);
    gather_tile<kLanes, kTile, kTile>(work.grad, n, top, left, rows, task.first_panel, grads, tile, lines);
  }
  const int64_t portions = num_points * grads.num_panels * inputs.num_panels * kWidth / kRows<kLanes>;
  const int64_t next = start + num_tiles, end = asks ? std::min(next + work.at_once, work.num_tiles) : next;
  const Ahead next_inputs = tiles_ahead(work.input, work.tiles, work.num_tiles, next, end, portions);
  const Ahead next_grads = tiles_ahead(work.grad, work.tiles, work.num_tiles, next, end, portions);
  int64_t portion = 0;
  for (int64_t panel = 0; panel < grads.num_panels; ++panel) {
    for (int64_t in_panel = 0; in_panel < inputs.num_panels; ++in_panel) {
      for (int point = 0; point < num_points; ++point) {
        for (int64_t row = 0; row < kWidth; row += kRows<kLanes>) {
          next_inputs.ask(portion);
          next_grads.ask(portion++);
          Kernel::template multiply<kRows<kLanes>>(grads.at(point, panel) + row, 1, kWidth, inputs.at(point, in_panel),
                                                   num_tiles, false, products + point * kBlock<kLanes> + row * kWidth,
                                                   kWidth);
        }
      }
      for (int which = rows.begin; which < rows.end; ++which) {
        const float* from = products + (which - rows.begin) * kPoints * kBlock<kLanes>;
        float* sums = work.sums.at(rows.row + which, task.first_panel + panel, in_panel);
        for (int64_t i = 0; i < kWidth * kWidth; i += kLanes) {
          Kernel::template sum_points<kTile>(from + i, kBlock<kLanes>, start != 0, sums + i, work.sums.plane());
        }
      }
    }
  }
}

// The order in which rows of points are shared out: the single one lies where it does not part a pair of two workers.
template <int kTile>
constexpr int row_at(int place) {
  constexpr int last = kNumPoints<kTile> - 1, middle = last / 2;
  return kFirstPair<kTile> == 1 || place < middle ? place : place == middle ? last : place - 1;
}

// Writes a worker's share of the rows of points and parts of output channels; returns how many tasks it has.
template <int kTile>
MMDET_INLINE int make_tasks(const Work& work, int64_t worker, Task* tasks) {
  constexpr int kPoints = kNumPoints<kTile>;
  const int64_t parts = work.num_parts, num_tasks = kPoints * parts;
  const int64_t first = worker * num_tasks / work.num_workers, last = (worker + 1) * num_tasks / work.num_workers;
  int count = 0;
  for (int64_t place = first / parts; place * parts < last;) {
    const int64_t part = std::max(first, place * parts), end_part = std::min(last, (place + 1) * parts);
    const int row = row_at<kTile>(static_cast<int>(place));
    const bool paired = row >= kFirstPair<kTile> && row < kPoints - 1;
    const bool second = paired && (row - kFirstPair<kTile>) % 2 == 1;
    const bool both = paired && !second && end_part - part == parts && (place + 2) * parts <= last;
    tasks[count++] = {{second ? row - 1 : row, second, both || second ? 2 : 1},
                      (part - place * parts) * work.sums.panels / parts,
                      (end_part - place * parts) * work.sums.panels / parts};
    place += both ? 2 : 1;
  }
  return count;
}

// Items: a worker, which takes its share of the rows of points and parts of output channels.
template <int kLanes, int kTile>
MMDET_INLINE void sum_share(const Work& work, int64_t begin, int64_t end) {
  for (int64_t worker = begin; worker < end; ++worker) {
    Task tasks[kNumPoints<kTile>];
    const int count = make_tasks<kTile>(work, worker, tasks);
    for (int64_t start = 0; start < work.num_tiles; start += work.at_once) {
      for (int i = 0; i < count; ++i) {
        sum_tiles<kLanes, kTile>(work, start, tasks[i], i == count - 1, work.workspaces + worker * work.workspace_size);
      }
    }
  }
}

template <int kLanes>
MMDET_INLINE void sum_rows(const Work& work, int64_t begin, int64_t end) {
  if (work.tiles.size == 8) {
    sum_share<kLanes, 8>(work, begin, end);
  } else if (work.tiles.size == 7) {
    sum_share<kLanes, 7>(work, begin, end);
  } else {
    sum_share<kLanes, 4>(work, begin, end);
  }
}

// Items: a panel of output channels with a panel of inputs.
template <int kLanes, int kTile>
MMDET_INLINE void write_blocks(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  constexpr int kWidth = Kernel::kWidth;
  const int64_t cin = work.input.channels, plane = work.sums.plane();
  const int64_t step = work.channels_last ? 1 : 9, tap_step = work.channels_last ? cin : 1;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t panel = block / work.sums.in_panels, in_panel = block % work.sums.in_panels;
    const int64_t first_out = panel * kWidth, num_out = std::min(work.grad.channels - first_out, int64_t{kWidth});
    const int64_t first_in = in_panel * kWidth, num_in = std::min(cin - first_in, int64_t{kWidth});
    for (int64_t out = 0; out < num_out; ++out) {
      const float* sums = work.sums.at(0, panel, in_panel) + out * kWidth;
      float* weights = work.weights + (first_out + out) * cin * 9 + first_in * step;
      for (int64_t in = 0; in < num_in; in += kLanes) {
        float taps[9][kLanes];
        for (int k = 0; k < 3; ++k) {
          Kernel::template sum_points<kTile>(sums + k * plane + in, 3 * plane, false, taps[k], 3 * kLanes);
        }
        for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, num_in - in); ++lane) {
          for (int64_t k = 0; k < 9; ++k) {
            weights[(in + lane) * step + k * tap_step] = work.scale * taps[k][lane];
          }
        }
      }
    }
  }
}

template <int kLanes>
MMDET_INLINE void write_weights(const Work& work, int64_t begin, int64_t end) {
  if (work.tiles.size == 8) {
    write_blocks<kLanes, 8>(work, begin, end);
  } else if (work.tiles.size == 7) {
    write_blocks<kLanes, 7>(work, begin, end);
  } else {
    write_blocks<kLanes, 4>(work, begin, end);
  }
}

MMDET_STAGES(sum_rows, write_weights)

// x (B, Cin, H, W) and grad (B, Cout, H', W') are float32 or bfloat16 and dense channels-last; offset (Cout) is float32.
// tile: 4, or 7 or 8, which are faster where they fit, and less exact.
Tensor weight_grad_3x3(Tensor x, Tensor grad, std::optional<Tensor> offset, int64_t pad_y, int64_t pad_x,
                       bool channels_last, int64_t tile, double scale) {
  const Stages& run = stages();
  STD_TORCH_CHECK(tile == 4 || tile == 7 || tile == 8, "weight_grad_3x3: tiles are of 4, 7 or 8 positions");
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
  const int64_t workspace_size = most_points * (width * width + (in_panels + most_panels) * at_once * width +
                                                3 * kLine) +
                                 2 * points * std::max(in_panels, most_panels) * width;
  Sums sums{nullptr, out_panels, in_panels, width};
  const int64_t sums_size = 3 * points * sums.plane();
  Tensor memory = workspace(sums_size + num_workers * workspace_size, x);
  sums.data = memory.mutable_data_ptr<float>();
  const Work work{
      .input = image_of(x, std::nullopt),
      .grad = image_of(grad, offset),
      .pad_y = pad_y,
      .pad_x = pad_x,
      .num_tiles = num_tiles,
      .at_once = at_once,
      .tiles = {tiles_y, tiles_x, tile},
      .num_parts = num_parts,
      .num_workers = num_workers,
      .workspaces = sums.data + sums_size,
      .workspace_size = workspace_size,
      .sums = sums,
      .weights = weights.mutable_data_ptr<float>(),
      .channels_last = channels_last,
      .scale = static_cast<float>(scale),
  };
  torch::stable::parallel_for(0, num_workers, 1, [&](int64_t begin, int64_t end) { run.first(work, begin, end); });
  const int64_t num_blocks = out_panels * in_panels;
  torch::stable::parallel_for(0, num_blocks, 1, [&](int64_t begin, int64_t end) { run.second(work, begin, end); });
  return weights;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("weight_grad_3x3", TORCH_BOX(&weight_grad_3x3));
}

}  // namespace mmdet
