// Group norm of channels-last features, with the ReLU behind it. A map that one block reads is done in one launch; of
// a larger one blocks measure a part of the rows each, a second launch joins what they found, a third writes.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../channels_last.cuh"

namespace mmdet::group_norm_cuda {
namespace {

// Sums held for every channel lie in shared memory.
constexpr int64_t kMaxChannels = 1024;
constexpr int64_t kOneBlock = 256;  // rows that a block does alone, however few images there are

template <typename T>
struct Shape {
  int64_t rows;  // H x W
  int channels, groups, chunks;
  int64_t rows_of_chunk;
  T eps;
  bool relu;

  __device__ int channels_of_group() const {
    return channels / groups;
  }
  __device__ int64_t begin(int64_t chunk) const {
    return chunk * rows_of_chunk;
  }
  __device__ int64_t end(int64_t chunk) const {
    return min(rows, (chunk + 1) * rows_of_chunk);
  }
};

// Mean and sum of squared deviations of `count` values; joined as by Chan, Golub and LeVeque.
template <typename T>
struct Moments {
  T count, mean, squares;

  __device__ void add(const Moments& other) {
    const T total = count + other.count;
    if (other.count > 0) {
      const T distance = other.mean - mean;
      mean += distance * (other.count / total);
      squares += other.squares + distance * distance * (count * other.count / total);
      count = total;
    }
  }
};

// Moments of each channel over rows [begin, end) of one image, into shared memory.
template <typename scalar_t, typename T>
__device__ void measure(const scalar_t* x, int64_t begin, int64_t end, int channels, T* means, T* squares) {
  constexpr int lanes = kLanes<scalar_t>;
  __shared__ Moments<T> shared[kRowThreads];
  const int vectors = channels / lanes;
  const Place place(vectors);
  for (int column = place.across; column < vectors; column += place.columns) {
    T shift[lanes] = {}, sum[lanes] = {}, square[lanes] = {};
    T count = 0;
    for (int64_t row = begin + place.down; row < end && !place.idle(); row += place.step) {
      const auto pixels = reinterpret_cast<const Vector<scalar_t, lanes>*>(x)[row * vectors + column];
      for (int lane = 0; lane < lanes; ++lane) {
        const T value = widened(pixels.values[lane]);
        shift[lane] = count == 0 ? value : shift[lane];  // near the mean: its square takes no digits away
        const T distance = value - shift[lane];
        sum[lane] += distance;
        square[lane] += distance * distance;
      }
      ++count;
    }
    for (int lane = 0; lane < lanes; ++lane) {
      const T mean = count > 0 ? sum[lane] / count : 0;
      shared[threadIdx.x] = {count, shift[lane] + mean, square[lane] - sum[lane] * mean};
      __syncthreads();
      if (place.down == 0) {
        Moments<T> all = shared[threadIdx.x];
        for (int below = 1; below < place.step; ++below) {
          all.add(shared[below * place.columns + place.across]);
        }
        means[column * lanes + lane] = all.mean;
        squares[column * lanes + lane] = all.squares;
      }
      __syncthreads();
    }
  }
}

// A group's mean and 1 / sqrt(variance + eps) from its channels' moments over `count` rows each.
template <typename T>
__device__ void join_channels(const T* means, const T* squares, T count, int num_channels, T eps, T* mean, T* scale) {
  Moments<T> all{count, means[0], squares[0]};
  for (int channel = 1; channel < num_channels; ++channel) {
    all.add({count, means[channel], squares[channel]});
  }
  *mean = all.mean;
  *scale = 1 / sqrt(max(all.squares, T(0)) / all.count + eps);
}

template <typename T>
__device__ T affine(T value, T scale, T shift) {
  return value * scale + shift;
}

// out = relu((x - mean) * scale * weight + bias) of rows [begin, end).
template <typename scalar_t, typename T>
__device__ void write(const scalar_t* x, const T* means, const T* scales, const T* weight, const T* bias,
                      int64_t begin, int64_t end, const Shape<T>& shape, scalar_t* out) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  const int vectors = shape.channels / lanes;
  const Place place(vectors);
  for (int column = place.across; column < vectors && !place.idle(); column += place.columns) {
    T scale[lanes], shift[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
      const int channel = column * lanes + lane, group = channel / shape.channels_of_group();
      scale[lane] = scales[group] * weight[channel];
      shift[lane] = bias[channel] - means[group] * scale[lane];
    }
    for (int64_t row = begin + place.down; row < end; row += place.step) {
      const int64_t at = row * vectors + column;
      auto pixels = reinterpret_cast<const Pixels*>(x)[at];
      for (int lane = 0; lane < lanes; ++lane) {
        const T value = affine(static_cast<T>(widened(pixels.values[lane])), scale[lane], shift[lane]);
        pixels.values[lane] = static_cast<scalar_t>(shape.relu && value <= 0 ? T(0) : value);
      }
      reinterpret_cast<Pixels*>(out)[at] = pixels;
    }
  }
}

// A block an image: x (N, rows, C) -> out, means and scales (N, G).
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    normalize(const scalar_t* x, const T* weight, const T* bias, Shape<T> shape, scalar_t* out, T* means, T* scales) {
  __shared__ T channel_means[kMaxChannels], channel_squares[kMaxChannels];
  const int64_t image = blockIdx.x, offset = image * shape.rows * shape.channels;
  means += image * shape.groups;
  scales += image * shape.groups;
  measure<scalar_t, T>(x + offset, 0, shape.rows, shape.channels, channel_means, channel_squares);
  const int own = shape.channels_of_group();
  for (int group = threadIdx.x; group < shape.groups; group += kRowThreads) {
    join_channels<T>(channel_means + group * own, channel_squares + group * own, static_cast<T>(shape.rows), own,
                     shape.eps, means + group, scales + group);
  }
  __syncthreads();
  write<scalar_t, T>(x + offset, means, scales, weight, bias, 0, shape.rows, shape, out + offset);
}

// A block a chunk: found (N, chunks, 2, C), mean and squares of each channel.
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads) measure_chunks(const scalar_t* x, Shape<T> shape, T* found) {
  __shared__ T channel_means[kMaxChannels], channel_squares[kMaxChannels];
  const int64_t image = blockIdx.y, chunk = blockIdx.x, channels = shape.channels;
  measure<scalar_t, T>(x + image * shape.rows * channels, shape.begin(chunk), shape.end(chunk), shape.channels,
                       channel_means, channel_squares);
  found += (image * shape.chunks + chunk) * 2 * channels;
  for (int64_t channel = threadIdx.x; channel < channels; channel += kRowThreads) {
    found[channel] = channel_means[channel];
    found[channels + channel] = channel_squares[channel];
  }
}

