// 3x3 convolutions of stride 1 on the CPU, by minimal filtering. Each thread takes tiles through all stages.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "image.h"
#include "processors.h"
#include "winograd.h"
#include "workspace.h"

namespace mmdet {
namespace {

constexpr int kTile = 4;           // output positions of a tile, each way
constexpr int kPatch = kTile + 2;  // input positions under them, and points
constexpr int64_t kWorkspace = 1 << 20;  // bytes of a thread's transformed input: it stays in the second cache

template <int kLanes>
constexpr int kRows = kLanes == 16 ? 12 : 4;  // tiles multiplied at once: as many as there are registers for

// Weights as the convolution reads them: of (output channel, input channel, row, column).
struct Filters {
  const float* data;
  int64_t out_stride, in_stride, row_stride, column_stride;
};

struct Work {
  Image input;
  Filters filters;
  Panels weights;     // (point, panel of output channels, input channel, output channel)
  const float* bias;  // or null
  float* out;         // (N, height, width, channels)
  int64_t height, width, channels, pad_y, pad_x, num_tiles;
  Tiles tiles;
  int64_t num_workers, columns, at_once;
  float* workspaces;
  int64_t workspace_size;
};

// Where the positions under a tile lie in an image: elements from its start on, or -1 outside.
struct Square {
  int64_t offsets[kPatch * kPatch];

  Square(const Image& image, int64_t n, int64_t top, int64_t left) {
    for (int i = 0; i < kPatch; ++i) {
      for (int j = 0; j < kPatch; ++j) {
        const int64_t y = top + i, x = left + j;
        const bool inside = y >= 0 && y < image.height && x >= 0 && x < image.width;
        offsets[i * kPatch + j] = inside ? ((n * image.height + y) * image.width + x) * image.channels : -1;
      }
    }
  }
};

// (kSize, kSize) positions or weights, to points; the rows of both are kPatch apart.
template <int kLanes, int kSize>
MMDET_INLINE void transform_square(Vector<kLanes>* lines, Vector<kLanes>* points) {
  for (int j = 0; j < kSize; ++j) {
    Winograd<kLanes>::template transform<kTile, kSize>(lines + j, kPatch, lines + j);
  }
  for (int i = 0; i < kPatch; ++i) {
    Winograd<kLanes>::template transform<kTile, kSize>(lines + i * kPatch, 1, points + i * kPatch);
  }
}

// Tile `tile` of all channels: the points of the positions of image n from (top, left) on.
template <int kLanes>
MMDET_INLINE void gather(const Image& image, int64_t n, int64_t top, int64_t left, const Panels& panels, int64_t tile) {
  using Kernel = Winograd<kLanes>;
  const Square square(image, n, top, left);
  const float* data = static_cast<const float*>(image.data);
  for (int64_t channel = 0; channel < panels.width; channel += kLanes) {
    Vector<kLanes> lines[kPatch * kPatch], points[kPatch * kPatch];
    for (int i = 0; i < kPatch * kPatch; ++i) {
      const int64_t offset = square.offsets[i];
      lines[i] = offset < 0 ? Vector<kLanes>{} : Kernel::load_some(data + offset + channel, image.channels - channel);
    }
    transform_square<kLanes, kPatch>(lines, points);
    for (int point = 0; point < kPatch * kPatch; ++point) {
      Kernel::store(panels.at(point, 0) + tile * panels.width + channel, points[point]);
    }
  }
}

// products: of the points, `step` apart; out: the pixels of a tile, of which `height` x `width` are inside.
template <int kLanes>
MMDET_INLINE void scatter(const float* products, int64_t step, const float* bias, int64_t height, int64_t width,
                          int64_t channels, float* out, int64_t row_stride, int64_t column_stride) {
  using Kernel = Winograd<kLanes>;
  Vector<kLanes> lines[kPatch * kPatch];
  for (int point = 0; point < kPatch * kPatch; ++point) {
    lines[point] = Kernel::load(products + point * step);
  }
  const Vector<kLanes> shift = bias ? Kernel::load_some(bias, channels) : Vector<kLanes>{};
  for (int j = 0; j < kPatch; ++j) {
    Kernel::template sum_line<kTile, kTile>(lines + j, kPatch, lines + j);
  }
  for (int i = 0; i < kTile; ++i) {
    Kernel::template sum_line<kTile, kTile>(lines + i * kPatch, 1, lines + i * kPatch);
  }
  for (int64_t i = 0; i < height; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const Vector<kLanes> value = lines[i * kPatch + j] + shift;
      std::memcpy(out + i * row_stride + j * column_stride, &value,
                  channels >= kLanes ? sizeof(value) : channels * sizeof(float));
    }
  }
}

// Items: a panel of output channels and an input channel.
template <int kLanes>
MMDET_INLINE void transform_weights(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  const Filters& filters = work.filters;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t panel = item / work.weights.num_tiles, in = item % work.weights.num_tiles;
    for (int64_t half = 0; half < Kernel::kWidth; half += kLanes) {
      const int64_t first = panel * Kernel::kWidth + half;
      const int64_t count = std::clamp<int64_t>(work.channels - first, 0, kLanes);
      const float* from = filters.data + first * filters.out_stride + in * filters.in_stride;
      Vector<kLanes> lines[kPatch * kPatch], points[kPatch * kPatch];
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
          const float* taps = from + i * filters.row_stride + j * filters.column_stride;
          if (filters.out_stride == 1) {
            lines[i * kPatch + j] = count > 0 ? Kernel::load_some(taps, count) : Vector<kLanes>{};
          } else {
            float values[kLanes] = {};
            for (int64_t lane = 0; lane < count; ++lane) {
              values[lane] = taps[lane * filters.out_stride];
            }
            lines[i * kPatch + j] = Kernel::load(values);
          }
        }
      }
      transform_square<kLanes, 3>(lines, points);
      for (int point = 0; point < kPatch * kPatch; ++point) {
        Kernel::store(work.weights.at(point, panel) + in * Kernel::kWidth + half, points[point]);
      }
    }
  }
}

