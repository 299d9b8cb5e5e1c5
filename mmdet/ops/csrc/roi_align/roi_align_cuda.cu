// RoIAlign on CUDA. A block takes one RoI: it works out the weights of the bins, then its threads share bins and
// channels. Channels-last, a thread takes 16 bytes of channels; else neighbouring threads take neighbouring bins.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../channels_last.cuh"
#include "bins.cuh"
#include "roi_align.h"

namespace mmdet::roi_align_cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxLevels = 8;
// Blocks of a multiprocessor: with more, the compiler would put values that do not fit into registers into memory.
template <typename T>
constexpr int kBlocksAtOnce = std::is_same_v<T, double> ? 1 : 3;
constexpr int64_t kBlocks = 2048;  // enough to fill any GPU: few RoIs are cut into several blocks

template <typename Pixel, typename T>
struct Level {
  Pixel* data;
  int64_t height, width;
  T scale;
};

template <typename Pixel, typename T>
struct Pyramid {
  Level<Pixel, T> levels[kMaxLevels];
  int64_t num_levels, num_images, channels;
  const int64_t* level_of;  // null: all RoIs on level 0
};

// Walks one RoI's bins and channels, `lanes` channels at a time. visit(offset of the bin, first channel, y and x bin,
// the bins' weights, the RoI's level or null where its image or level does not exist, offset of its image).
template <bool channels_last, int lanes, typename Pixel, typename T, typename Visit>
__device__ void for_each_bin(const Pyramid<Pixel, T>& pyramid, const T* rois, const Pooling& pooling,
                             const Visit& visit) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto* stored = reinterpret_cast<StoredBin<T>*>(shared);
  const int64_t r = blockIdx.x;
  const T* roi = rois + 5 * r;
  const int64_t image = index_or_none(roi[0], pyramid.num_images);
  const int64_t wanted = pyramid.level_of == nullptr ? 0 : pyramid.level_of[r];
  const bool exists = image >= 0 && wanted >= 0 && wanted < pyramid.num_levels;
  const Level<Pixel, T>& level = pyramid.levels[exists ? wanted : 0];
  const auto axis = [&](T lower, T upper, int64_t bins, int64_t length) {
    return Axis<T>(lower, upper, level.scale, pooling.aligned, bins, pooling.sampling_ratio, length);
  };
  Bins<T> y(axis(roi[2], roi[4], pooling.height, level.height), 0, level.height, stored);
  Bins<T> x(axis(roi[1], roi[3], pooling.width, level.width), 0, level.width, stored + pooling.height);
  y.store(pooling.height);
  x.store(pooling.width);
  __syncthreads();

  const int64_t channels = pyramid.channels, bins = pooling.height * pooling.width, groups = channels / lanes;
  for (int64_t item = blockIdx.y * blockDim.x + threadIdx.x; item < bins * groups; item += gridDim.y * blockDim.x) {
    const int64_t bin = channels_last ? item / groups : item % bins;
    const int64_t channel = channels_last ? item % groups * lanes : item / bins;
    const int64_t offset = channels_last ? bin * channels + channel : channel * bins + bin;
    visit(r * channels * bins + offset, channel, bin / pooling.width, bin % pooling.width, y, x,
          exists ? &level : nullptr, image * channels * level.height * level.width);
  }
}

template <bool channels_last>
__device__ int64_t pixel_offset(int64_t i, int64_t j, int64_t channel, int64_t height, int64_t width,
                                int64_t channels) {
  return channels_last ? (i * width + j) * channels + channel : (channel * height + i) * width + j;
}

template <bool channels_last, int lanes, typename scalar_t, typename T>
__global__ void MMDET_LAUNCH_BOUNDS(kThreads, kBlocksAtOnce<T>)
    forward(const __grid_constant__ Pyramid<const scalar_t, T> pyramid, const T* rois, Pooling pooling,
            scalar_t* out) {
  using Pixels = Vector<scalar_t, lanes>;
  for_each_bin<channels_last, lanes>(
      pyramid, rois, pooling,
      [&](int64_t offset, int64_t channel, int64_t p, int64_t q, const Bins<T>& y, const Bins<T>& x,
          const Level<const scalar_t, T>* level, int64_t image) {
        T sum[lanes] = {};
        if (level == nullptr) {
          sum[0] = NAN;
        }
        const int64_t row_end = level == nullptr ? 0 : y.end(p);
        for (int64_t i = y.begin(p); i < row_end; ++i) {
          const T row_weight = y.weight(p, i);
          for (int64_t j = x.begin(q); j < x.end(q); ++j) {
            const T weight = row_weight * x.weight(q, j);
            const auto pixels = *reinterpret_cast<const Pixels*>(
                level->data + image +
                pixel_offset<channels_last>(i, j, channel, level->height, level->width, pyramid.channels));
            for (int lane = 0; lane < lanes; ++lane) {
              sum[lane] += weight * widened(pixels.values[lane]);
            }
          }
        }
        Pixels pooled;
        for (int lane = 0; lane < lanes; ++lane) {
          pooled.values[lane] = static_cast<scalar_t>(level == nullptr ? sum[0] : sum[lane]);
        }
        *reinterpret_cast<Pixels*>(out + offset) = pooled;
      });
}