// A block a group of an image.
template <typename T>
__global__ void __launch_bounds__(kRowThreads) join_chunks(const T* found, Shape<T> shape, T* means, T* scales) {
  __shared__ Moments<T> shared[kRowThreads];
  const int64_t image = blockIdx.y, group = blockIdx.x;
  const int own = shape.channels_of_group();
  found += image * shape.chunks * 2 * shape.channels + group * own;
  Moments<T> all{};
  for (int i = threadIdx.x; i < shape.chunks * own; i += kRowThreads) {
    const int chunk = i / own;
    const T* mean = found + static_cast<int64_t>(chunk) * 2 * shape.channels + i % own;
    all.add({static_cast<T>(shape.end(chunk) - shape.begin(chunk)), mean[0], mean[shape.channels]});
  }
  shared[threadIdx.x] = all;
  __syncthreads();
  for (int half = kRowThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      shared[threadIdx.x].add(shared[threadIdx.x + half]);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    join_channels<T>(&shared[0].mean, &shared[0].squares, shared[0].count, 1, shape.eps,
                     means + image * shape.groups + group, scales + image * shape.groups + group);
  }
}

template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    write_chunks(const scalar_t* x, const T* means, const T* scales, const T* weight, const T* bias, Shape<T> shape,
                 scalar_t* out) {
  const int64_t image = blockIdx.y, offset = image * shape.rows * shape.channels;
  write<scalar_t, T>(x + offset, means + image * shape.groups, scales + image * shape.groups, weight, bias,
                           shape.begin(blockIdx.x), shape.end(blockIdx.x), shape, out + offset);
}

// What backward asks of every pixel: xhat = (x - mean) * scale, and the gradient where ReLU let it through.
template <typename scalar_t, typename T>
struct Gradients {
  static constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  T mean[lanes], scale[lanes], weight[lanes], shift[lanes];
  bool relu;