// Items: a worker, which takes its share of the tiles.
template <int kLanes>
MMDET_INLINE void convolve(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  for (int64_t worker = begin; worker < end; ++worker) {
    const int64_t groups = (work.num_tiles + kRows<kLanes> - 1) / kRows<kLanes>;
    const int64_t first = groups * worker / work.num_workers * kRows<kLanes>;
    const int64_t last = std::min(groups * (worker + 1) / work.num_workers * kRows<kLanes>, work.num_tiles);
    float* workspace = work.workspaces + worker * work.workspace_size;
    const Panels inputs{workspace, 1, work.at_once, work.columns};
    float* products = workspace + kPatch * kPatch * inputs.point_size();
    const int64_t step = work.at_once * Kernel::kWidth + kLine;
    for (int64_t start = first; start < last; start += work.at_once) {
      const int64_t count = std::min(work.at_once, last - start);
      for (int64_t tile = 0; tile < count; ++tile) {
        const auto [n, top, left] = work.tiles.at(start + tile);
        gather<kLanes>(work.input, n, top - work.pad_y, left - work.pad_x, inputs, tile);
      }
      for (int64_t panel = 0; panel < work.weights.num_panels; ++panel) {
        for (int point = 0; point < kPatch * kPatch; ++point) {
          for (int64_t tile = 0; tile < count; tile += kRows<kLanes>) {
            Kernel::template multiply<kRows<kLanes>>(
                inputs.at(point, 0) + tile * work.columns, work.columns, 1, work.weights.at(point, panel),
                work.weights.num_tiles, false, products + point * step + tile * Kernel::kWidth, Kernel::kWidth);
          }
        }
        for (int64_t half = 0; half < Kernel::kWidth; half += kLanes) {
          const int64_t channel = panel * Kernel::kWidth + half;
          const int64_t channels = std::min<int64_t>(work.channels - channel, kLanes);
          if (channels <= 0) {
            break;
          }
          for (int64_t tile = 0; tile < count; ++tile) {
            const auto [n, top, left] = work.tiles.at(start + tile);
            float* out = work.out + ((n * work.height + top) * work.width + left) * work.channels;
            scatter<kLanes>(products + tile * Kernel::kWidth + half, step, work.bias ? work.bias + channel : nullptr,
                            std::min<int64_t>(kTile, work.height - top), std::min<int64_t>(kTile, work.width - left),
                            channels, out + channel, work.width * work.channels, work.channels);
          }
        }
      }
    }
  }
}