template <int lanes>
__device__ void add(float* target, const float (&values)[lanes]) {
#if __CUDA_ARCH__ >= 900
  constexpr bool at_once = lanes == 4;
#else
  constexpr bool at_once = false;
#endif
  if constexpr (at_once) {
    atomicAdd(reinterpret_cast<float4*>(target), make_float4(values[0], values[1], values[2], values[3]));
  } else {
    for (int lane = 0; lane < lanes; ++lane) {
      atomicAdd(target + lane, values[lane]);
    }
  }
}

template <int lanes>
__device__ void add(double* target, const double (&values)[lanes]) {
  for (int lane = 0; lane < lanes; ++lane) {
    atomicAdd(target + lane, values[lane]);
  }
}

// Whole quanta: integers add up to the same sum in any order.
template <int lanes, typename T>
__device__ void add_quanta(int64_t* target, const T (&values)[lanes], double quanta_per_unit) {
  for (int lane = 0; lane < lanes; ++lane) {
    const auto quanta = static_cast<unsigned long long>(__double2ll_rn(values[lane] * quanta_per_unit));
    atomicAdd(reinterpret_cast<unsigned long long*>(target) + lane, quanta);
  }
}

// Sum: T, or int64_t for sums in whole quanta.
template <bool channels_last, int lanes, typename Sum, typename T>
__global__ void MMDET_LAUNCH_BOUNDS(kThreads, kBlocksAtOnce<T>)
    backward(const __grid_constant__ Pyramid<Sum, T> pyramid, const T* rois, Pooling pooling, const T* grad,
             const double* quantum) {
  constexpr bool whole = std::is_same_v<Sum, int64_t>;
  const double quanta_per_unit = whole ? 1 / *quantum : 0;
  for_each_bin<channels_last, lanes>(
      pyramid, rois, pooling,
      [&](int64_t offset, int64_t channel, int64_t p, int64_t q, const Bins<T>& y, const Bins<T>& x,
          const Level<Sum, T>* level, int64_t image) {
        if (level == nullptr) {
          return;
        }
        const auto pooled = *reinterpret_cast<const Vector<T, lanes>*>(grad + offset);
        for (int64_t i = y.begin(p); i < y.end(p); ++i) {
          const T row_weight = y.weight(p, i);
          for (int64_t j = x.begin(q); j < x.end(q); ++j) {
            const T weight = row_weight * x.weight(q, j);
            if (weight == 0) {
              continue;
            }
            T shares[lanes];
            for (int lane = 0; lane < lanes; ++lane) {
              shares[lane] = weight * pooled.values[lane];
            }
            Sum* target = level->data + image +
                pixel_offset<channels_last>(i, j, channel, level->height, level->width, pyramid.channels);
            if constexpr (whole) {
              add_quanta(target, shares, quanta_per_unit);
            } else {
              add(target, shares);
            }
          }
        }
      });
}

template <typename Pixel, typename T>
Pyramid<Pixel, T> pyramid_of(const std::vector<Tensor>& maps, const std::vector<double>& scales,
                             const std::optional<Tensor>& levels) {
  STD_TORCH_CHECK(maps.size() <= kMaxLevels, "roi_align: ", maps.size(), " feature levels, at most ", kMaxLevels,
                  " fit on CUDA");
  Pyramid<Pixel, T> pyramid;
  for (size_t i = 0; i < maps.size(); ++i) {
    pyramid.levels[i] = {static_cast<Pixel*>(maps[i].data_ptr()), maps[i].size(2), maps[i].size(3),
                         static_cast<T>(scales[i])};
  }
  pyramid.num_levels = static_cast<int64_t>(maps.size());
  pyramid.num_images = maps[0].size(0);
  pyramid.channels = maps[0].size(1);
  pyramid.level_of = levels ? levels->const_data_ptr<int64_t>() : nullptr;
  return pyramid;
}

template <typename Pixel, typename T>
bool all_aligned(const Pyramid<Pixel, T>& pyramid, const void* pooled) {
  bool aligned = aligned_to_16(pooled);
  for (int64_t i = 0; i < pyramid.num_levels; ++i) {
    aligned = aligned && aligned_to_16(pyramid.levels[i].data);
  }
  return aligned;
}