  __device__ Gradients(const T* means, const T* scales, const T* weights, const T* bias, const Shape<T>& shape,
                       int column)
      : relu(shape.relu) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int channel = column * lanes + lane, group = channel / shape.channels_of_group();
      mean[lane] = means[group];
      scale[lane] = scales[group];
      weight[lane] = weights[channel];
      shift[lane] = bias[channel] - means[group] * (scales[group] * weights[channel]);
    }
  }
  __device__ void at(const Pixels& x, const Pixels& grad, int lane, T& normal, T& slope) const {
    const T value = widened(x.values[lane]);
    normal = (value - mean[lane]) * scale[lane];
    slope = widened(grad.values[lane]);
    if (relu && affine(value, scale[lane] * weight[lane], shift[lane]) <= 0) {
      slope = 0;
    }
  }
};

// Sums over rows [begin, end) of one image: of the gradient and of the gradient times xhat, each channel's, in shared
// memory.
template <typename scalar_t, typename T>
__device__ void sum_gradients(const scalar_t* grad, const scalar_t* x, const T* means, const T* scales,
                              const T* weight, const T* bias, int64_t begin, int64_t end, const Shape<T>& shape,
                              T* plain, T* weighted) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  __shared__ T shared[2][kRowThreads];
  const int vectors = shape.channels / lanes;
  const Place place(vectors);
  for (int column = place.across; column < vectors; column += place.columns) {
    const Gradients<scalar_t, T> gradients(means, scales, weight, bias, shape, column);
    T sum[lanes] = {}, product[lanes] = {};
    for (int64_t row = begin + place.down; row < end && !place.idle(); row += place.step) {
      const int64_t at = row * vectors + column;
      const auto pixels = reinterpret_cast<const Pixels*>(x)[at], slopes = reinterpret_cast<const Pixels*>(grad)[at];
      for (int lane = 0; lane < lanes; ++lane) {
        T normal, slope;
        gradients.at(pixels, slopes, lane, normal, slope);
        sum[lane] += slope;
        product[lane] += slope * normal;
      }
    }
    for (int lane = 0; lane < lanes; ++lane) {
      shared[0][threadIdx.x] = sum[lane];
      shared[1][threadIdx.x] = product[lane];
      __syncthreads();
      if (place.down == 0) {
        T all = 0, all_weighted = 0;
        for (int below = 0; below < place.step; ++below) {
          all += shared[0][below * place.columns + place.across];
          all_weighted += shared[1][below * place.columns + place.across];
        }
        plain[column * lanes + lane] = all;
        weighted[column * lanes + lane] = all_weighted;
      }
      __syncthreads();
    }
  }
}

// The group's means of weight * gradient and weight * gradient * xhat, from its channels' sums.
template <typename T>
__device__ void mean_gradients(const T* plain, const T* weighted, const T* weight, int group, const Shape<T>& shape,
                               T* result) {
  const int own = shape.channels_of_group();
  T sum = 0, product = 0;
  for (int channel = group * own; channel < (group + 1) * own; ++channel) {
    sum += weight[channel] * plain[channel];
    product += weight[channel] * weighted[channel];
  }
  const T count = static_cast<T>(shape.rows) * own;
  result[2 * group] = sum / count;
  result[2 * group + 1] = product / count;
}

// grad_x = scale * (weight * gradient - m0 - xhat * m1), where m are the group's means.
template <typename scalar_t, typename T>
__device__ void write_gradients(const scalar_t* grad, const scalar_t* x, const T* means, const T* scales,
                                const T* weight, const T* bias, const T* of_groups, int64_t begin, int64_t end,
                                const Shape<T>& shape, scalar_t* grad_x) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  const int vectors = shape.channels / lanes;
  const Place place(vectors);
  for (int column = place.across; column < vectors && !place.idle(); column += place.columns) {
    const Gradients<scalar_t, T> gradients(means, scales, weight, bias, shape, column);
    T mean[lanes], product[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
      const int group = (column * lanes + lane) / shape.channels_of_group();
      mean[lane] = of_groups[2 * group];
      product[lane] = of_groups[2 * group + 1];
    }
    for (int64_t row = begin + place.down; row < end; row += place.step) {
      const int64_t at = row * vectors + column;
      const auto pixels = reinterpret_cast<const Pixels*>(x)[at], slopes = reinterpret_cast<const Pixels*>(grad)[at];
      Pixels result;
      for (int lane = 0; lane < lanes; ++lane) {
        T normal, slope;
        gradients.at(pixels, slopes, lane, normal, slope);
        result.values[lane] = static_cast<scalar_t>(
            gradients.scale[lane] * (gradients.weight[lane] * slope - mean[lane] - normal * product[lane]));
      }
      reinterpret_cast<Pixels*>(grad_x)[at] = result;
    }
  }
}

