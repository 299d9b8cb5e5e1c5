// Predicted masks stretched over their boxes on the CPU. Threads share the masks.
#include <torch/csrc/stable/library.h>

#include <vector>

#include "../rows.h"
#include "neighbours.h"

namespace mmdet {
namespace {

// line: a row of cells between zeros.
MMDET_CLONES void threshold_row(const float* line, const int32_t* cells, const float* shares, int64_t n,
                                float threshold, bool* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = between(line[cells[i]], line[cells[i] + 1], shares[i]) >= threshold;
  }
}

void paste(const float* map, const Cells& y, const Cells& x, float threshold, Neighbours& columns,
           std::vector<float>& line, bool* mask) {
  columns.assign(x);
  line.assign(x.count + 2 * Neighbours::kZeros, 0.0f);
  for (int64_t i = y.begin(); i < y.end(); ++i) {
    const float position = y.position(i);
    for (int64_t column = 0; column < x.count; ++column) {
      line[column + Neighbours::kZeros] =
          interpolate(position, y.count, [&](int64_t row) { return map[row * x.count + column]; });
    }
    threshold_row(line.data(), columns.cells.data(), columns.shares.data(), static_cast<int64_t>(columns.cells.size()),
                  threshold, mask + i * x.pixels + x.begin());
  }
}

Tensor paste_masks(Tensor probs, Tensor boxes, int64_t height, int64_t width, double threshold) {
  probs = torch::stable::contiguous(probs);
  boxes = torch::stable::contiguous(boxes);
  Tensor masks = empty({probs.size(0), height, width}, ScalarType::Bool, probs);
  torch::stable::zero_(masks);
  const auto* probs_data = probs.const_data_ptr<float>();
  const auto* boxes_data = boxes.const_data_ptr<float>();
  auto* masks_data = masks.mutable_data_ptr<bool>();
  torch::stable::parallel_for(0, probs.size(0), 1, [&](int64_t begin, int64_t end) {
    Neighbours columns;
    std::vector<float> line;
    for (int64_t n = begin; n < end; ++n) {
      const float* box = boxes_data + 4 * n;
      const Cells y{box[1], box[3], probs.size(1), height}, x{box[0], box[2], probs.size(2), width};
      if (y.drawn() && x.drawn()) {
        paste(probs_data + n * y.count * x.count, y, x, static_cast<float>(threshold), columns, line,
              masks_data + n * height * width);
      }
    }
  });
  return masks;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("paste_masks", TORCH_BOX(&paste_masks));
}

}  // namespace mmdet
