// Which object each box stands for, on CUDA: one kernel finds the best box of each object, a second one the object of
// each box. Overlaps are computed in both and kept nowhere. A thread takes a box and walks the objects of its image.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "../cuda_launch.h"
#include "../host_device.h"

namespace mmdet::match_boxes_cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBackground = -1, kIgnored = -2;
using Key = unsigned long long;  // an overlap's bits, then those of a box's number turned round; 0: of no box

struct Box {
  float left, top, right, bottom;
};

struct Problem {
  const Box *boxes, *objects, *ignored;  // (1 or B, N), (B, G), (B, I)
  const bool *is_object, *valid;         // (B, G); (B, N) or null
  int64_t num_boxes, num_objects, num_ignored;
  bool shared;  // all images have the same boxes
};

struct Rules {
  float positive, low, high, least;  // overlaps: of positives; from and below which is background; of claims
  bool low_quality, all_best;
  float most_ignored;  // at most so much of a box, or of an ignored one, lies in the other; not above 0: any
  bool of_box;
};

// Not below the bound; NaN stays NaN, as in PyTorch.
__device__ float at_least(float bound, float value) {
  return value <= bound ? bound : value;
}

__device__ float area(const Box& box) {
  return product(at_least(0, box.right - box.left), at_least(0, box.bottom - box.top));
}

__device__ float intersection(const Box& a, const Box& b) {
  return product(at_least(0, min(a.right, b.right) - max(a.left, b.left)),
                 at_least(0, min(a.bottom, b.bottom) - max(a.top, b.top)));
}

__device__ float overlap(const Box& object, const Box& box) {
  const float both = intersection(object, box);
  return both / at_least(1e-6f, area(object) + area(box) - both);
}

// Overlaps are not negative, so their bits are in their order; NaN is greatest.
__device__ Key key_of(float overlap, int64_t box) {
  unsigned bits;
  memcpy(&bits, &overlap, sizeof(bits));
  return static_cast<Key>(bits) << 32 | (0xffffffffu - static_cast<unsigned>(box));
}

__device__ bool left_out(const Problem& problem, const Rules& rules, int64_t image, int64_t i, const Box& box) {
  if (problem.valid != nullptr && !problem.valid[image * problem.num_boxes + i]) {
    return true;
  }
  for (int64_t k = 0; k < (rules.most_ignored > 0 ? problem.num_ignored : 0); ++k) {
    const Box& ignored = problem.ignored[image * problem.num_ignored + k];
    const float whole = at_least(1e-6f, area(rules.of_box ? box : ignored));
    if (intersection(box, ignored) / whole > rules.most_ignored) {
      return true;
    }
  }
  return false;
}

// visit(image, number of the box, box, whether it is left out) for each box that a thread takes.
template <typename Visit>
__device__ void for_each_box(const Problem& problem, const Rules& rules, const Visit& visit) {
  const int64_t image = blockIdx.y, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < problem.num_boxes; i += step) {
    const Box box = problem.boxes[(problem.shared ? 0 : image * problem.num_boxes) + i];
    visit(image, i, box, left_out(problem, rules, image, i, box));
  }
}

// claims (B, G): of each object the greatest key of a box, which is the first of its best ones.
__global__ void __launch_bounds__(kThreads) claim(Problem problem, Rules rules, Key* claims) {
  for_each_box(problem, rules, [&](int64_t image, int64_t i, const Box& box, bool skip) {
    const int64_t first = image * problem.num_objects;
    for (int64_t g = first; g < (skip ? first : first + problem.num_objects); ++g) {
      const Key key = problem.is_object[g] ? key_of(overlap(problem.objects[g], box), i) : 0;
      if (key > claims[g]) {  // mostly spares the atomic operation; what is too old costs one
        atomicMax(claims + g, key);
      }
    }
  });
}

__global__ void __launch_bounds__(kThreads) match(Problem problem, Rules rules, const Key* claims, int64_t* matched) {
  for_each_box(problem, rules, [&](int64_t image, int64_t i, const Box& box, bool skip) {
    int64_t best = 0, claimed_by = -1;
    float most = 0;
    for (int64_t g = 0; g < (skip ? 0 : problem.num_objects); ++g) {
      const int64_t at = image * problem.num_objects + g;
      if (!problem.is_object[at]) {
        continue;
      }
      const float iou = overlap(problem.objects[at], box);
      if (iou > most || iou != iou) {  // NaN stays the greatest
        most = iou;
        best = g;
      }
      if (rules.low_quality && iou >= rules.least) {
        const Key own = key_of(iou, i), claim = claims[at];
        claimed_by = (rules.all_best ? own >> 32 == claim >> 32 : own == claim) ? g : claimed_by;
      }
    }
    if (most != most) {
      most = 0;
      best = 0;
    }
    int64_t result = most >= rules.low && most < rules.high ? kBackground : kIgnored;
    result = most >= rules.positive ? best : result;
    result = claimed_by >= 0 ? claimed_by : result;
    matched[image * problem.num_boxes + i] = skip ? kIgnored : result;
  });
}

const Box* boxes_of(const Tensor& tensor) {
  return reinterpret_cast<const Box*>(tensor.const_data_ptr<float>());
}

// boxes (1 or B, N, 4), objects (B, G, 4), ignored (B, I, 4) float32; is_object (B, G), valid (B, N) bool.
Tensor match_boxes(Tensor boxes, Tensor objects, Tensor is_object, Tensor ignored, std::optional<Tensor> valid,
                   double positive, double low, double high, double least, bool low_quality, bool all_best,
                   double most_ignored, bool of_box) {
  const CurrentStream stream(objects);
  const int64_t images = objects.size(0), num_boxes = boxes.size(1), num_objects = objects.size(1);
  Tensor matched = empty({images, num_boxes}, ScalarType::Long, objects);
  if (images == 0 || num_boxes == 0) {
    return matched;
  }
  Tensor claims = empty({images, num_objects}, ScalarType::Long, objects);
  torch::stable::zero_(claims);
  auto* keys = reinterpret_cast<Key*>(claims.mutable_data_ptr<int64_t>());
  const Problem problem{.boxes = boxes_of(boxes),
                        .objects = boxes_of(objects),
                        .ignored = boxes_of(ignored),
                        .is_object = is_object.const_data_ptr<bool>(),
                        .valid = valid ? valid->const_data_ptr<bool>() : nullptr,
                        .num_boxes = num_boxes,
                        .num_objects = num_objects,
                        .num_ignored = ignored.size(1),
                        .shared = boxes.size(0) == 1};
  const Rules rules{.positive = static_cast<float>(positive),
                    .low = static_cast<float>(low),
                    .high = static_cast<float>(high),
                    .least = static_cast<float>(least),
                    .low_quality = low_quality,
                    .all_best = all_best,
                    .most_ignored = static_cast<float>(most_ignored),
                    .of_box = of_box};
  const dim3 grid(std::min<int64_t>((num_boxes + kThreads - 1) / kThreads, 1024), images);
  if (low_quality) {
    claim<<<grid, kThreads, 0, stream>>>(problem, rules, keys);
    check_cuda(cudaGetLastError());
  }
  match<<<grid, kThreads, 0, stream>>>(problem, rules, keys, matched.mutable_data_ptr<int64_t>());
  check_cuda(cudaGetLastError());
  return matched;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(mmdet, CUDA, m) {
  m.impl("match_boxes", TORCH_BOX(&match_boxes));
}

}  // namespace mmdet::match_boxes_cuda
