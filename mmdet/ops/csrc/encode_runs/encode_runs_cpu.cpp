// Runs written as COCO's text: the lengths of background and mask in turn, each less the length two before it (from
// the fourth on), in groups of five bits from the lowest, a character a group. Source: the format of pycocotools'
// compressed RLE.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "../tensor.h"

namespace mmdet {
namespace {

// Lengths of background and mask in turn. Runs that touch, at the bottom of one column and the top of the next, are one.
void alternate(const int64_t* runs, int64_t num_runs, int64_t num_pixels, std::vector<int64_t>& lengths) {
  lengths.clear();
  int64_t end = 0;
  for (int64_t k = 0; k < num_runs; ++k) {
    const int64_t start = runs[2 * k], stop = runs[2 * k + 1];
    if (k > 0 && start == end) {
      lengths.back() += stop - start;
    } else {
      lengths.push_back(start - end);
      lengths.push_back(stop - start);
    }
    end = stop;
  }
  if (end < num_pixels || num_runs == 0) {
    lengths.push_back(num_pixels - end);
  }
}

void write(int64_t number, std::string& text) {
  bool more = true;
  while (more) {
    const int64_t group = number & 31;
    number >>= 5;
    more = number != ((group & 16) != 0 ? -1 : 0);  // the highest bit of the last group is the sign
    text.push_back(static_cast<char>('0' + (group | (more ? 32 : 0))));
  }
}

void write(const std::vector<int64_t>& lengths, std::string& text) {
  for (size_t i = 0; i < lengths.size(); ++i) {
    write(i > 2 ? lengths[i] - lengths[i - 2] : lengths[i], text);
  }
}

std::tuple<Tensor, Tensor> encode_runs(Tensor runs, Tensor num_runs, int64_t num_pixels) {
  runs = torch::stable::contiguous(runs);
  num_runs = torch::stable::contiguous(num_runs);
  const int64_t num_masks = num_runs.size(0);
  const auto* runs_data = runs.const_data_ptr<int64_t>();
  const auto* counts = num_runs.const_data_ptr<int64_t>();
  std::string text;
  std::vector<int64_t> lengths;
  Tensor num_chars = empty({num_masks}, ScalarType::Long, runs);
  int64_t begin = 0;
  for (int64_t n = 0; n < num_masks; ++n) {
    STD_TORCH_CHECK(0 <= counts[n] && counts[n] <= runs.size(0) - begin, "encode_runs: num_runs ", n, " is ", counts[n],
                    ", but ", runs.size(0) - begin, " runs are left");
    const size_t before = text.size();
    alternate(runs_data + 2 * begin, counts[n], num_pixels, lengths);
    write(lengths, text);
    num_chars.mutable_data_ptr<int64_t>()[n] = static_cast<int64_t>(text.size() - before);
    begin += counts[n];
  }
  Tensor chars = empty({static_cast<int64_t>(text.size())}, ScalarType::Byte, runs);
  std::copy(text.begin(), text.end(), chars.mutable_data_ptr<uint8_t>());
  return {chars, num_chars};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CPU, m) {
  m.impl("encode_runs", TORCH_BOX(&encode_runs));
}

}  // namespace mmdet