MMDET_STAGES(transform_weights, convolve)

// x (B, Cin, H, W) is float32 and dense channels-last, weight (Cout, Cin, 3, 3) float32; transposed, x is the gradient
// (B, Cout, H', W') and the result that of the input, (B, Cin, H, W).
Tensor conv_3x3(Tensor x, Tensor weight, std::optional<Tensor> bias, int64_t pad_y, int64_t pad_x, bool transposed) {
  const Stages& run = stages();
  STD_TORCH_CHECK(x.dim() == 4 && weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3 &&
                      x.size(1) == weight.size(transposed ? 0 : 1) && pad_y >= 0 && pad_y <= 2 && pad_x >= 0 && pad_x <= 2,
                  "conv_3x3: the sizes of the input and of the weights, or the padding, do not fit");
  if (transposed) {
    pad_y = 2 - pad_y;
    pad_x = 2 - pad_x;
  }
  const int64_t panel_width = 2 * run.lanes, rows = run.lanes == 16 ? kRows<16> : kRows<4>;
  const int64_t in_channels = x.size(1), channels = weight.size(transposed ? 1 : 0);
  const int64_t height = x.size(2) + 2 * pad_y - 2, width = x.size(3) + 2 * pad_x - 2;
  const int64_t tiles_y = (height + kTile - 1) / kTile, tiles_x = (width + kTile - 1) / kTile;
  const int64_t num_tiles = x.size(0) * tiles_y * tiles_x, num_panels = (channels + panel_width - 1) / panel_width;
  const int64_t columns = (in_channels + run.lanes - 1) / run.lanes * run.lanes;
  const int64_t at_once = std::clamp<int64_t>(kWorkspace / (kPatch * kPatch * columns * 4) / rows, 2, 16) * rows;
  Tensor out = empty({x.size(0), channels, height, width}, ScalarType::Float, x, true);
  const Panels weights{nullptr, num_panels, in_channels, panel_width}, inputs{nullptr, 1, at_once, columns};
  const int64_t workspace_size = kPatch * kPatch * (inputs.point_size() + at_once * panel_width + kLine);
  const int64_t workers = std::clamp<int64_t>(num_tiles / rows, 1, torch::stable::get_num_threads());
  Tensor shared = workspace(kPatch * kPatch * weights.point_size() + workers * workspace_size, x);
  const float* taps = weight.const_data_ptr<float>();
  Filters filters{taps, weight.stride(0), weight.stride(1), weight.stride(2), weight.stride(3)};
  if (transposed) {
    filters = {taps + 2 * (filters.row_stride + filters.column_stride), filters.in_stride, filters.out_stride,
               -filters.row_stride, -filters.column_stride};
  }
  float* memory = shared.mutable_data_ptr<float>();
  const Work work{
      .input = image_of(x, std::nullopt),
      .filters = filters,
      .weights = {memory, num_panels, in_channels, panel_width},
      .bias = bias ? bias->const_data_ptr<float>() : nullptr,
      .out = out.mutable_data_ptr<float>(),
      .height = height,
      .width = width,
      .channels = channels,
      .pad_y = pad_y,
      .pad_x = pad_x,
      .num_tiles = num_tiles,
      .tiles = {tiles_y, tiles_x, kTile},
      .num_workers = workers,
      .columns = columns,
      .at_once = at_once,
      .workspaces = memory + kPatch * kPatch * weights.point_size(),
      .workspace_size = workspace_size,
  };
  torch::stable::parallel_for(0, num_panels * in_channels, 16,
                              [&](int64_t begin, int64_t end) { run.first(work, begin, end); });
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) { run.second(work, begin, end); });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("conv_3x3", TORCH_BOX(&conv_3x3));
}

}  // namespace mmdet
