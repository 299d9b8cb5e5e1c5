// What follows a convolution, in one pass over its output: a bias, another feature, ReLU; and the way back.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../channels_last.cuh"

namespace mmdet::bias_relu_cuda {
namespace {

// x (rows, C) in place. bias (C) or null; other (rows, C) or null.
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    bias_relu(scalar_t* x, const T* bias, const scalar_t* other, bool relu, int64_t total, int vectors) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kRowThreads;
  int64_t at = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  const bool same_channels = step % vectors == 0;
  Vector<T, lanes> shift{};
  for (bool first = true; at < total; at += step, first = false) {
    if (bias != nullptr && (first || !same_channels)) {
      const T* own = bias + at % vectors * lanes;
      for (int lane = 0; lane < lanes; ++lane) {
        shift.values[lane] = own[lane];
      }
    }
    auto pixels = reinterpret_cast<Pixels*>(x)[at];
    const auto others = other == nullptr ? Pixels{} : reinterpret_cast<const Pixels*>(other)[at];
    for (int lane = 0; lane < lanes; ++lane) {
      T value = widened(pixels.values[lane]) + shift.values[lane];
      if (other != nullptr) {
        value += widened(others.values[lane]);
      }
      pixels.values[lane] = static_cast<scalar_t>(relu && value <= 0 ? T(0) : value);
    }
    reinterpret_cast<Pixels*>(x)[at] = pixels;
  }
}

// grad_x = grad where out > 0 (null: everywhere, and grad_x is not written); sums (blocks, C), over each block's rows.
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    bias_relu_backward(const scalar_t* grad, const scalar_t* out, scalar_t* grad_x, T* sums, int64_t rows,
                       int vectors) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  __shared__ Vector<T, lanes> shared[kRowThreads];
  const Place place(vectors);
  for (int column = place.across; column < vectors; column += place.columns) {
    Vector<T, lanes> sum{};
    const int64_t stride = static_cast<int64_t>(gridDim.x) * place.step;
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * place.step + place.down; row < rows && !place.idle();
         row += stride) {
      const int64_t at = row * vectors + column;
      auto pixels = reinterpret_cast<const Pixels*>(grad)[at];
      if (out != nullptr) {
        const auto outputs = reinterpret_cast<const Pixels*>(out)[at];
        for (int lane = 0; lane < lanes; ++lane) {
          if (!(widened(outputs.values[lane]) > 0)) {
            pixels.values[lane] = static_cast<scalar_t>(T(0));
          }
        }
        reinterpret_cast<Pixels*>(grad_x)[at] = pixels;
      }
      for (int lane = 0; lane < lanes; ++lane) {
        sum.values[lane] += widened(pixels.values[lane]);
      }
    }
    if (sums == nullptr) {
      continue;
    }
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (place.down == 0) {
      for (int below = 1; below < place.step; ++below) {
        for (int lane = 0; lane < lanes; ++lane) {
          sum.values[lane] += shared[below * place.columns + place.across].values[lane];
        }
      }
      reinterpret_cast<Vector<T, lanes>*>(sums)[static_cast<int64_t>(blockIdx.x) * vectors + column] = sum;
    }
    __syncthreads();
  }
}

// x (B, C, H, W), channels-last, C a multiple of what 16 bytes hold, as are `other` and the gradients.
void forward(Tensor x, std::optional<Tensor> bias, std::optional<Tensor> other, bool relu) {
  if (x.numel() == 0) {
    return;
  }
  const CurrentStream stream(x);
  MMDET_DISPATCH("bias_relu", x, [&] {
    using T = accumulate_t<scalar_t>;
    const int64_t vectors = x.size(1) / kLanes<scalar_t>, total = x.numel() / kLanes<scalar_t>;
    const int64_t blocks = std::min<int64_t>((total + kRowThreads - 1) / kRowThreads, 4096);
    bias_relu<scalar_t, T><<<blocks, kRowThreads, 0, stream>>>(
        x.mutable_data_ptr<scalar_t>(), bias ? bias->const_data_ptr<T>() : nullptr,
        other ? other->const_data_ptr<scalar_t>() : nullptr, relu, total, static_cast<int>(vectors));
  });
  check_cuda(cudaGetLastError());
}

std::tuple<Tensor, Tensor> backward(Tensor grad, std::optional<Tensor> out, bool wants_bias) {
  const CurrentStream stream(grad);
  Tensor grad_x = out ? torch::stable::empty_like(grad) : grad;
  Tensor grad_bias;
  MMDET_DISPATCH("bias_relu_backward", grad, [&] {
    using T = accumulate_t<scalar_t>;
    const int64_t channels = grad.size(1), vectors = channels / kLanes<scalar_t>;
    const int64_t rows = channels == 0 ? 0 : grad.numel() / channels, blocks = row_blocks(rows, vectors);
    Tensor sums = empty({wants_bias ? blocks : 0, channels}, torch::headeronly::CppTypeToScalarType<T>::value, grad);
    if (rows != 0) {
      bias_relu_backward<scalar_t, T><<<blocks, kRowThreads, 0, stream>>>(
          grad.const_data_ptr<scalar_t>(), out ? out->const_data_ptr<scalar_t>() : nullptr,
          out ? grad_x.mutable_data_ptr<scalar_t>() : nullptr, wants_bias ? sums.mutable_data_ptr<T>() : nullptr, rows,
          static_cast<int>(vectors));
      check_cuda(cudaGetLastError());
    } else {
      torch::stable::zero_(sums);
    }
    constexpr int64_t blocks_dim[] = {0};
    grad_bias = torch::stable::sum(sums, torch::headeronly::IntHeaderOnlyArrayRef(blocks_dim, 1));
  });
  return {grad_x, grad_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("bias_relu_", TORCH_BOX(&forward));
  m.impl("bias_relu_backward", TORCH_BOX(&backward));
}

}  // namespace mmdet::bias_relu_cuda
