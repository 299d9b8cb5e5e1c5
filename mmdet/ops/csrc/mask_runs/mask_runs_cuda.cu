// The runs of predicted masks column by column, on CUDA: a thread walks down a column, once to count its runs and, when
// it is known where they go, once more to write them.
#include <torch/csrc/stable/library.h>

#include <array>
#include <tuple>

#include "../cuda_launch.h"
#include "../paste_masks/cell.h"

namespace mmdet::mask_runs_cuda {
namespace {

constexpr int kThreads = 128;

struct Masks {
  const float *probs, *boxes;
  int64_t rows, columns, height, width;
  float threshold;

  // Calls emit(start, stop) for each run of column j of mask n, pixels counted down the image's columns.
  template <typename Emit>
  __device__ void visit(int64_t n, int64_t j, const Emit& emit) const {
    const float* box = boxes + 4 * n;
    const float* map = probs + n * rows * columns;
    const Cells y{box[1], box[3], rows, height}, x{box[0], box[2], columns, width};
    if (!y.drawn() || !x.drawn() || j < x.begin() || j >= x.end()) {
      return;
    }
    const int64_t end = y.end(), origin = j * height;
    int64_t start = -1;
    for (int64_t i = y.begin(); i < end; ++i) {
      const bool inside = value_at(map, y, x, i, j) >= threshold;
      if (inside && start < 0) {
        start = i;
      } else if (!inside && start >= 0) {
        emit(origin + start, origin + i);
        start = -1;
      }
    }
    if (start >= 0) {
      emit(origin + start, origin + end);
    }
  }
};

__global__ void __launch_bounds__(kThreads) count(Masks masks, int64_t* counts) {
  const int64_t n = blockIdx.x, j = blockIdx.y * blockDim.x + threadIdx.x;
  if (j < masks.width) {
    int64_t found = 0;
    masks.visit(n, j, [&](int64_t, int64_t) { ++found; });
    counts[n * masks.width + j] = found;
  }
}

// ends: how many runs there are up to and with each column.
__global__ void __launch_bounds__(kThreads) write(Masks masks, const int64_t* counts, const int64_t* ends,
                                                  int64_t* runs) {
  const int64_t n = blockIdx.x, j = blockIdx.y * blockDim.x + threadIdx.x, column = n * masks.width + j;
  if (j < masks.width && counts[column] != 0) {
    int64_t* out = runs + 2 * (ends[column] - counts[column]);
    masks.visit(n, j, [&](int64_t start, int64_t stop) {
      *out++ = start;
      *out++ = stop;
    });
  }
}

Tensor running_sum(const Tensor& values) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(values), torch::stable::detail::from(int64_t{0}),
                                    torch::stable::detail::from(std::optional<ScalarType>())};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::cumsum", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

std::tuple<Tensor, Tensor> mask_runs(Tensor probs, Tensor boxes, int64_t height, int64_t width, double threshold) {
  probs = torch::stable::contiguous(probs);
  boxes = torch::stable::contiguous(boxes);
  const CurrentStream stream(probs);
  const int64_t num_masks = probs.size(0);
  Tensor counts = empty({num_masks, width}, ScalarType::Long, probs);
  if (counts.numel() == 0) {
    Tensor num_runs = empty({num_masks}, ScalarType::Long, probs);
    torch::stable::zero_(num_runs);
    return {empty({0, 2}, ScalarType::Long, probs), num_runs};
  }
  const int64_t blocks = (width + kThreads - 1) / kThreads;
  STD_TORCH_CHECK(blocks <= 65535, "mask_runs: an image of width ", width, " is too large on CUDA");
  const dim3 grid(num_masks, blocks);
  const Masks masks{probs.const_data_ptr<float>(), boxes.const_data_ptr<float>(), probs.size(1), probs.size(2), height,
                    width, static_cast<float>(threshold)};
  count<<<grid, kThreads, 0, stream>>>(masks, counts.mutable_data_ptr<int64_t>());
  check_cuda(cudaGetLastError());

  const Tensor ends = running_sum(torch::stable::flatten(counts));
  int64_t total = 0;
  check_cuda(cudaMemcpyAsync(&total, ends.const_data_ptr<int64_t>() + ends.numel() - 1, sizeof(total),
                             cudaMemcpyDeviceToHost, stream));
  check_cuda(cudaStreamSynchronize(stream));
  Tensor runs = empty({total, 2}, ScalarType::Long, probs);
  if (total != 0) {
    write<<<grid, kThreads, 0, stream>>>(masks, counts.const_data_ptr<int64_t>(), ends.const_data_ptr<int64_t>(),
                                         runs.mutable_data_ptr<int64_t>());
    check_cuda(cudaGetLastError());
  }
  constexpr int64_t columns[] = {1};
  return {runs, torch::stable::sum(counts, torch::headeronly::IntHeaderOnlyArrayRef(columns, 1))};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("mask_runs", TORCH_BOX(&mask_runs));
}

}  // namespace mmdet::mask_runs_cuda
