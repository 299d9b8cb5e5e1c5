// Greedy suppression on the CPU: each box, best first, is held against the kept boxes of its group. Threads share the
// images.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "../rows.h"
#include "overlap.h"

namespace mmdet {
namespace {

// x1, y1, x2, y2 of the kept boxes of one group, a column each, so that many are compared at once.
template <typename T>
using Columns = std::array<std::vector<T>, 4>;

template <typename T>
MMDET_CLONES bool overlaps_any(const Columns<T>& kept, const T* box, T threshold) {
  const T *x1 = kept[0].data(), *y1 = kept[1].data(), *x2 = kept[2].data(), *y2 = kept[3].data();
  const T left = box[0], top = box[1], right = box[2], bottom = box[3];
  const auto n = static_cast<int64_t>(kept[0].size());
  constexpr int64_t block = 64;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    int hit = 0;
    for (int64_t k = begin; k < end; ++k) {
      hit |= overlap(x1[k], y1[k], x2[k], y2[k], left, top, right, bottom, threshold);
    }
    if (hit) {
      return true;
    }
  }
  return false;
}

template <typename T>
void suppress(const T* boxes, const int64_t* order, const int64_t* groups, int64_t count, T threshold, int64_t max_keep,
              int64_t* keep) {
  std::unordered_map<int64_t, Columns<T>> kept_of_group;
  for (int64_t i = 0, found = 0; i < count && found < max_keep; ++i) {
    const int64_t candidate = order[i];
    const T* box = boxes + 4 * candidate;
    Columns<T>& kept = kept_of_group[groups[candidate]];
    if (!overlaps_any(kept, box, threshold)) {
      for (int side = 0; side < 4; ++side) {
        kept[side].push_back(box[side]);
      }
      keep[found++] = candidate;
    }
  }
}

Tensor nms(Tensor boxes, Tensor order, Tensor groups, Tensor counts, double iou_threshold, int64_t max_keep) {
  boxes = torch::stable::contiguous(boxes);
  order = torch::stable::contiguous(order);
  groups = torch::stable::contiguous(groups);
  counts = torch::stable::contiguous(counts);
  const int64_t images = boxes.size(0), n = boxes.size(1);
  Tensor keep = empty({images, max_keep}, ScalarType::Long, order);
  torch::stable::fill_(keep, -1);
  const auto* order_data = order.const_data_ptr<int64_t>();
  const auto* groups_data = groups.const_data_ptr<int64_t>();
  const auto* counts_data = counts.const_data_ptr<int64_t>();
  auto* keep_data = keep.mutable_data_ptr<int64_t>();
  MMDET_DISPATCH_ACCUMULATE("nms", boxes, [&] {
    const auto* boxes_data = boxes.const_data_ptr<scalar_t>();
    const auto threshold = rounded_down<scalar_t>(iou_threshold);
    torch::stable::parallel_for(0, images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        suppress(boxes_data + 4 * n * b, order_data + n * b, groups_data + n * b, counts_data[b], threshold, max_keep,
                 keep_data + max_keep * b);
      }
    });
  });
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
}

}  // namespace mmdet
