// RoIAlign of 0/1 masks of which only a window is stored: pixels outside it weigh nothing, so their taps are left out.
#include <torch/csrc/stable/library.h>

#include "../roi_align/plane.h"

namespace mmdet {
namespace {

void check_windows(const int64_t* windows, const int64_t* starts, int64_t count, int64_t pixels, int64_t height,
                   int64_t width) {
  for (int64_t n = 0; n < count; ++n) {
    const int64_t x1 = windows[4 * n], y1 = windows[4 * n + 1], x2 = windows[4 * n + 2], y2 = windows[4 * n + 3];
    STD_TORCH_CHECK(0 <= x1 && x1 <= x2 && x2 <= width && 0 <= y1 && y1 <= y2 && y2 <= height,
                    "crop_masks: window ", n, " (", x1, ", ", y1, ", ", x2, ", ", y2,
                    ") does not lie in an image of ", width, " x ", height, " pixels");
    STD_TORCH_CHECK(0 <= starts[n] && starts[n] + (x2 - x1) * (y2 - y1) <= pixels,
                    "crop_masks: the windows hold more than the ", pixels, " pixels given");
  }
}

Tensor crop_masks(Tensor pixels, Tensor windows, Tensor starts, Tensor rois, Tensor index, int64_t size, int64_t height,
                  int64_t width) {
  pixels = torch::stable::contiguous(pixels);
  windows = torch::stable::contiguous(windows);
  starts = torch::stable::contiguous(starts);
  rois = torch::stable::contiguous(rois);
  index = torch::stable::contiguous(index);
  const auto* pixels_data = pixels.const_data_ptr<uint8_t>();
  const auto* windows_data = windows.const_data_ptr<int64_t>();
  const auto* starts_data = starts.const_data_ptr<int64_t>();
  const auto* rois_data = rois.const_data_ptr<float>();
  const auto* index_data = index.const_data_ptr<int64_t>();
  check_windows(windows_data, starts_data, windows.size(0), pixels.numel(), height, width);
  for (int64_t r = 0; r < rois.size(0); ++r) {
    STD_TORCH_CHECK(0 <= index_data[r] && index_data[r] < windows.size(0), "crop_masks: RoI ", r, " has index ",
                    index_data[r], ", but there are ", windows.size(0), " masks");
  }
  Tensor out = empty({rois.size(0), size, size}, ScalarType::Float, rois);
  auto* out_data = out.mutable_data_ptr<float>();

  torch::stable::parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
    Taps<float> y, x;
    PlanePool<float> plane;
    for (int64_t r = begin; r < end; ++r) {
      const float* roi = rois_data + 4 * r;
      const int64_t* window = windows_data + 4 * index_data[r];
      y.assign(Axis<float>(roi[1], roi[3], 1, true, size, 0, height), size, window[1], window[3]);
      x.assign(Axis<float>(roi[0], roi[2], 1, true, size, 0, width), size, window[0], window[2]);
      const int64_t stride = window[2] - window[0];
      // Where pixel (0, 0) of the image would stand.
      const uint8_t* origin = pixels_data + starts_data[index_data[r]] - window[1] * stride - window[0];
      plane.assign(y, x, stride);
      plane.pool(origin, out_data + r * size * size);
    }
  });
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("crop_masks", TORCH_BOX(&crop_masks));
}

}  // namespace mmdet
