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

constexpr int64_t kTilesAtOnce = 64;

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

template <int kLanes, int kSize>
MMDET_INLINE void gather_tile(const Image& image, int64_t n, int64_t top, int64_t left, int point_row,
                              int64_t first_panel, const Panels& panels, int64_t tile) {
  if (image.is_bfloat16) {
    Winograd<kLanes>::template gather_row<kSize, uint16_t>(image, n, top, left, point_row, first_panel, panels, tile);
  } else {
    Winograd<kLanes>::template gather_row<kSize, float>(image, n, top, left, point_row, first_panel, panels, tile);
  }
}

// The sums over all tiles for a row of points and the output channels of some panels.
template <int kLanes>
MMDET_INLINE void sum_tiles(const Work& work, int point_row, int64_t first_panel, int64_t last_panel,
                            float* workspace) {
  using Kernel = Winograd<kLanes>;
  const int64_t columns = work.in_panels * Kernel::kWidth, num_rows = (last_panel - first_panel) * Kernel::kWidth;
  const int64_t point_size = num_rows * columns + kLine;
  float* products = workspace;  // (point, output channel, input channel)
  Panels inputs{products + kPatch * point_size, work.in_panels, work.at_once, Kernel::kWidth};
  Panels grads{inputs.data + kPatch * inputs.point_size(), last_panel - first_panel, work.at_once, Kernel::kWidth};
  for (int64_t start = 0; start < work.num_tiles; start += work.at_once) {
    inputs.num_tiles = grads.num_tiles = std::min(work.at_once, work.num_tiles - start);
    for (int64_t tile = 0; tile < inputs.num_tiles; ++tile) {
      const auto [n, top, left] = work.tiles.at(start + tile);
      gather_tile<kLanes, kPatch>(work.input, n, top - work.pad_y, left - work.pad_x, point_row, 0, inputs, tile);
      gather_tile<kLanes, kTile>(work.grad, n, top, left, point_row, first_panel, grads, tile);
    }
    for (int point = 0; point < kPatch; ++point) {
      for (int64_t panel = 0; panel < grads.num_panels; ++panel) {
        for (int64_t column = 0; column < inputs.num_panels; ++column) {
          for (int64_t row = 0; row < Kernel::kWidth; row += kRows<kLanes>) {
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
    Kernel::sum_points(products + i, point_size, sums + i, plane);
  }
}

// Items: a worker, which takes its share of the rows of points and parts of output channels.
template <int kLanes>
MMDET_INLINE void sum_rows(const Work& work, int64_t begin, int64_t end) {
  const int64_t num_tasks = kPatch * work.num_parts;
  for (int64_t worker = begin; worker < end; ++worker) {
    for (int64_t task = worker * num_tasks / work.num_workers; task < (worker + 1) * num_tasks / work.num_workers;
         ++task) {
      const int64_t part = task % work.num_parts;
      sum_tiles<kLanes>(work, static_cast<int>(task / work.num_parts), part * work.out_panels / work.num_parts,
                        (part + 1) * work.out_panels / work.num_parts,
                        work.workspaces + worker * work.workspace_size);
    }
  }
}

// Items: an output channel.
template <int kLanes>
MMDET_INLINE void write_weights(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  const int64_t cin = work.input.channels, columns = work.in_panels * Kernel::kWidth;
  const int64_t plane = work.out_panels * Kernel::kWidth * columns;
  const int64_t step = work.channels_last ? 1 : 9, tap_step = work.channels_last ? cin : 1;
  for (int64_t cout = begin; cout < end; ++cout) {
    for (int64_t channel = 0; channel < cin; channel += kLanes) {
      float taps[9][kLanes];
      for (int k = 0; k < 3; ++k) {
        Kernel::sum_points(work.sums + k * plane + cout * columns + channel, 3 * plane, taps[k], 3 * kLanes);
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

MMDET_STAGES(sum_rows, write_weights)

Image image_of(const Tensor& tensor, const std::optional<Tensor>& offset) {
  return {tensor.const_data_ptr(), tensor.scalar_type() == ScalarType::BFloat16,
          offset ? offset->const_data_ptr<float>() : nullptr, tensor.size(2), tensor.size(3), tensor.size(1)};
}

// x (B, Cin, H, W) and grad (B, Cout, H', W') are float32 or bfloat16 and dense channels-last; offset (Cout) is float32.
Tensor weight_grad_3x3(Tensor x, Tensor grad, std::optional<Tensor> offset, int64_t pad_y, int64_t pad_x,
                       bool channels_last) {
  const Stages& run = stages();
  const int64_t cin = x.size(1), cout = grad.size(1), width = 2 * run.lanes;
  const int64_t in_panels = (cin + width - 1) / width, out_panels = (cout + width - 1) / width;
  const int64_t tiles_y = (grad.size(2) + kTile - 1) / kTile, tiles_x = (grad.size(3) + kTile - 1) / kTile;
  const int64_t num_tiles = x.size(0) * tiles_y * tiles_x;
  Tensor weights = empty({cout, cin, 3, 3}, ScalarType::Float, x, channels_last);
  if (num_tiles == 0) {
    return torch::stable::zero_(weights);
  }
  // As many parts of the output channels as give every thread the same work.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t num_parts = std::min(threads / std::gcd(threads, static_cast<int64_t>(kPatch)), out_panels);
  const int64_t num_workers = std::min(threads, kPatch * num_parts);
  const int64_t at_once = std::min(kTilesAtOnce, num_tiles);
  const int64_t most_panels = (out_panels + num_parts - 1) / num_parts;
  const int64_t plane = out_panels * width * in_panels * width;
  const int64_t workspace_size = kPatch * (most_panels * width * in_panels * width + kLine +
                                           (in_panels + most_panels) * at_once * width + 2 * kLine);
  Tensor memory = empty({3 * kPatch * plane + num_workers * workspace_size}, ScalarType::Float, x);
  float* sums = memory.mutable_data_ptr<float>();
  const Work work{
      .input = image_of(x, std::nullopt),
      .grad = image_of(grad, offset),
      .pad_y = pad_y,
      .pad_x = pad_x,
      .num_tiles = num_tiles,
      .at_once = at_once,
      .tiles = {tiles_y, tiles_x},
      .in_panels = in_panels,
      .out_panels = out_panels,
      .num_parts = num_parts,
      .num_workers = num_workers,
      .workspaces = sums + 3 * kPatch * plane,
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
