// a * scale_a + b * scale_b + offset, of each channel, on CUDA.
#include <torch/csrc/stable/library.h>

#include "../channels_last.cuh"

namespace mmdet::scaled_sum_cuda {
namespace {

template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    sum_rows(const scalar_t* a, const scalar_t* b, const T* scale_a, const T* scale_b, const T* offset, int64_t rows,
             int vectors, scalar_t* out) {
  constexpr int lanes = kLanes<scalar_t>;
  using Pixels = Vector<scalar_t, lanes>;
  const Place place(vectors);
  for (int column = place.across; column < vectors && !place.idle(); column += place.columns) {
    T of_a[lanes], of_b[lanes], shift[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
      of_a[lane] = scale_a[column * lanes + lane];
      of_b[lane] = scale_b[column * lanes + lane];
      shift[lane] = offset[column * lanes + lane];
    }
    const int64_t stride = static_cast<int64_t>(gridDim.x) * place.step;
    for (int64_t row = static_cast<int64_t>(blockIdx.x) * place.step + place.down; row < rows; row += stride) {
      const int64_t at = row * vectors + column;
      const auto first = reinterpret_cast<const Pixels*>(a)[at], second = reinterpret_cast<const Pixels*>(b)[at];
      Pixels sum;
      for (int lane = 0; lane < lanes; ++lane) {
        sum.values[lane] = static_cast<scalar_t>(widened(first.values[lane]) * of_a[lane] +
                                                 widened(second.values[lane]) * of_b[lane] + shift[lane]);
      }
      reinterpret_cast<Pixels*>(out)[at] = sum;
    }
  }
}

// Elements `stride` apart are of neighbouring channels.
template <typename scalar_t, typename T>
__global__ void __launch_bounds__(kRowThreads)
    sum_elements(const scalar_t* a, const scalar_t* b, const T* scale_a, const T* scale_b, const T* offset,
                 int64_t total, int64_t channels, int64_t stride, scalar_t* out) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kRowThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x; at < total; at += step) {
    const int64_t channel = at / stride % channels;
    out[at] = static_cast<scalar_t>(widened(a[at]) * scale_a[channel] + widened(b[at]) * scale_b[channel] +
                                    offset[channel]);
  }
}

// a, b (B, C, H, W) are both contiguous or both channels-last; the others (C) of the type of sums.
Tensor scaled_sum(Tensor a, Tensor b, Tensor scale_a, Tensor scale_b, Tensor offset) {
  Tensor out = torch::stable::empty_like(b);
  if (out.numel() == 0) {
    return out;
  }
  const CurrentStream stream(a);
  MMDET_DISPATCH("scaled_sum", a, [&] {
    using T = accumulate_t<scalar_t>;
    const auto *a_data = a.const_data_ptr<scalar_t>(), *b_data = b.const_data_ptr<scalar_t>();
    const T *of_a = scale_a.const_data_ptr<T>(), *of_b = scale_b.const_data_ptr<T>(),
            *shift = offset.const_data_ptr<T>();
    auto* out_data = out.mutable_data_ptr<scalar_t>();
    const int64_t channels = a.size(1), vectors = channels / kLanes<scalar_t>;
    const bool channels_last = is_channels_last(a);
    if (channels_last && channels % kLanes<scalar_t> == 0 && aligned_to_16(a_data) && aligned_to_16(b_data)) {
      const int64_t rows = a.numel() / channels;
      sum_rows<scalar_t, T><<<4 * row_blocks(rows, vectors), kRowThreads, 0, stream>>>(
          a_data, b_data, of_a, of_b, shift, rows, static_cast<int>(vectors), out_data);
      return;
    }
    const int64_t blocks = std::min<int64_t>((a.numel() + kRowThreads - 1) / kRowThreads, 4096);
    sum_elements<scalar_t, T><<<blocks, kRowThreads, 0, stream>>>(
        a_data, b_data, of_a, of_b, shift, a.numel(), channels, channels_last ? 1 : a.size(2) * a.size(3), out_data);
  });
  check_cuda(cudaGetLastError());
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("scaled_sum", TORCH_BOX(&scaled_sum));
}

}  // namespace mmdet::scaled_sum_cuda