// launch(kernel's layout and lanes as types, grid, bytes of shared memory) where there is work to do.
template <int wide, typename T, typename Launch>
void with_layout(bool channels_last, bool aligned, int64_t num_rois, int64_t channels, const Pooling& pooling,
                 const Launch& launch) {
  const size_t shared = (pooling.height + pooling.width) * sizeof(StoredBin<T>);
  STD_TORCH_CHECK(shared <= kSharedBytes, "roi_align: an output of ", pooling.height, " x ", pooling.width,
                  " bins is too large on CUDA");
  const int64_t items = pooling.height * pooling.width * channels;
  if (num_rois == 0 || items == 0) {
    return;
  }
  const bool vectors = channels_last && aligned && channels % wide == 0;
  const int64_t blocks_of_work = (items / (vectors ? wide : 1) + kThreads - 1) / kThreads;
  const int64_t wanted = (kBlocks + num_rois - 1) / num_rois;
  const dim3 grid(num_rois, std::min(wanted, blocks_of_work));
  if (vectors) {
    launch(std::true_type(), std::integral_constant<int, wide>(), grid, shared);
  } else if (channels_last) {
    launch(std::true_type(), std::integral_constant<int, 1>(), grid, shared);
  } else {
    launch(std::false_type(), std::integral_constant<int, 1>(), grid, shared);
  }
  check_cuda(cudaGetLastError());
}

Tensor roi_align(std::vector<Tensor> features, Tensor rois, std::optional<Tensor> levels, std::vector<double> scales,
                 int64_t pooled_height, int64_t pooled_width, int64_t sampling_ratio, bool aligned) {
  const bool channels_last = is_channels_last(features[0]);
  features = in_one_format(features, channels_last);
  rois = torch::stable::contiguous(rois);
  if (levels) {
    levels = torch::stable::contiguous(*levels);
  }
  const CurrentStream stream(rois);
  const int64_t num_rois = rois.size(0), channels = features[0].size(1);
  Tensor out = empty({num_rois, channels, pooled_height, pooled_width}, features[0].scalar_type(), rois, channels_last);
  const Pooling pooling{pooled_height, pooled_width, sampling_ratio, aligned};
  MMDET_DISPATCH("roi_align", features[0], [&] {
    using T = accumulate_t<scalar_t>;
    const auto pyramid = pyramid_of<const scalar_t, T>(features, scales, levels);
    auto* out_data = out.mutable_data_ptr<scalar_t>();
    with_layout<16 / sizeof(scalar_t), T>(
        channels_last, all_aligned(pyramid, out_data), num_rois, channels, pooling,
        [&](auto last, auto lanes, dim3 grid, size_t shared) {
          forward<decltype(last)::value, decltype(lanes)::value, scalar_t, T>
              <<<grid, kThreads, shared, stream>>>(pyramid, rois.const_data_ptr<T>(), pooling, out_data);
        });
  });
  return out;
}

std::vector<Tensor> roi_align_backward(Tensor grad, Tensor rois, std::optional<Tensor> levels,
                                       std::vector<double> scales, std::vector<int64_t> sizes, int64_t sampling_ratio,
                                       bool aligned, bool channels_last, std::optional<Tensor> quantum) {
  grad = torch::stable::contiguous(grad, memory_format(channels_last));
  rois = torch::stable::contiguous(rois);
  if (levels) {
    levels = torch::stable::contiguous(*levels);
  }
  const CurrentStream stream(rois);
  const int64_t channels = grad.size(1);
  const ScalarType sum_type = quantum ? ScalarType::Long : grad.scalar_type();
  std::vector<Tensor> grads;
  for (size_t level = 0; level < scales.size(); ++level) {
    grads.push_back(empty({sizes[0], channels, sizes[2 * level + 1], sizes[2 * level + 2]}, sum_type, grad,
                          channels_last));
    torch::stable::zero_(grads.back());
  }
  const Pooling pooling{grad.size(2), grad.size(3), sampling_ratio, aligned};
  MMDET_DISPATCH_ACCUMULATE("roi_align_backward", grad, [&] {
    using T = scalar_t;
    const auto* grad_data = grad.const_data_ptr<T>();
    const auto run = [&](auto sum, const double* quantum_data) {
      using Sum = decltype(sum);
      const auto pyramid = pyramid_of<Sum, T>(grads, scales, levels);
      with_layout<16 / sizeof(T), T>(
          channels_last, all_aligned(pyramid, grad_data), rois.size(0), channels, pooling,
          [&](auto last, auto lanes, dim3 grid, size_t shared) {
            backward<decltype(last)::value, decltype(lanes)::value, Sum, T><<<grid, kThreads, shared, stream>>>(
                pyramid, rois.const_data_ptr<T>(), pooling, grad_data, quantum_data);
          });
    };
    if (quantum) {
      run(int64_t(), quantum->const_data_ptr<double>());
    } else {
      run(T(), nullptr);
    }
  });
  return grads;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
}

}  // namespace mmdet::roi_align_cuda