// A block an image; sums (N, 2, C).
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    backward_images(const scalar_t* grad, const scalar_t* x, const T* means, const T* scales, const T* weight,
                    const T* bias, Shape<T> shape, scalar_t* grad_x, T* sums) {
  __shared__ T plain[kMaxChannels], weighted[kMaxChannels], of_groups[2 * kMaxChannels];
  const int64_t image = blockIdx.x, offset = image * shape.rows * shape.channels;
  means += image * shape.groups;
  scales += image * shape.groups;
  sum_gradients<scalar_t, T>(grad + offset, x + offset, means, scales, weight, bias, 0, shape.rows, shape, plain,
                                   weighted);
  sums += image * 2 * shape.channels;
  for (int channel = threadIdx.x; channel < shape.channels; channel += kRowThreads) {
    sums[channel] = plain[channel];
    sums[shape.channels + channel] = weighted[channel];
  }
  for (int group = threadIdx.x; group < shape.groups; group += kRowThreads) {
    mean_gradients<T>(plain, weighted, weight, group, shape, of_groups);
  }
  __syncthreads();
  write_gradients<scalar_t, T>(grad + offset, x + offset, means, scales, weight, bias, of_groups, 0, shape.rows,
                                     shape, grad_x + offset);
}

// A block a chunk; found (N, chunks, 2, C).
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    sum_chunks(const scalar_t* grad, const scalar_t* x, const T* means, const T* scales, const T* weight,
               const T* bias, Shape<T> shape, T* found) {
  __shared__ T plain[kMaxChannels], weighted[kMaxChannels];
  const int64_t image = blockIdx.y, chunk = blockIdx.x, offset = image * shape.rows * shape.channels;
  sum_gradients<scalar_t, T>(grad + offset, x + offset, means + image * shape.groups,
                                   scales + image * shape.groups, weight, bias, shape.begin(chunk), shape.end(chunk),
                                   shape, plain, weighted);
  found += (image * shape.chunks + chunk) * 2 * shape.channels;
  for (int channel = threadIdx.x; channel < shape.channels; channel += kRowThreads) {
    found[channel] = plain[channel];
    found[shape.channels + channel] = weighted[channel];
  }
}

// sums (N, 2, C); a block a chunk.
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    backward_chunks(const scalar_t* grad, const scalar_t* x, const T* means, const T* scales, const T* weight,
                    const T* bias, const T* sums, Shape<T> shape, scalar_t* grad_x) {
  __shared__ T of_groups[2 * kMaxChannels];
  const int64_t image = blockIdx.y, offset = image * shape.rows * shape.channels;
  sums += image * 2 * shape.channels;
  for (int group = threadIdx.x; group < shape.groups; group += kRowThreads) {
    mean_gradients<T>(sums, sums + shape.channels, weight, group, shape, of_groups);
  }
  __syncthreads();
  write_gradients<scalar_t, T>(grad + offset, x + offset, means + image * shape.groups,
                                     scales + image * shape.groups, weight, bias, of_groups, shape.begin(blockIdx.x),
                                     shape.end(blockIdx.x), shape, grad_x + offset);
}

template <typename T>
Shape<T> shape_of(const Tensor& x, int64_t groups, double eps, bool relu) {
  const int64_t images = x.size(0), rows = x.size(2) * x.size(3);
  STD_TORCH_CHECK(x.size(1) <= kMaxChannels, "group_norm: ", x.size(1), " channels, at most ", kMaxChannels,
                  " fit on CUDA");
  Shape<T> shape{rows, static_cast<int>(x.size(1)), static_cast<int>(groups), 1, rows, static_cast<T>(eps),
                 relu};
  if (rows > kOneBlock && images < 512) {
    const int64_t wanted = std::clamp<int64_t>(1024 / images, 1, (rows + 63) / 64);
    shape.rows_of_chunk = (rows + wanted - 1) / wanted;
    shape.chunks = static_cast<int>((rows + shape.rows_of_chunk - 1) / shape.rows_of_chunk);
  }
  return shape;
}

