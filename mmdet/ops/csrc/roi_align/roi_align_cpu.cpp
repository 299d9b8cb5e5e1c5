// RoIAlign on the CPU. Forward: threads share the RoIs. Backward: threads share images and channels, and each walks the
// RoIs in order, so that no two write the same pixel and sums never depend on the number of threads.
#include <torch/csrc/stable/library.h>

#include "plane.h"
#include "roi_align.h"

namespace mmdet {
namespace {

// An image index out of range would read foreign memory, so all are looked at first.
template <typename T>
std::vector<int64_t> checked_images(const T* rois, int64_t count, int64_t num_images) {
  std::vector<int64_t> images(count);
  for (int64_t r = 0; r < count; ++r) {
    images[r] = index_or_none(rois[5 * r], num_images);
    STD_TORCH_CHECK(images[r] >= 0, "roi_align: RoI ", r, " has image index ", rois[5 * r], ", but the features hold ",
                    num_images, " images");
  }
  return images;
}

std::vector<int64_t> checked_levels(const std::optional<Tensor>& levels, int64_t count, size_t num_levels) {
  if (!levels) {
    return std::vector<int64_t>(count, 0);
  }
  const Tensor dense = torch::stable::contiguous(*levels);
  const auto* data = dense.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < count; ++r) {
    STD_TORCH_CHECK(data[r] >= 0 && data[r] < static_cast<int64_t>(num_levels), "roi_align: RoI ", r, " has level ",
                    data[r], ", but there are ", num_levels);
  }
  return std::vector<int64_t>(data, data + count);
}

template <typename T>
void assign_taps(const T* roi, T scale, const Pooling& pooling, int64_t height, int64_t width, Taps<T>& y, Taps<T>& x) {
  y.assign(Axis<T>(roi[2], roi[4], scale, pooling.aligned, pooling.height, pooling.sampling_ratio, height),
           pooling.height, 0, height);
  x.assign(Axis<T>(roi[1], roi[3], scale, pooling.aligned, pooling.width, pooling.sampling_ratio, width),
           pooling.width, 0, width);
}

// Offsets and weights of the pixels of bin (p, q), a vector of channels each.
template <typename T>
struct Pixels {
  std::vector<int64_t> offsets;
  std::vector<T> weights;

  void assign(const Taps<T>& y, int64_t p, const Taps<T>& x, int64_t q, int64_t width, int64_t channels) {
    offsets.clear();
    weights.clear();
    for (int64_t i = y.starts[p]; i < y.starts[p + 1]; ++i) {
      for (int64_t j = x.starts[q]; j < x.starts[q + 1]; ++j) {
        offsets.push_back((y.pixels[i] * width + x.pixels[j]) * channels);
        weights.push_back(y.weights[i] * x.weights[j]);
      }
    }
  }
  int64_t count() const {
    return static_cast<int64_t>(offsets.size());
  }
};

template <typename scalar_t>
void forward(const std::vector<Tensor>& features, const Tensor& rois, const std::vector<int64_t>& levels,
             const std::vector<double>& scales, const Pooling& pooling, bool channels_last, Tensor& out) {
  using T = accumulate_t<scalar_t>;
  const auto* rois_data = rois.const_data_ptr<T>();
  const int64_t channels = features[0].size(1), bins = pooling.height * pooling.width;
  const auto images = checked_images(rois_data, rois.size(0), features[0].size(0));
  auto* out_data = out.mutable_data_ptr<scalar_t>();

  torch::stable::parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
    Taps<T> y, x;
    PlanePool<T> plane;
    Pixels<T> pixels;
    std::vector<T> sums(channels);
    for (int64_t r = begin; r < end; ++r) {
      const Tensor& feature = features[levels[r]];
      const int64_t height = feature.size(2), width = feature.size(3);
      assign_taps(rois_data + 5 * r, static_cast<T>(scales[levels[r]]), pooling, height, width, y, x);
      const scalar_t* image = feature.const_data_ptr<scalar_t>() + images[r] * channels * height * width;
      scalar_t* pooled = out_data + r * channels * bins;
      if (!channels_last) {
        plane.assign(y, x, width);
        for (int64_t c = 0; c < channels; ++c) {
          plane.pool(image + c * height * width, pooled + c * bins);
        }
        continue;
      }
      for (int64_t p = 0; p < pooling.height; ++p) {
        for (int64_t q = 0; q < pooling.width; ++q, pooled += channels) {
          pixels.assign(y, p, x, q, width, channels);
          std::fill(sums.begin(), sums.end(), T(0));
          add_rows(image, pixels.offsets.data(), pixels.weights.data(), pixels.count(), sums.data(), channels);
          std::copy(sums.begin(), sums.end(), pooled);
        }
      }
    }
  });
}

