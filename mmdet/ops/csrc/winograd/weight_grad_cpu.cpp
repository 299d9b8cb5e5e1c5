// The weight gradient of 3x3 convolutions on the CPU. Threads share the tiles, then the products, then the weights.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../tensor.h"
#include "winograd.h"

namespace mmdet {
namespace {

constexpr int64_t kTilesAtOnce = 128;         // what is made of them stays in a cache
constexpr int64_t kMostProducts = 256 * 512;  // of one point: memory beyond 32 MiB comes anew from the system each time

// Some output channels of a convolution, and some tiles of its output positions.
struct Work {
  Image input, grad;
  int64_t pad_y, pad_x, tiles_y, tiles_x, first_tile;
  Panels inputs, grads;
  float* products;  // (point, output channel, input channel), of whole panels
  int64_t point_size;
  float* weights;  // of the first of the output channels
  bool channels_last;
};

template <int kLanes, int kSize>
MMDET_INLINE void gather_tile(const Image& image, int64_t n, int64_t top, int64_t left, const Panels& panels,
                              int64_t tile) {
  if (image.is_bfloat16) {
    Winograd<kLanes>::template gather<kSize, uint16_t>(image, n, top, left, panels, tile);
  } else {
    Winograd<kLanes>::template gather<kSize, float>(image, n, top, left, panels, tile);
  }
}

template <int kLanes>
MMDET_INLINE void gather_tiles(const Work& work, int64_t begin, int64_t end) {
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t row = (work.first_tile + tile) / work.tiles_x, column = (work.first_tile + tile) % work.tiles_x;
    const int64_t n = row / work.tiles_y, top = row % work.tiles_y * kTile, left = column * kTile;
    gather_tile<kLanes, kPatch>(work.input, n, top - work.pad_y, left - work.pad_x, work.inputs, tile);
    gather_tile<kLanes, kTile>(work.grad, n, top, left, work.grads, tile);
  }
}

// Items: a point and a panel of output channels.
template <int kLanes>
MMDET_INLINE void multiply_panels(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  const Panels &grads = work.grads, &inputs = work.inputs;
  const int64_t columns = inputs.num_panels * Kernel::kWidth;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t point = item / grads.num_panels, panel = item % grads.num_panels;
    float* products = work.products + point * work.point_size + panel * Kernel::kWidth * columns;
    for (int64_t column = 0; column < inputs.num_panels; ++column) {
      for (int64_t row = 0; row < Kernel::kWidth; row += Kernel::kRows) {
        Kernel::template multiply<Kernel::kRows>(grads.at(point, panel) + row, 1, Kernel::kWidth, inputs.at(point, column), grads.num_tiles,
                         work.first_tile != 0, products + row * columns + column * Kernel::kWidth, columns);
      }
    }
  }
}

// Items: an output channel.
template <int kLanes>
MMDET_INLINE void sum_products(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Winograd<kLanes>;
  const int64_t cin = work.input.channels, columns = work.inputs.num_panels * Kernel::kWidth;
  for (int64_t cout = begin; cout < end; ++cout) {
    for (int64_t channel = 0; channel < cin; channel += kLanes) {
      float sums[9][kLanes];
      Kernel::sum_points(work.products + cout * columns + channel, work.point_size, sums);
      const int64_t step = work.channels_last ? 1 : 9, tap_step = work.channels_last ? cin : 1;
      float* weights = work.weights + cout * cin * 9 + channel * step;
      for (int64_t lane = 0; lane < std::min<int64_t>(kLanes, cin - channel); ++lane) {
        for (int64_t k = 0; k < 9; ++k) {
          weights[lane * step + k * tap_step] = sums[k][lane];
        }
      }
    }
  }
}

// The stages for one kind of processor, each from a first item to before a last.
struct Stages {
  int64_t width;  // channels of a panel
  void (*gather)(const Work&, int64_t, int64_t);
  void (*multiply)(const Work&, int64_t, int64_t);
  void (*sum)(const Work&, int64_t, int64_t);
};

