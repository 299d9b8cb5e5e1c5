// Predicted masks stretched over their boxes on the CPU. Threads share the masks.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <vector>

#include "../rows.h"
#include "cell.h"

namespace mmdet {
namespace {

// Columns of one mask: which two cells each pixel lies between, and the share of the second.
struct Columns {
  std::vector<int32_t> cells;
  std::vector<float> shares;

  void assign(const Cells& x) {
    cells.clear();
    shares.clear();
    for (int64_t pixel = x.begin(); pixel < x.end(); ++pixel) {
      // Rounding may put a pixel just beyond the reach of the map.
      const float position = std::fmin(std::fmax(x.position(pixel), -1.0f), static_cast<float>(x.count));
      const float whole = std::fmin(std::floor(position), static_cast<float>(x.count - 1));
      cells.push_back(static_cast<int32_t>(whole) + 1);
      shares.push_back(position - whole);
    }
  }
};

// line: a row of cells between two zeros.
MMDET_CLONES void threshold_row(const float* line, const int32_t* cells, const float* shares, int64_t n,
                                float threshold, bool* out) {
  for (int64_t i = 0; i < n; ++i) {
    const float before = line[cells[i]], after = line[cells[i] + 1];
    out[i] = before + shares[i] * (after - before) >= threshold;
  }
}

void paste(const float* map, const Cells& y, const Cells& x, float threshold, Columns& columns,
           std::vector<float>& line, bool* mask) {
  columns.assign(x);
  line.assign(x.count + 2, 0.0f);
  for (int64_t i = y.begin(); i < y.end(); ++i) {
    const float position = y.position(i);
    for (int64_t column = 0; column < x.count; ++column) {
      line[column + 1] = interpolate(position, y.count, [&](int64_t row) { return map[row * x.count + column]; });
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
    Columns columns;
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
