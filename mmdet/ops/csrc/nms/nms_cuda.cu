// Greedy suppression on CUDA, nothing of it on the host. First all pairs are compared: bit j of word w in row i says
// that box i, if kept, suppresses box 64 w + j. Then one block an image walks the boxes best first, a word at a time.
#include <torch/csrc/stable/library.h>

#include "../cuda_launch.h"
#include "overlap.h"

namespace mmdet::nms_cuda {
namespace {

using Word = unsigned long long;
constexpr int kWord = 64;
constexpr int kWalkers = 256;
constexpr int64_t kMaxBoxes = 40 * 1024 / sizeof(Word) * kWord;  // the bits of a walk lie in shared memory

// One block compares 64 boxes, a thread each, with 64 others of the same or lower rank.
template <typename T>
__global__ void compare(const T* boxes, const int64_t* order, const int64_t* groups, const int64_t* counts, int64_t n,
                        int64_t words, T threshold, Word* masks) {
  const int64_t image = blockIdx.z, row_word = blockIdx.y, column_word = blockIdx.x;
  const int64_t count = counts[image];
  if (column_word < row_word || column_word * kWord >= count) {
    return;
  }
  boxes += 4 * n * image;
  order += n * image;
  groups += n * image;

  __shared__ T others[kWord][4];
  __shared__ int64_t other_groups[kWord];
  const int64_t column = column_word * kWord + threadIdx.x;
  if (column < count) {
    const int64_t box = order[column];
    for (int side = 0; side < 4; ++side) {
      others[threadIdx.x][side] = boxes[4 * box + side];
    }
    other_groups[threadIdx.x] = groups[box];
  }
  __syncthreads();

  const int64_t row = row_word * kWord + threadIdx.x;
  if (row >= count) {
    return;
  }
  const int64_t candidate = order[row], group = groups[candidate];
  const T* box = boxes + 4 * candidate;
  const T x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
  const int last = static_cast<int>(min(static_cast<int64_t>(kWord), count - column_word * kWord));
  Word suppressed = 0;
  for (int k = row_word == column_word ? threadIdx.x + 1 : 0; k < last; ++k) {
    const T* other = others[k];
    if (other_groups[k] == group && overlap(x1, y1, x2, y2, other[0], other[1], other[2], other[3], threshold)) {
      suppressed |= Word(1) << k;
    }
  }
  masks[(image * n + row) * words + column_word] = suppressed;
}

// A round needs no barrier at its end: what it leaves in shared memory is read after the first barrier of the next one.
__global__ void walk(const Word* masks, const int64_t* order, const int64_t* counts, int64_t n, int64_t words,
                     int64_t max_keep, int64_t* keep) {
  extern __shared__ Word suppressed[];
  __shared__ Word diagonal[kWord];
  __shared__ Word survivors;
  const int64_t image = blockIdx.x, count = counts[image], used_words = (count + kWord - 1) / kWord;
  masks += image * n * words;
  order += image * n;
  keep += image * max_keep;
  for (int64_t word = threadIdx.x; word < used_words; word += blockDim.x) {
    suppressed[word] = 0;
  }

  int64_t found = 0;
  for (int64_t word = 0; word < used_words && found < max_keep; ++word) {
    const int64_t first = word * kWord;
    if (threadIdx.x < kWord && first + threadIdx.x < count) {
      diagonal[threadIdx.x] = masks[(first + threadIdx.x) * words + word];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Word open = ~suppressed[word], kept = 0;
      if (count - first < kWord) {
        open &= (Word(1) << (count - first)) - 1;
      }
      while (open != 0) {
        const int k = __ffsll(open) - 1;
        kept |= Word(1) << k;
        open &= ~(diagonal[k] | Word(1) << k);
      }
      survivors = kept;
    }
    __syncthreads();

    const Word kept = survivors;
    if (threadIdx.x < kWord && (kept >> threadIdx.x & 1)) {
      const int64_t place = found + __popcll(kept & ((Word(1) << threadIdx.x) - 1));
      if (place < max_keep) {
        keep[place] = order[first + threadIdx.x];
      }
    }
    found += __popcll(kept);
    for (int64_t later = word + 1 + threadIdx.x; later < used_words; later += blockDim.x) {
      Word bits = suppressed[later];
      for (Word rest = kept; rest != 0; rest &= rest - 1) {
        bits |= masks[(first + __ffsll(rest) - 1) * words + later];
      }
      suppressed[later] = bits;
    }
  }
}

Tensor nms(Tensor boxes, Tensor order, Tensor groups, Tensor counts, double iou_threshold, int64_t max_keep) {
  boxes = torch::stable::contiguous(boxes);
  order = torch::stable::contiguous(order);
  groups = torch::stable::contiguous(groups);
  counts = torch::stable::contiguous(counts);
  const int64_t images = boxes.size(0), n = boxes.size(1), words = (n + kWord - 1) / kWord;
  STD_TORCH_CHECK(n <= kMaxBoxes, "nms: ", n, " boxes in an image, at most ", kMaxBoxes, " fit on CUDA");
  STD_TORCH_CHECK(images <= 65535, "nms: ", images, " images, at most 65535 fit on CUDA");
  Tensor keep = empty({images, max_keep}, ScalarType::Long, order);
  torch::stable::fill_(keep, -1);
  if (images == 0 || n == 0 || max_keep == 0) {
    return keep;
  }
  const CurrentStream stream(boxes);
  Tensor masks = empty({images, n, words}, ScalarType::Long, order);
  auto* masks_data = reinterpret_cast<Word*>(masks.mutable_data_ptr<int64_t>());
  const auto* order_data = order.const_data_ptr<int64_t>();
  const auto* counts_data = counts.const_data_ptr<int64_t>();
  const dim3 tiles(words, words, images);
  MMDET_DISPATCH_ACCUMULATE("nms", boxes, [&] {
    compare<<<tiles, kWord, 0, stream>>>(boxes.const_data_ptr<scalar_t>(), order_data, groups.const_data_ptr<int64_t>(),
                                         counts_data, n, words, rounded_down<scalar_t>(iou_threshold), masks_data);
  });
  check_cuda(cudaGetLastError());
  walk<<<images, kWalkers, words * sizeof(Word), stream>>>(masks_data, order_data, counts_data, n, words, max_keep,
                                                           keep.mutable_data_ptr<int64_t>());
  check_cuda(cudaGetLastError());
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("nms", TORCH_BOX(&nms));
}

}  // namespace mmdet::nms_cuda
