// a * scale_a + b * scale_b + offset, of each channel, on the CPU.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../compiler.h"
#include "../tensor.h"

namespace mmdet {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that are worth a thread

// Rows of positions of one channel, or, channels-last, of the channels of one position.
template <bool kChannelsLast, typename T>
MMDET_CLONES void sum_rows(const T* __restrict a, const T* __restrict b, const accumulate_t<T>* __restrict scale_a,
                           const accumulate_t<T>* __restrict scale_b, const accumulate_t<T>* __restrict offset,
                           int64_t channels, int64_t length, int64_t begin, int64_t end, T* __restrict out) {
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t i = 0; i < length; ++i) {
      const int64_t at = row * length + i, channel = kChannelsLast ? i : row % channels;
      out[at] = static_cast<T>(static_cast<accumulate_t<T>>(a[at]) * scale_a[channel] +
                               static_cast<accumulate_t<T>>(b[at]) * scale_b[channel] + offset[channel]);
    }
  }
}

// a, b (B, C, H, W) are of one dtype and both contiguous or both channels-last; the others (C) of the type of sums.
Tensor scaled_sum(Tensor a, Tensor b, Tensor scale_a, Tensor scale_b, Tensor offset) {
  const int64_t channels = a.size(1), size = a.size(2) * a.size(3);
  const bool channels_last = is_channels_last(a);
  Tensor out = empty({a.size(0), channels, a.size(2), a.size(3)}, a.scalar_type(), a, channels_last);
  MMDET_DISPATCH("scaled_sum", a, [&] {
    using sum_t = accumulate_t<scalar_t>;
    const int64_t length = channels_last ? channels : size, num_rows = a.size(0) * (channels_last ? size : channels);
    const auto run = channels_last ? sum_rows<true, scalar_t> : sum_rows<false, scalar_t>;
    torch::stable::parallel_for(0, num_rows, kGrain / std::max<int64_t>(length, 1) + 1, [&](int64_t begin, int64_t end) {
      run(a.const_data_ptr<scalar_t>(), b.const_data_ptr<scalar_t>(), scale_a.const_data_ptr<sum_t>(),
          scale_b.const_data_ptr<sum_t>(), offset.const_data_ptr<sum_t>(), channels, length, begin, end,
          out.mutable_data_ptr<scalar_t>());
    });
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("scaled_sum", TORCH_BOX(&scaled_sum));
}

}  // namespace mmdet
