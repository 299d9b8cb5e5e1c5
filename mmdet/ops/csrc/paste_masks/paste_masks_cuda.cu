// Predicted masks stretched over their boxes on CUDA: several blocks share a mask and visit only the box's pixels.
#include <torch/csrc/stable/library.h>

#include "../cuda_launch.h"
#include "cell.h"

namespace mmdet::paste_masks_cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMask = 32;

__global__ void __launch_bounds__(kThreads)
    paste(const float* probs, int64_t rows, int64_t columns, const float* boxes, int64_t height, int64_t width,
          float threshold, bool* masks) {
  const int64_t n = blockIdx.x;
  const float* box = boxes + 4 * n;
  const float* map = probs + n * rows * columns;
  bool* mask = masks + n * height * width;
  const Cells y{box[1], box[3], rows, height}, x{box[0], box[2], columns, width};
  if (!y.drawn() || !x.drawn()) {
    return;
  }
  const int64_t top = y.begin(), left = x.begin(), box_width = x.end() - left, area = (y.end() - top) * box_width;
  for (int64_t item = blockIdx.y * blockDim.x + threadIdx.x; item < area; item += gridDim.y * blockDim.x) {
    const int64_t i = top + item / box_width, j = left + item % box_width;
    mask[i * width + j] = value_at(map, y, x, i, j) >= threshold;
  }
}

Tensor paste_masks(Tensor probs, Tensor boxes, int64_t height, int64_t width, double threshold) {
  probs = torch::stable::contiguous(probs);
  boxes = torch::stable::contiguous(boxes);
  const CurrentStream stream(probs);
  Tensor masks = empty({probs.size(0), height, width}, ScalarType::Bool, probs);
  torch::stable::zero_(masks);
  if (probs.size(0) != 0) {
    const dim3 grid(probs.size(0), kBlocksPerMask);
    paste<<<grid, kThreads, 0, stream>>>(probs.const_data_ptr<float>(), probs.size(1), probs.size(2),
                                         boxes.const_data_ptr<float>(), height, width, static_cast<float>(threshold),
                                         masks.mutable_data_ptr<bool>());
    check_cuda(cudaGetLastError());
  }
  return masks;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("paste_masks", TORCH_BOX(&paste_masks));
}

}  // namespace mmdet::paste_masks_cuda
