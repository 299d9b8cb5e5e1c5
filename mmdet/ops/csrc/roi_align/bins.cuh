// The weights of one RoI's bins in shared memory: a block works them out once for all its channels.
#pragma once

#include "axis.h"

namespace mmdet {

constexpr size_t kSharedBytes = 48 * 1024;  // of a block, for the bins of both axes
constexpr int kStored = 8;  // pixels of a bin whose weights are stored; those of wider bins are worked out when met

template <typename T>
struct StoredBin {
  int64_t begin, end;
  T weights[kStored];
};

template <typename T>
class Bins {
 public:
  // Pixels outside [begin, end) are left out.
  __device__ Bins(const Axis<T>& axis, int64_t begin, int64_t end, StoredBin<T>* stored)
      : axis_(axis), begin_(begin), end_(end), stored_(stored) {}

  // All threads of a block call this, then __syncthreads().
  __device__ void store(int64_t bins) {
    for (int64_t i = threadIdx.x; i < bins * kStored; i += blockDim.x) {
      const int64_t bin = i / kStored, k = i % kStored;
      PixelRange range = axis_.pixels(bin);
      range.begin = range.begin > begin_ ? range.begin : begin_;
      range.end = range.end < end_ ? range.end : end_;
      if (k == 0) {
        stored_[bin].begin = range.begin;
        stored_[bin].end = range.end;
      }
      if (range.begin + k < range.end) {
        stored_[bin].weights[k] = axis_.weight(bin, range.begin + k);
      }
    }
  }

  __device__ int64_t begin(int64_t bin) const {
    return stored_[bin].begin;
  }
  __device__ int64_t end(int64_t bin) const {
    return stored_[bin].end;
  }
  __device__ T weight(int64_t bin, int64_t pixel) const {
    const int64_t k = pixel - stored_[bin].begin;
    return k < kStored ? stored_[bin].weights[k] : axis_.weight(bin, pixel);
  }

 private:
  Axis<T> axis_;
  int64_t begin_, end_;
  StoredBin<T>* stored_;
};

}  // namespace mmdet
