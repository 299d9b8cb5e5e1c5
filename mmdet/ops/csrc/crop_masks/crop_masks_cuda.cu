// RoIAlign of windows of 0/1 masks on CUDA: a block takes one RoI, its threads share the bins.
#include <torch/csrc/stable/library.h>

#include "../cuda_launch.h"
#include "../roi_align/bins.cuh"

namespace mmdet::crop_masks_cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    crop(const uint8_t* pixels, const int64_t* windows, const int64_t* starts, const float* rois, const int64_t* index,
         int64_t num_pixels, int64_t num_masks, int64_t size, int64_t height, int64_t width, float* out) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto* stored = reinterpret_cast<StoredBin<float>*>(shared);
  const int64_t r = blockIdx.x;
  const bool named = index[r] >= 0 && index[r] < num_masks;
  const int64_t mask = named ? index[r] : 0, start = starts[mask];
  const int64_t* window = windows + 4 * mask;
  const bool exists = named && 0 <= window[0] && window[0] <= window[2] && window[2] <= width && 0 <= window[1] &&
      window[1] <= window[3] && window[3] <= height && 0 <= start &&
      start + (window[2] - window[0]) * (window[3] - window[1]) <= num_pixels;
  const float* roi = rois + 4 * r;
  Bins<float> y(Axis<float>(roi[1], roi[3], 1, true, size, 0, height), window[1], window[3], stored);
  Bins<float> x(Axis<float>(roi[0], roi[2], 1, true, size, 0, width), window[0], window[2], stored + size);
  y.store(size);
  x.store(size);
  __syncthreads();

  const int64_t stride = window[2] - window[0];
  const uint8_t* origin = pixels + start - window[1] * stride - window[0];
  for (int64_t bin = threadIdx.x; bin < size * size; bin += blockDim.x) {
    const int64_t p = bin / size, q = bin % size;
    float sum = exists ? 0 : NAN;
    for (int64_t i = y.begin(p); exists && i < y.end(p); ++i) {
      float row = 0;
      for (int64_t j = x.begin(q); j < x.end(q); ++j) {
        row += x.weight(q, j) * static_cast<float>(origin[i * stride + j]);
      }
      sum += y.weight(p, i) * row;
    }
    out[r * size * size + bin] = sum;
  }
}

Tensor crop_masks(Tensor pixels, Tensor windows, Tensor starts, Tensor rois, Tensor index, int64_t size, int64_t height,
                  int64_t width) {
  pixels = torch::stable::contiguous(pixels);
  windows = torch::stable::contiguous(windows);
  starts = torch::stable::contiguous(starts);
  rois = torch::stable::contiguous(rois);
  index = torch::stable::contiguous(index);
  const CurrentStream stream(rois);
  const int64_t num_rois = rois.size(0);
  Tensor out = empty({num_rois, size, size}, ScalarType::Float, rois);
  const size_t shared = 2 * size * sizeof(StoredBin<float>);
  STD_TORCH_CHECK(shared <= kSharedBytes, "crop_masks: targets of ", size, " x ", size, " are too large on CUDA");
  STD_TORCH_CHECK(num_rois == 0 || windows.size(0) > 0, "crop_masks: ", num_rois, " RoIs, but no masks");
  if (num_rois != 0) {
    crop<<<num_rois, kThreads, shared, stream>>>(
        pixels.const_data_ptr<uint8_t>(), windows.const_data_ptr<int64_t>(), starts.const_data_ptr<int64_t>(),
        rois.const_data_ptr<float>(), index.const_data_ptr<int64_t>(), pixels.numel(), windows.size(0), size,
        height, width, out.mutable_data_ptr<float>());
    check_cuda(cudaGetLastError());
  }
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("crop_masks", TORCH_BOX(&crop_masks));
}

}  // namespace mmdet::crop_masks_cuda
