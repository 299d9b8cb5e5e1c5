// The runs of predicted masks column by column, on the CPU; only the pixels of the boxes are computed. Threads share
// the masks.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "../paste_masks/neighbours.h"
#include "../rows.h"

namespace mmdet {
namespace {

MMDET_CLONES void stretch(const float* line, const int32_t* cells, const float* shares, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = between(line[cells[i]], line[cells[i] + 1], shares[i]);
  }
}

MMDET_CLONES void threshold_column(const float* before, const float* after, float share, int64_t n, float threshold,
                                   uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = between(before[i], after[i], share) >= threshold;
  }
}

class Runs {
 public:
  // Appends first and last + 1 pixel of every run, pixels counted down the image's columns.
  void find(const float* map, const Cells& y, const Cells& x, float threshold, std::vector<int64_t>& runs) {
    stretch_columns(map, y, x);
    columns_.assign(x);
    const auto n = static_cast<int64_t>(rows_.cells.size());
    pixels_.resize(n);
    for (int64_t j = 0; j < static_cast<int64_t>(columns_.cells.size()); ++j) {
      const float* before = stretched_.data() + columns_.cells[j] * n;
      threshold_column(before, before + n, columns_.shares[j], n, threshold, pixels_.data());
      append_runs((x.begin() + j) * y.pixels + y.begin(), runs);
    }
  }

 private:
  // Fills stretched_: the map stretched over the rows of the image alone, column by column between columns of zeros.
  void stretch_columns(const float* map, const Cells& y, const Cells& x) {
    constexpr int64_t zeros = Neighbours::kZeros;
    rows_.assign(y);
    const auto n = static_cast<int64_t>(rows_.cells.size());
    line_.assign(y.count + 2 * zeros, 0.0f);
    stretched_.assign((x.count + 2 * zeros) * n, 0.0f);
    for (int64_t column = 0; column < x.count; ++column) {
      for (int64_t row = 0; row < y.count; ++row) {
        line_[row + zeros] = map[row * x.count + column];
      }
      stretch(line_.data(), rows_.cells.data(), rows_.shares.data(), n, stretched_.data() + (column + zeros) * n);
    }
  }

  void append_runs(int64_t origin, std::vector<int64_t>& runs) const {
    const uint8_t *first = pixels_.data(), *end = first + pixels_.size();
    for (const uint8_t* pixel = first; pixel != end;) {
      const auto* start = static_cast<const uint8_t*>(std::memchr(pixel, 1, end - pixel));
      if (start == nullptr) {
        return;
      }
      const auto* stop = static_cast<const uint8_t*>(std::memchr(start, 0, end - start));
      pixel = stop == nullptr ? end : stop;
      runs.push_back(origin + (start - first));
      runs.push_back(origin + (pixel - first));
    }
  }

  Neighbours rows_, columns_;
  std::vector<float> line_, stretched_;
  std::vector<uint8_t> pixels_;  // of one column of the image
};

std::tuple<Tensor, Tensor> mask_runs(Tensor probs, Tensor boxes, int64_t height, int64_t width, double threshold) {
  probs = torch::stable::contiguous(probs);
  boxes = torch::stable::contiguous(boxes);
  const int64_t num_masks = probs.size(0), map_size = probs.size(1) * probs.size(2);
  const auto* probs_data = probs.const_data_ptr<float>();
  const auto* boxes_data = boxes.const_data_ptr<float>();
  std::vector<std::vector<int64_t>> found(num_masks);
  torch::stable::parallel_for(0, num_masks, 1, [&](int64_t begin, int64_t end) {
    Runs runs;
    for (int64_t n = begin; n < end; ++n) {
      const float* box = boxes_data + 4 * n;
      const Cells y{box[1], box[3], probs.size(1), height}, x{box[0], box[2], probs.size(2), width};
      if (y.drawn() && x.drawn()) {
        runs.find(probs_data + n * map_size, y, x, static_cast<float>(threshold), found[n]);
      }
    }
  });

  Tensor num_runs = empty({num_masks}, ScalarType::Long, probs);
  int64_t total = 0;
  for (int64_t n = 0; n < num_masks; ++n) {
    const auto count = static_cast<int64_t>(found[n].size() / 2);
    num_runs.mutable_data_ptr<int64_t>()[n] = count;
    total += count;
  }
  Tensor runs = empty({total, 2}, ScalarType::Long, probs);
  auto* out = runs.mutable_data_ptr<int64_t>();
  for (const auto& of_mask : found) {
    out = std::copy(of_mask.begin(), of_mask.end(), out);
  }
  return {runs, num_runs};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("mask_runs", TORCH_BOX(&mask_runs));
}

}  // namespace mmdet
