// Scatter matrices on the CPU: sums over all positions of the products of all channels. Threads share the blocks of the
// result, so it is the same for any number of them.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "ahead.h"
#include "image.h"
#include "processors.h"
#include "vectors.h"
#include "workspace.h"

namespace mmdet {
namespace {

constexpr int64_t kMostAtOnce = 128;      // positions: a panel of them stays in the first cache
constexpr int64_t kPackedSize = 1 << 17;  // floats of all panels, which stay in the second

template <int kLanes>
constexpr int kRows = kLanes == 16 ? 8 : 4;  // multiplied at once; a panel holds a whole number of them

struct Block {
  int64_t row, column;  // panels
};

struct Work {
  Image image;
  int64_t num_positions, at_once, num_panels;
  std::vector<Block> blocks;  // on the diagonal and above it
  int64_t num_workers;
  float* workspaces;
  float* sums;     // (row, column) of whole panels
  float* scatter;  // (row, column)
};

// Positions of an image from `start` on, less the offset, to (panel, position, channel).
template <int kLanes, typename T>
MMDET_INLINE void pack(const Image& image, int64_t start, int64_t count, int64_t first_panel, int64_t num_panels,
                       int64_t panel_size, float* packed) {
  using Kernel = Vectors<kLanes>;
  for (int64_t position = 0; position < count; ++position) {
    const T* row = static_cast<const T*>(image.data) + (start + position) * image.channels;
    for (int64_t panel = first_panel; panel < num_panels; ++panel) {
#pragma GCC unroll 2
      for (int64_t half = 0; half < Kernel::kWidth; half += kLanes) {
        const int64_t channel = panel * Kernel::kWidth + half, left = image.channels - channel;
        Vector<kLanes> values{};
        if (left > 0) {
          values = Kernel::load_some(row + channel, left) - Kernel::load_some(image.offset + channel, left);
        }
        Kernel::store(packed + panel * panel_size + position * Kernel::kWidth + half, values);
      }
    }
  }
}

// Items: a worker, which takes its share of the blocks through all positions.
template <int kLanes>
MMDET_INLINE void sum_blocks(const Work& work, int64_t begin, int64_t end) {
  using Kernel = Vectors<kLanes>;
  const int64_t num_blocks = work.blocks.size(), columns = work.num_panels * Kernel::kWidth;
  const int64_t panel_size = work.at_once * Kernel::kWidth;
  const int64_t position_bytes = work.image.position_bytes();
  for (int64_t worker = begin; worker < end; ++worker) {
    const Block* first = work.blocks.data() + num_blocks * worker / work.num_workers;
    const Block* last = work.blocks.data() + num_blocks * (worker + 1) / work.num_workers;
    float* packed = work.workspaces + worker * work.num_panels * panel_size;
    for (int64_t start = 0; start < work.num_positions; start += work.at_once) {
      const int64_t count = std::min(work.at_once, work.num_positions - start), next = start + count;
      if (work.image.is_bfloat16) {
        pack<kLanes, uint16_t>(work.image, start, count, first->row, work.num_panels, panel_size, packed);
      } else {
        pack<kLanes, float>(work.image, start, count, first->row, work.num_panels, panel_size, packed);
      }
      const Ahead ahead(static_cast<const char*>(work.image.data) + next * position_bytes,
                        std::min(work.at_once, work.num_positions - next) * position_bytes,
                        (last - first) * Kernel::kWidth / kRows<kLanes>);
      int64_t portion = 0;
      for (const Block* block = first; block < last; ++block) {
        for (int64_t row = block->row * Kernel::kWidth; row < (block->row + 1) * Kernel::kWidth; row += kRows<kLanes>) {
          ahead.ask(portion++);
          Kernel::template multiply<kRows<kLanes>>(
              packed + block->row * panel_size + row % Kernel::kWidth, 1, Kernel::kWidth,
              packed + block->column * panel_size, count, start != 0,
              work.sums + row * columns + block->column * Kernel::kWidth, columns);
        }
      }
    }
  }
}

// Items: a row of the result. Below the diagonal's blocks it is what stands above them, turned over.
template <int kLanes>
MMDET_INLINE void write_rows(const Work& work, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = Vectors<kLanes>::kWidth;
  const int64_t channels = work.image.channels, columns = work.num_panels * kWidth;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = row / kWidth * kWidth;
    for (int64_t column = 0; column < first; ++column) {
      work.scatter[row * channels + column] = work.sums[column * columns + row];
    }
    std::copy(work.sums + row * columns + first, work.sums + row * columns + channels,
              work.scatter + row * channels + first);
  }
}

MMDET_STAGES(sum_blocks, write_rows)

// x (B, C, H, W) is float32 or bfloat16 and dense channels-last; mean (C) is float32.
Tensor scatter_matrix(Tensor x, Tensor mean) {
  const Stages& run = stages();
  const int64_t channels = x.size(1), num_positions = x.size(0) * x.size(2) * x.size(3), width = 2 * run.lanes;
  Tensor scatter = empty({channels, channels}, ScalarType::Float, x);
  if (num_positions == 0) {
    return torch::stable::zero_(scatter);
  }
  const int64_t num_panels = (channels + width - 1) / width;
  std::vector<Block> blocks;
  for (int64_t row = 0; row < num_panels; ++row) {
    for (int64_t column = row; column < num_panels; ++column) {
      blocks.push_back({row, column});
    }
  }
  const int64_t num_workers = std::min<int64_t>(torch::stable::get_num_threads(), blocks.size());
  const int64_t at_once = std::clamp<int64_t>(kPackedSize / (num_panels * width), 16, kMostAtOnce);
  const int64_t sums_size = num_panels * num_panels * width * width;
  Tensor memory = workspace(sums_size + num_workers * num_panels * width * at_once, x);
  float* sums = memory.mutable_data_ptr<float>();
  const Work work{
      .image = image_of(x, mean),
      .num_positions = num_positions,
      .at_once = at_once,
      .num_panels = num_panels,
      .blocks = std::move(blocks),
      .num_workers = num_workers,
      .workspaces = sums + sums_size,
      .sums = sums,
      .scatter = scatter.mutable_data_ptr<float>(),
  };
  torch::stable::parallel_for(0, num_workers, 1, [&](int64_t begin, int64_t end) { run.first(work, begin, end); });
  torch::stable::parallel_for(0, channels, 16, [&](int64_t begin, int64_t end) { run.second(work, begin, end); });
  return scatter;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("scatter_matrix", TORCH_BOX(&scatter_matrix));
}

}  // namespace mmdet
