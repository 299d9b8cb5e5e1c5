// The mean of the input patches under a convolution's output positions, on the CPU, of strides and dilations 1.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "../compiler.h"
#include "../tensor.h"

namespace mmdet {
namespace {

constexpr int64_t kRowsOfPart = 64;  // summed up one after the other; parts then add up, the same for any number of threads

// Along one side: the positions that each element of the kernel reads, and those that all of them read.
struct Reads {
  int64_t size, kernel, padding;

  int64_t out_size() const {
    return size + 2 * padding - kernel + 1;
  }
  int64_t first(int64_t tap) const {
    return std::clamp<int64_t>(tap - padding, 0, size);
  }
  int64_t last(int64_t tap) const {
    return std::clamp<int64_t>(tap - padding + out_size(), 0, size);
  }
  int64_t all_first() const {
    return first(kernel - 1);
  }
  int64_t all_last() const {
    return std::max(last(0), all_first());
  }
};

// Of kBlock channels: the sum over the positions from `first` to `last` of a row of the image.
template <int kBlock, typename T>
MMDET_INLINE void add_positions(const T* row, int64_t channels, int64_t first, int64_t last,
                                accumulate_t<T> (&sums)[kBlock]) {
  for (int64_t x = first; x < last; ++x) {
    for (int i = 0; i < kBlock; ++i) {
      sums[i] += static_cast<accumulate_t<T>>(row[x * channels + i]);
    }
  }
}

// Adds what each column of the kernel reads to (column, channel), for each row of the kernel that is one of `targets`;
// `line` is the sum over the positions that all columns read.
template <int kBlock, typename T>
MMDET_INLINE void add_block(const T* row, const accumulate_t<T>* line, const Reads& columns, int64_t channels,
                            int64_t channel, accumulate_t<T>* const* targets, int64_t num_targets) {
  for (int64_t tap = 0; tap < columns.kernel; ++tap) {
    accumulate_t<T> sums[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      sums[i] = line[channel + i];
    }
    const int64_t first = columns.first(tap), last = columns.last(tap);
    add_positions<kBlock>(row + channel, channels, first, std::min(last, columns.all_first()), sums);
    add_positions<kBlock>(row + channel, channels, std::max(first, columns.all_last()), last, sums);
    for (int64_t target = 0; target < num_targets; ++target) {
      accumulate_t<T>* to = targets[target] + tap * channels + channel;
      for (int i = 0; i < kBlock; ++i) {
        to[i] += sums[i];
      }
    }
  }
}

template <typename T>
MMDET_CLONES void add_row(const T* row, const Reads& columns, int64_t channels, accumulate_t<T>* line,
                          accumulate_t<T>* const* targets, int64_t num_targets) {
  for (int64_t i = 0; i < channels; ++i) {
    line[i] = 0;
  }
  for (int64_t x = columns.all_first(); x < columns.all_last(); ++x) {  // along the memory
    for (int64_t i = 0; i < channels; ++i) {
      line[i] += static_cast<accumulate_t<T>>(row[x * channels + i]);
    }
  }
  int64_t channel = 0;
  for (; channel + 64 <= channels; channel += 64) {
    add_block<64>(row, line, columns, channels, channel, targets, num_targets);
  }
  for (; channel < channels; ++channel) {
    add_block<1>(row, line, columns, channels, channel, targets, num_targets);
  }
}

// Adds a row of the image, at height y, to (row of the kernel, column, channel), or where all rows of the kernel read it
// to the one after them. `targets` is for as many pointers as the kernel has rows, `line` for the channels.
template <typename T>
void add_image_row(const T* row, int64_t y, const Reads& rows, const Reads& columns, int64_t channels,
                   accumulate_t<T>** targets, accumulate_t<T>* line, accumulate_t<T>* sums) {
  const int64_t size = columns.kernel * channels;
  int64_t num_targets = 0;
  if (rows.all_first() <= y && y < rows.all_last()) {
    targets[num_targets++] = sums + rows.kernel * size;
  } else {
    for (int64_t tap = 0; tap < rows.kernel; ++tap) {
      if (rows.first(tap) <= y && y < rows.last(tap)) {
        targets[num_targets++] = sums + tap * size;
      }
    }
  }
  add_row(row, columns, channels, line, targets, num_targets);
}

// x (B, C, H, W) is dense channels-last.
Tensor mean_patch(Tensor x, int64_t kernel_height, int64_t kernel_width, int64_t pad_y, int64_t pad_x) {
  const Reads rows{x.size(2), kernel_height, pad_y}, columns{x.size(3), kernel_width, pad_x};
  STD_TORCH_CHECK(rows.out_size() > 0 && columns.out_size() > 0, "mean_patch: the kernel is larger than the padded input");
  const int64_t channels = x.size(1), num_taps = kernel_height * kernel_width, num_rows = x.size(0) * x.size(2);
  const auto dtype = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor patch = empty({channels, kernel_height, kernel_width}, dtype, x);
  MMDET_DISPATCH("mean_patch", x, [&] {
    using sum_t = accumulate_t<scalar_t>;
    const auto* image = x.const_data_ptr<scalar_t>();
    const int64_t num_parts = (num_rows + kRowsOfPart - 1) / kRowsOfPart;
    const int64_t size = (num_taps + kernel_width) * channels;
    std::vector<sum_t> parts(num_parts * size, 0);
    torch::stable::parallel_for(0, num_parts, 1, [&](int64_t begin, int64_t end) {
      std::vector<sum_t*> targets(kernel_height);
      std::vector<sum_t> line(channels);
      for (int64_t row = begin * kRowsOfPart; row < std::min(end * kRowsOfPart, num_rows); ++row) {
        add_image_row(image + row * x.size(3) * channels, row % x.size(2), rows, columns, channels, targets.data(),
                      line.data(), parts.data() + row / kRowsOfPart * size);
      }
    });
    std::vector<sum_t> total(size, 0);
    for (int64_t part = 0; part < num_parts; ++part) {
      for (int64_t i = 0; i < size; ++i) {
        total[i] += parts[part * size + i];
      }
    }
    const sum_t* of_all = total.data() + num_taps * channels;
    const sum_t count = static_cast<sum_t>(x.size(0) * rows.out_size() * columns.out_size());
    auto* means = patch.mutable_data_ptr<sum_t>();
    for (int64_t channel = 0; channel < channels; ++channel) {
      for (int64_t tap = 0; tap < num_taps; ++tap) {
        means[channel * num_taps + tap] =
            (total[tap * channels + channel] + of_all[tap % kernel_width * channels + channel]) / count;
      }
    }
  });
  return patch;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("mean_patch", TORCH_BOX(&mean_patch));
}

}  // namespace mmdet
