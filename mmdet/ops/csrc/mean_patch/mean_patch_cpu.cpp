// The mean of the input patches under a convolution's output positions, on the CPU, of strides and dilations 1.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "../compiler.h"
#include "../tensor.h"

namespace mmdet {
namespace {

constexpr int64_t kParts = 32;  // of all rows, summed up each for itself: the same for any number of threads

// Along one side of the image. Positions that all elements of the kernel read make one class, each other its own.
struct Side {
  int64_t size, kernel, padding;

  int64_t out_size() const {
    return size + 2 * padding - kernel + 1;
  }
  // The positions that an element of the kernel reads.
  int64_t first(int64_t tap) const {
    return std::clamp<int64_t>(tap - padding, 0, size);
  }
  int64_t last(int64_t tap) const {
    return std::clamp<int64_t>(tap - padding + out_size(), 0, size);
  }
  int64_t num_spared() const {
    return std::max<int64_t>(last(0) - first(kernel - 1) - 1, 0);
  }
  int64_t num_classes() const {
    return size - num_spared();
  }
  int64_t class_of(int64_t position) const {
    return position - std::clamp<int64_t>(position - first(kernel - 1), 0, num_spared());
  }
};

// Adds a row of the image to (column class, channel).
template <typename T>
MMDET_CLONES void add_row(const T* row, const Side& columns, int64_t channels, accumulate_t<T>* sums) {
  for (int64_t x = 0; x < columns.size; ++x) {
    accumulate_t<T>* to = sums + columns.class_of(x) * channels;
    for (int64_t i = 0; i < channels; ++i) {
      to[i] += static_cast<accumulate_t<T>>(row[x * channels + i]);
    }
  }
}

// patch (channel, row, column of the kernel) = what it reads of sums (row class, column class, channel), over `count`
template <typename T>
void write_patch(const T* sums, const Side& rows, const Side& columns, int64_t channels, int64_t count, T* patch) {
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t i = 0; i < rows.kernel; ++i) {
      for (int64_t j = 0; j < columns.kernel; ++j) {
        T sum = 0;
        for (int64_t y = rows.class_of(rows.first(i)); y < rows.class_of(rows.last(i) - 1) + 1; ++y) {
          for (int64_t x = columns.class_of(columns.first(j)); x < columns.class_of(columns.last(j) - 1) + 1; ++x) {
            sum += sums[(y * columns.num_classes() + x) * channels + channel];
          }
        }
        *patch++ = sum / static_cast<T>(count);
      }
    }
  }
}

// x (B, C, H, W) is dense channels-last.
Tensor mean_patch(Tensor x, int64_t kernel_height, int64_t kernel_width, int64_t pad_y, int64_t pad_x) {
  const Side rows{x.size(2), kernel_height, pad_y}, columns{x.size(3), kernel_width, pad_x};
  STD_TORCH_CHECK(rows.out_size() > 0 && columns.out_size() > 0, "mean_patch: the kernel is larger than the padded input");
  const int64_t channels = x.size(1), num_rows = x.size(0) * x.size(2);
  const auto dtype = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor patch = empty({channels, kernel_height, kernel_width}, dtype, x);
  MMDET_DISPATCH("mean_patch", x, [&] {
    using sum_t = accumulate_t<scalar_t>;
    const auto* image = x.const_data_ptr<scalar_t>();
    const int64_t line = columns.num_classes() * channels, size = rows.num_classes() * line;
    std::vector<sum_t> parts(kParts * size, 0);
    torch::stable::parallel_for(0, kParts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        for (int64_t row = part * num_rows / kParts; row < (part + 1) * num_rows / kParts; ++row) {
          add_row(image + row * x.size(3) * channels, columns, channels,
                  parts.data() + part * size + rows.class_of(row % x.size(2)) * line);
        }
      }
    });
    for (int64_t part = 1; part < kParts; ++part) {
      for (int64_t i = 0; i < size; ++i) {
        parts[i] += parts[part * size + i];
      }
    }
    write_patch(parts.data(), rows, columns, channels, x.size(0) * rows.out_size() * columns.out_size(),
                patch.mutable_data_ptr<sum_t>());
  });
  return patch;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("mean_patch", TORCH_BOX(&mean_patch));
}

}  // namespace mmdet