Tensor roi_align(std::vector<Tensor> features, Tensor rois, std::optional<Tensor> levels, std::vector<double> scales,
                 int64_t pooled_height, int64_t pooled_width, int64_t sampling_ratio, bool aligned) {
  const bool channels_last = is_channels_last(features[0]);
  features = in_one_format(features, channels_last);
  rois = torch::stable::contiguous(rois);
  const auto level_of = checked_levels(levels, rois.size(0), features.size());
  Tensor out = empty({rois.size(0), features[0].size(1), pooled_height, pooled_width}, features[0].scalar_type(), rois,
                     channels_last);
  const Pooling pooling{pooled_height, pooled_width, sampling_ratio, aligned};
  MMDET_DISPATCH("roi_align", features[0], [&] {
    forward<scalar_t>(features, rois, level_of, scales, pooling, channels_last, out);
  });
  return out;
}

template <typename T>
void backward(const Tensor& grad, const Tensor& rois, const std::vector<int64_t>& levels,
              const std::vector<double>& scales, int64_t num_images, const Pooling& pooling, bool channels_last,
              std::vector<Tensor>& grads) {
  const auto* rois_data = rois.const_data_ptr<T>();
  const auto* grad_data = grad.const_data_ptr<T>();
  const int64_t channels = grad.size(1), bins = pooling.height * pooling.width;
  const auto images = checked_images(rois_data, rois.size(0), num_images);
  // Channels of a task: a share of the work for each thread, in whole cache lines so that neighbours share none.
  constexpr int64_t line = 16;
  const int64_t share = num_images * channels / static_cast<int64_t>(torch::stable::get_num_threads());
  const int64_t chunk = std::max<int64_t>(share / line, 1) * line;
  const int64_t chunks = (channels + chunk - 1) / chunk;

  torch::stable::parallel_for(0, num_images * chunks, 1, [&](int64_t begin, int64_t end) {
    Taps<T> y, x;
    PlanePool<T> plane;
    Pixels<T> pixels;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / chunks, first = task % chunks * chunk, last = std::min(first + chunk, channels);
      for (int64_t r = 0; r < rois.size(0); ++r) {
        if (images[r] != image) {
          continue;
        }
        const Tensor& feature = grads[levels[r]];
        const int64_t height = feature.size(2), width = feature.size(3);
        assign_taps(rois_data + 5 * r, static_cast<T>(scales[levels[r]]), pooling, height, width, y, x);
        T* map = feature.mutable_data_ptr<T>() + image * channels * height * width;
        const T* pooled = grad_data + r * channels * bins;
        if (!channels_last) {
          plane.assign(y, x, width);
          for (int64_t c = first; c < last; ++c) {
            plane.spread(map + c * height * width, pooled + c * bins);
          }
          continue;
        }
        for (int64_t p = 0; p < pooling.height; ++p) {
          for (int64_t q = 0; q < pooling.width; ++q, pooled += channels) {
            pixels.assign(y, p, x, q, width, channels);
            add_to_rows(map + first, pixels.offsets.data(), pixels.weights.data(), pixels.count(), pooled + first,
                        last - first);
          }
        }
      }
    }
  });
}

std::vector<Tensor> roi_align_backward(Tensor grad, Tensor rois, std::optional<Tensor> levels,
                                       std::vector<double> scales, std::vector<int64_t> sizes, int64_t sampling_ratio,
                                       bool aligned, bool channels_last, std::optional<Tensor> quantum) {
  (void)quantum;  // sums on the CPU always have one order
  grad = torch::stable::contiguous(grad, memory_format(channels_last));
  rois = torch::stable::contiguous(rois);
  const auto level_of = checked_levels(levels, rois.size(0), scales.size());
  std::vector<Tensor> grads;
  for (size_t level = 0; level < scales.size(); ++level) {
    grads.push_back(empty({sizes[0], grad.size(1), sizes[2 * level + 1], sizes[2 * level + 2]}, grad.scalar_type(),
                          grad, channels_last));
    torch::stable::zero_(grads.back());
  }
  const Pooling pooling{grad.size(2), grad.size(3), sampling_ratio, aligned};
  MMDET_DISPATCH_ACCUMULATE("roi_align_backward", grad, [&] {
    backward<scalar_t>(grad, rois, level_of, scales, sizes[0], pooling, channels_last, grads);
  });
  return grads;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
}

}  // namespace mmdet