// x (N, C, H, W), not empty, channels-last, C a multiple of what 16 bytes hold. Returns out, means and scales (N, G).
std::tuple<Tensor, Tensor, Tensor> forward(Tensor x, int64_t groups, Tensor weight, Tensor bias, double eps,
                                           bool relu) {
  const CurrentStream stream(x);
  const int64_t images = x.size(0);
  Tensor out = torch::stable::empty_like(x), means = empty({images, groups}, weight.scalar_type(), x),
         scales = torch::stable::empty_like(means);
  MMDET_DISPATCH("group_norm", x, [&] {
    using T = accumulate_t<scalar_t>;
    const auto shape = shape_of<T>(x, groups, eps, relu);
    const auto* x_data = x.const_data_ptr<scalar_t>();
    const T *weight_data = weight.const_data_ptr<T>(), *bias_data = bias.const_data_ptr<T>();
    T *means_data = means.mutable_data_ptr<T>(), *scales_data = scales.mutable_data_ptr<T>();
    auto* out_data = out.mutable_data_ptr<scalar_t>();
    const dim3 chunks(shape.chunks, images);
    if (shape.chunks == 1) {
      normalize<scalar_t, T><<<images, kRowThreads, 0, stream>>>(x_data, weight_data, bias_data, shape, out_data,
                                                                 means_data, scales_data);
      return;
    }
    Tensor found = empty({images, shape.chunks, 2, x.size(1)}, weight.scalar_type(), x);
    measure_chunks<scalar_t, T><<<chunks, kRowThreads, 0, stream>>>(x_data, shape, found.mutable_data_ptr<T>());
    check_cuda(cudaGetLastError());
    const dim3 of_groups(groups, images);
    join_chunks<T><<<of_groups, kRowThreads, 0, stream>>>(found.const_data_ptr<T>(), shape, means_data, scales_data);
    check_cuda(cudaGetLastError());
    write_chunks<scalar_t, T><<<chunks, kRowThreads, 0, stream>>>(x_data, means_data, scales_data, weight_data,
                                                                  bias_data, shape, out_data);
  });
  check_cuda(cudaGetLastError());
  return {out, means, scales};
}

// Returns the gradient of x and, of each image and channel, the sums (N, 2, C) of the gradient and of it times xhat.
std::tuple<Tensor, Tensor> backward(Tensor grad, Tensor x, Tensor weight, Tensor bias, Tensor means, Tensor scales,
                                    bool relu) {
  const CurrentStream stream(x);
  const int64_t images = x.size(0), groups = means.size(1);
  Tensor grad_x = torch::stable::empty_like(x), sums = empty({images, 2, x.size(1)}, weight.scalar_type(), x);
  MMDET_DISPATCH("group_norm_backward", x, [&] {
    using T = accumulate_t<scalar_t>;
    const auto shape = shape_of<T>(x, groups, 0, relu);
    const auto *grad_data = grad.const_data_ptr<scalar_t>(), *x_data = x.const_data_ptr<scalar_t>();
    const T *means_data = means.const_data_ptr<T>(), *scales_data = scales.const_data_ptr<T>(),
            *weight_data = weight.const_data_ptr<T>(), *bias_data = bias.const_data_ptr<T>();
    auto* grad_x_data = grad_x.mutable_data_ptr<scalar_t>();
    const dim3 chunks(shape.chunks, images);
    if (shape.chunks == 1) {
      backward_images<scalar_t, T><<<images, kRowThreads, 0, stream>>>(
          grad_data, x_data, means_data, scales_data, weight_data, bias_data, shape, grad_x_data,
          sums.mutable_data_ptr<T>());
      return;
    }
    Tensor found = empty({images, shape.chunks, 2, x.size(1)}, weight.scalar_type(), x);
    sum_chunks<scalar_t, T><<<chunks, kRowThreads, 0, stream>>>(
        grad_data, x_data, means_data, scales_data, weight_data, bias_data, shape, found.mutable_data_ptr<T>());
    check_cuda(cudaGetLastError());
    constexpr int64_t chunks_dim[] = {1};
    sums = torch::stable::sum(found, torch::headeronly::IntHeaderOnlyArrayRef(chunks_dim, 1));
    backward_chunks<scalar_t, T><<<chunks, kRowThreads, 0, stream>>>(
        grad_data, x_data, means_data, scales_data, weight_data, bias_data, sums.const_data_ptr<T>(), shape,
        grad_x_data);
  });
  check_cuda(cudaGetLastError());
  return {grad_x, sums};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("group_norm", TORCH_BOX(&forward));
  m.impl("group_norm_backward", TORCH_BOX(&backward));
}

}  // namespace mmdet::group_norm_cuda
