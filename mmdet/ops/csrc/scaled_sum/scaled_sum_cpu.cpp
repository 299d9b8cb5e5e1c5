// a * scale_a + b * scale_b + offset, of each channel, on the CPU.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../compiler.h"
#include "../tensor.h"

namespace mmdet {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that are worth a thread

// Factors and offset of each element, or one for all of them.
template <bool kEach, typename T>
MMDET_CLONES void sum_row(const T* a, const T* b, const accumulate_t<T>* scale_a, const accumulate_t<T>* scale_b,
                          const accumulate_t<T>* offset, int64_t n, T* out) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = kEach ? i : 0;
    out[i] = static_cast<T>(static_cast<accumulate_t<T>>(a[i]) * scale_a[at] +
                            static_cast<accumulate_t<T>>(b[i]) * scale_b[at] + offset[at]);
  }
}

// a, b (B, C, H, W) are of one dtype and both contiguous or both channels-last; the others (C) of the type of sums.
Tensor scaled_sum(Tensor a, Tensor b, Tensor scale_a, Tensor scale_b, Tensor offset) {
  const int64_t channels = a.size(1), size = a.size(2) * a.size(3);
  const bool channels_last = is_channels_last(a);
  Tensor out = empty({a.size(0), channels, a.size(2), a.size(3)}, a.scalar_type(), a, channels_last);
  MMDET_DISPATCH("scaled_sum", a, [&] {
    using sum_t = accumulate_t<scalar_t>;
    const auto *left = a.const_data_ptr<scalar_t>(), *right = b.const_data_ptr<scalar_t>();
    const auto *of_left = scale_a.const_data_ptr<sum_t>(), *of_right = scale_b.const_data_ptr<sum_t>();
    const auto* shift = offset.const_data_ptr<sum_t>();
    auto* sums = out.mutable_data_ptr<scalar_t>();
    const int64_t length = channels_last ? channels : size, num_rows = a.size(0) * (channels_last ? size : channels);
    torch::stable::parallel_for(0, num_rows, kGrain / std::max<int64_t>(length, 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row * length, channel = row % channels;
        if (channels_last) {
          sum_row<true>(left + at, right + at, of_left, of_right, shift, length, sums + at);
        } else {
          sum_row<false>(left + at, right + at, of_left + channel, of_right + channel, shift + channel, length,
                         sums + at);
        }
      }
    });
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("scaled_sum", TORCH_BOX(&scaled_sum));
}

}  // namespace mmdet
