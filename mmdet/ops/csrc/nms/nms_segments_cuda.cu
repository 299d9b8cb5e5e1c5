// Greedy suppression within many groups on CUDA. The boxes lie sorted, group after group and best first; a block takes
// the groups that begin among its 64 places, and each of them 64 boxes at a time: which of these survive, then which
// later boxes of the group the survivors suppress. No pair of boxes of two groups is looked at.
#include <torch/csrc/stable/library.h>

#include "../cuda_launch.h"
#include "overlap.h"

namespace mmdet::nms_segments_cuda {
namespace {

using Word = unsigned long long;
constexpr int kWord = 64;
constexpr int kThreads = 256;
constexpr int kParts = kThreads / kWord;    // threads that share a row of 64 comparisons
constexpr int kOfPart = kWord / kParts;

template <typename T>
struct Box {
  T x1, y1, x2, y2;
};

template <typename T>
__device__ bool suppresses(const Box<T>& kept, const Box<T>& box, T threshold) {
  return overlap(kept.x1, kept.y1, kept.x2, kept.y2, box.x1, box.y1, box.x2, box.y2, threshold);
}

// boxes (B, n) and segments (B, n): the group at each place, rising, negative where there is no box; dead (B, n) is 0.
// rank (B, n): where in the order of scores each stands; keep (B, n), in that order, is set where a box is kept.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    suppress(const Box<T>* boxes, const int64_t* segments, const int64_t* rank, int64_t n, T threshold,
             int64_t max_keep, unsigned char* dead, bool* keep) {
  __shared__ Box<T> tile[kWord], survivors[kWord];
  __shared__ Word suppressed[kWord][kParts];
  __shared__ unsigned char gone[kWord];
  __shared__ Word kept;
  const int64_t image = blockIdx.y;
  boxes += image * n;
  segments += image * n;
  rank += image * n;
  dead += image * n;
  keep += image * n;
  const int64_t window_end = min(n, (static_cast<int64_t>(blockIdx.x) + 1) * kWord);
  for (int64_t head = static_cast<int64_t>(blockIdx.x) * kWord; head < window_end; ++head) {
    const int64_t group = segments[head];
    if (group < 0 || (head > 0 && segments[head - 1] == group)) {
      continue;
    }
    int64_t end = head + 1;
    for (int64_t above = n; end < above;) {  // the first place of a later group
      const int64_t middle = (end + above) / 2;
      if (segments[middle] == group) {
        end = middle + 1;
      } else {
        above = middle;
      }
    }

    int64_t found = 0;
    for (int64_t first = head; first < end && found < max_keep; first += kWord) {
      const int size = static_cast<int>(min(static_cast<int64_t>(kWord), end - first));
      if (threadIdx.x < size) {
        tile[threadIdx.x] = boxes[first + threadIdx.x];
        gone[threadIdx.x] = dead[first + threadIdx.x];
      }
      __syncthreads();
      const int row = threadIdx.x / kParts, part = threadIdx.x % kParts;
      Word bits = 0;
      if (row < size) {
        const int last = min(size, (part + 1) * kOfPart);
        for (int other = max(row + 1, part * kOfPart); other < last; ++other) {
          if (suppresses(tile[row], tile[other], threshold)) {
            bits |= Word(1) << other;
          }
        }
      }
      suppressed[row][part] = bits;
      __syncthreads();
      if (threadIdx.x == 0) {
        Word open = 0, chosen = 0;
        for (int box = 0; box < size; ++box) {
          open |= static_cast<Word>(gone[box] == 0) << box;
        }
        while (open != 0) {
          const int box = __ffsll(open) - 1;
          chosen |= Word(1) << box;
          open &= ~(Word(1) << box);
          for (int of_row = 0; of_row < kParts; ++of_row) {
            open &= ~suppressed[box][of_row];
          }
        }
        kept = chosen;
      }
      __syncthreads();
      const int num_survivors = __popcll(kept);
      if (threadIdx.x < size && (kept >> threadIdx.x & 1)) {
        survivors[__popcll(kept & ((Word(1) << threadIdx.x) - 1))] = tile[threadIdx.x];
        keep[rank[first + threadIdx.x]] = true;
      }
      found += num_survivors;
      __syncthreads();
      for (int64_t later = first + kWord + threadIdx.x; later < end; later += kThreads) {
        if (dead[later] != 0) {
          continue;
        }
        const Box<T> box = boxes[later];
        for (int survivor = 0; survivor < num_survivors; ++survivor) {
          if (suppresses(survivors[survivor], box, threshold)) {
            dead[later] = 1;
            break;
          }
        }
      }
      __syncthreads();
    }
  }
}

Tensor nms_segments(Tensor boxes, Tensor segments, Tensor rank, double iou_threshold, int64_t max_keep) {
  const int64_t images = boxes.size(0), n = boxes.size(1);
  STD_TORCH_CHECK(images <= 65535, "nms: ", images, " images, at most 65535 fit on CUDA");
  Tensor keep = empty({images, n}, ScalarType::Bool, boxes), dead = empty({images, n}, ScalarType::Byte, boxes);
  torch::stable::zero_(keep);
  torch::stable::zero_(dead);
  if (images == 0 || n == 0) {
    return keep;
  }
  const CurrentStream stream(boxes);
  const dim3 windows((n + kWord - 1) / kWord, images);
  MMDET_DISPATCH_ACCUMULATE("nms_segments", boxes, [&] {
    suppress<<<windows, kThreads, 0, stream>>>(reinterpret_cast<const Box<scalar_t>*>(boxes.const_data_ptr<scalar_t>()),
                                               segments.const_data_ptr<int64_t>(), rank.const_data_ptr<int64_t>(), n,
                                               rounded_down<scalar_t>(iou_threshold), max_keep,
                                               dead.mutable_data_ptr<uint8_t>(), keep.mutable_data_ptr<bool>());
  });
  check_cuda(cudaGetLastError());
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("nms_segments", TORCH_BOX(&nms_segments));
}

}  // namespace mmdet::nms_segments_cuda
