// A batch norm by fixed statistics as part of the convolution before it, on CUDA: a block for each output channel.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "../block_sum.cuh"
#include "../channels_last.cuh"

namespace mmdet::fold_norm_cuda {
namespace {

// Of each output channel; scalar_t is the type of the weights.
template <typename scalar_t>
struct Norm {
  using T = accumulate_t<scalar_t>;
  const scalar_t *gamma, *mean, *variance, *conv_bias;  // the last may be null
  T eps;

  __device__ T inverse_deviation(int64_t channel) const {
    return 1 / sqrt(widened(variance[channel]) + eps);
  }
  // What the convolution's output without its bias is centred at.
  __device__ T centre(int64_t channel) const {
    const T shift = conv_bias == nullptr ? T(0) : widened(conv_bias[channel]);
    return widened(mean[channel]) - shift;
  }
};

// weight (C, P) -> scaled (C, P), bias (C).
template <typename scalar_t, typename scaled_t>
__global__ void __launch_bounds__(kRowThreads)
    fold(Norm<scalar_t> norm, const scalar_t* beta, const scalar_t* weight, int64_t size, scaled_t* scaled,
         accumulate_t<scalar_t>* bias) {
  const int64_t channel = blockIdx.x;
  const auto scale = widened(norm.gamma[channel]) * norm.inverse_deviation(channel);
  for (int64_t i = channel * size + threadIdx.x; i < (channel + 1) * size; i += kRowThreads) {
    scaled[i] = static_cast<scaled_t>(widened(weight[i]) * scale);
  }
  if (threadIdx.x == 0) {
    bias[channel] = widened(beta[channel]) - norm.centre(channel) * scale;
  }
}

// grad (C, P) of `scaled`, grad_bias (C) -> grad_weight (C, P), and of gamma and conv_bias (C).
template <typename scalar_t, typename scaled_t>
__global__ void __launch_bounds__(kRowThreads)
    fold_backward(Norm<scalar_t> norm, const scaled_t* grad, const accumulate_t<scalar_t>* grad_bias,
                  const scalar_t* weight, int64_t size, scalar_t* grad_weight, scalar_t* grad_gamma,
                  scalar_t* grad_conv_bias) {
  using T = accumulate_t<scalar_t>;
  const int64_t channel = blockIdx.x;
  const T inverse = norm.inverse_deviation(channel), scale = widened(norm.gamma[channel]) * inverse;
  T sum[1] = {};
  for (int64_t i = channel * size + threadIdx.x; i < (channel + 1) * size; i += kRowThreads) {
    const T value = widened(grad[i]);
    sum[0] += value * widened(weight[i]);
    grad_weight[i] = static_cast<scalar_t>(value * scale);
  }
  sum_over_block<kRowThreads>(sum);
  if (threadIdx.x == 0) {
    grad_gamma[channel] = static_cast<scalar_t>((sum[0] - grad_bias[channel] * norm.centre(channel)) * inverse);
    grad_conv_bias[channel] = static_cast<scalar_t>(grad_bias[channel] * scale);
  }
}

template <typename scalar_t>
Norm<scalar_t> norm_of(const Tensor& gamma, const Tensor& mean, const Tensor& variance,
                       const std::optional<Tensor>& conv_bias, double eps) {
  return {gamma.const_data_ptr<scalar_t>(), mean.const_data_ptr<scalar_t>(), variance.const_data_ptr<scalar_t>(),
          conv_bias ? conv_bias->const_data_ptr<scalar_t>() : nullptr, static_cast<accumulate_t<scalar_t>>(eps)};
}

// run(weight's type, type of what is scaled): as the weights are, or float32 in half the width.
template <typename Run>
void dispatch(const Tensor& weight, const Tensor& scaled, const Run& run) {
  if (weight.scalar_type() == scaled.scalar_type()) {
    MMDET_DISPATCH("fold_norm", weight, [&] { run(scalar_t(), scalar_t()); });
    return;
  }
  STD_TORCH_CHECK(weight.scalar_type() == ScalarType::Float, "fold_norm: only float32 weights change their dtype");
  if (scaled.scalar_type() == ScalarType::BFloat16) {
    run(float(), BFloat16());
  } else {
    STD_TORCH_CHECK(scaled.scalar_type() == ScalarType::Half, "fold_norm: weights become bfloat16 or float16");
    run(float(), Half());
  }
}

// weight (C, ...), dense with its channels outermost; the others (C), in its dtype.
std::tuple<Tensor, Tensor> fold_norm(Tensor weight, std::optional<Tensor> conv_bias, Tensor gamma, Tensor beta,
                                     Tensor mean, Tensor variance, double eps, ScalarType dtype) {
  const CurrentStream stream(weight);
  const int64_t channels = weight.size(0);
  Tensor scaled = empty({channels, weight.size(1), weight.size(2), weight.size(3)}, dtype, weight,
                        is_channels_last(weight));
  Tensor bias;
  dispatch(weight, scaled, [&](auto own, auto out) {
    using own_t = decltype(own);
    using T = accumulate_t<own_t>;
    bias = empty({channels}, torch::headeronly::CppTypeToScalarType<T>::value, weight);
    if (channels != 0) {
      fold<own_t, decltype(out)><<<channels, kRowThreads, 0, stream>>>(
          norm_of<own_t>(gamma, mean, variance, conv_bias, eps), beta.const_data_ptr<own_t>(),
          weight.const_data_ptr<own_t>(), weight.numel() / channels, scaled.mutable_data_ptr<decltype(out)>(),
          bias.mutable_data_ptr<T>());
    }
  });
  check_cuda(cudaGetLastError());
  return {scaled, bias};
}

// grad, of the weights' memory format: of the scaled weights. grad_bias (C), in the type of sums.
std::tuple<Tensor, Tensor, Tensor> fold_norm_backward(Tensor grad, Tensor grad_bias, Tensor weight,
                                                      std::optional<Tensor> conv_bias, Tensor gamma, Tensor mean,
                                                      Tensor variance, double eps) {
  const CurrentStream stream(weight);
  const int64_t channels = weight.size(0);
  Tensor grad_weight = torch::stable::empty_like(weight);
  Tensor grad_gamma = torch::stable::empty_like(gamma), grad_conv_bias = torch::stable::empty_like(gamma);
  dispatch(weight, grad, [&](auto own, auto out) {
    using own_t = decltype(own);
    if (channels != 0) {
      fold_backward<own_t, decltype(out)><<<channels, kRowThreads, 0, stream>>>(
          norm_of<own_t>(gamma, mean, variance, conv_bias, eps), grad.const_data_ptr<decltype(out)>(),
          grad_bias.const_data_ptr<accumulate_t<own_t>>(), weight.const_data_ptr<own_t>(), weight.numel() / channels,
          grad_weight.mutable_data_ptr<own_t>(), grad_gamma.mutable_data_ptr<own_t>(),
          grad_conv_bias.mutable_data_ptr<own_t>());
    }
  });
  check_cuda(cudaGetLastError());
  return {grad_weight, grad_gamma, grad_conv_bias};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("fold_norm", TORCH_BOX(&fold_norm));
  m.impl("fold_norm_backward", TORCH_BOX(&fold_norm_backward));
}

}  // namespace mmdet::fold_norm_cuda