#define MMDET_STAGES(NAME, TARGET, LANES)                                   \
  TARGET void NAME##_gather(const Work& work, int64_t begin, int64_t end) {   \
    gather_tiles<LANES>(work, begin, end);                                  \
  }                                                                         \
  TARGET void NAME##_multiply(const Work& work, int64_t begin, int64_t end) { \
    multiply_panels<LANES>(work, begin, end);                               \
  }                                                                         \
  TARGET void NAME##_sum(const Work& work, int64_t begin, int64_t end) {      \
    sum_products<LANES>(work, begin, end);                                  \
  }                                                                         \
  constexpr Stages NAME{Winograd<LANES>::kWidth, NAME##_gather, NAME##_multiply, NAME##_sum};

MMDET_STAGES(any, , 4)
#if defined(__x86_64__)
MMDET_STAGES(avx2, __attribute__((target("avx2,fma"))), 8)
MMDET_STAGES(avx512, __attribute__((target("avx512f"))), 16)
#endif

const Stages& stages() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return avx2;
  }
#endif
  return any;
}

int64_t panels_of(int64_t channels, int64_t width) {
  return (channels + width - 1) / width;
}

// `count` channels from `first` on.
Image image_of(const Tensor& tensor, int64_t first, int64_t count, const float* offset) {
  const bool is_bfloat16 = tensor.scalar_type() == ScalarType::BFloat16;
  const auto* data = static_cast<const char*>(tensor.const_data_ptr()) + first * (is_bfloat16 ? 2 : 4);
  return {data, is_bfloat16, offset, tensor.size(2), tensor.size(3), count, tensor.size(1)};
}

// x (B, Cin, H, W) and grad (B, Cout, H', W') are float32 or bfloat16 and dense channels-last; offset (Cout) is float32.
Tensor weight_grad_3x3(Tensor x, Tensor grad, std::optional<Tensor> offset, int64_t pad_y, int64_t pad_x,
                       bool channels_last) {
  const Stages& run = stages();
  const int64_t cin = x.size(1), cout = grad.size(1);
  const int64_t tiles_y = (grad.size(2) + kTile - 1) / kTile, tiles_x = (grad.size(3) + kTile - 1) / kTile;
  const int64_t num_tiles = x.size(0) * tiles_y * tiles_x, at_once = std::min(kTilesAtOnce, num_tiles);
  const int64_t columns = panels_of(cin, run.width) * run.width;
  const int64_t most_panels = std::min(panels_of(cout, run.width),
                                       std::max<int64_t>(1, kMostProducts / columns / run.width));
  const int64_t most_rows = most_panels * run.width;
  const Panels inputs{nullptr, columns / run.width, at_once, run.width}, grads{nullptr, most_panels, at_once, run.width};
  const int64_t point_size = most_rows * columns + kLine;
  Tensor workspace = empty({kPoints, point_size + inputs.point_size() + grads.point_size()}, ScalarType::Float, x);
  Tensor weights = empty({cout, cin, 3, 3}, ScalarType::Float, x, channels_last);
  if (num_tiles == 0) {
    return torch::stable::zero_(weights);
  }
  float* products = workspace.mutable_data_ptr<float>();
  float* inputs_data = products + kPoints * point_size;
  float* grads_data = inputs_data + kPoints * inputs.point_size();
  for (int64_t first = 0; first < cout; first += most_rows) {
    const int64_t count = std::min(most_rows, cout - first), num_panels = panels_of(count, run.width);
    Work work{
        .input = image_of(x, 0, cin, nullptr),
        .grad = image_of(grad, first, count, offset ? offset->const_data_ptr<float>() + first : nullptr),
        .pad_y = pad_y,
        .pad_x = pad_x,
        .tiles_y = tiles_y,
        .tiles_x = tiles_x,
        .first_tile = 0,
        .inputs = {inputs_data, columns / run.width, at_once, run.width},
        .grads = {grads_data, num_panels, at_once, run.width},
        .products = products,
        .point_size = point_size,
        .weights = weights.mutable_data_ptr<float>() + first * cin * 9,
        .channels_last = channels_last,
    };
    for (; work.first_tile < num_tiles; work.first_tile += at_once) {
      work.inputs.num_tiles = work.grads.num_tiles = std::min(at_once, num_tiles - work.first_tile);
      torch::stable::parallel_for(0, work.inputs.num_tiles, 4,
                                  [&](int64_t begin, int64_t end) { run.gather(work, begin, end); });
      torch::stable::parallel_for(0, kPoints * num_panels, 1,
                                  [&](int64_t begin, int64_t end) { run.multiply(work, begin, end); });
    }
    torch::stable::parallel_for(0, count, 4, [&](int64_t begin, int64_t end) { run.sum(work, begin, end); });
  }
  return weights;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("weight_grad_3x3", TORCH_BOX(&weight_grad_3x3));
}

}  // namespace mmdet
