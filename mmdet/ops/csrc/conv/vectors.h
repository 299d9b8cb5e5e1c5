// Vectors of 4, 8 or 16 floats, and products of matrices of them.
#pragma once

#include <cstdint>
#include <cstring>

#include "../compiler.h"

// Sums here are of many terms; with fused multiply-adds they take half as long.
#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are handed on only where they are inlined
#endif

namespace mmdet {

constexpr int kLine = 16;  // floats of a cache line

template <int kLanes>
struct Vectors {
  typedef float Vector __attribute__((vector_size(4 * kLanes)));

  static constexpr int kWidth = 2 * kLanes;  // of a panel: two vectors of channels

  static MMDET_INLINE Vector load(const float* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof(Vector));
    return vector;
  }

  // The first `count`, then zeros.
  static MMDET_INLINE Vector load_some(const float* from, int64_t count) {
    if (count >= kLanes) {
      return load(from);
    }
    Vector vector{};
    std::memcpy(&vector, from, count * sizeof(float));
    return vector;
  }

  // bfloat16, which is the upper half of a float
  static MMDET_INLINE Vector load_some(const uint16_t* from, int64_t count) {
    uint16_t halves[kLanes] = {};
    if (count >= kLanes) {
      std::memcpy(halves, from, sizeof(halves));
    } else {
      std::memcpy(halves, from, count * sizeof(uint16_t));
    }
    uint32_t words[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      words[lane] = static_cast<uint32_t>(halves[lane]) << 16;
    }
    Vector vector;
    std::memcpy(&vector, words, sizeof(Vector));
    return vector;
  }

  static MMDET_INLINE void store(float* to, const Vector& vector) {
    std::memcpy(to, &vector, sizeof(Vector));
  }

  // out (kRows, kWidth), its rows `stride` apart, = or += sum over k < depth of a(row, k) * b(k, column)
  template <int kRows>
  static MMDET_INLINE void multiply(const float* a, int64_t row_step, int64_t k_step, const float* b, int64_t depth,
                                    bool add, float* out, int64_t stride) {
    if (add) {  // they are here when they are needed
      for (int row = 0; row < kRows; ++row) {
        __builtin_prefetch(out + row * stride, 1);
        __builtin_prefetch(out + row * stride + kLanes, 1);
      }
    }
    Vector sums[kRows][2] = {};
    for (int64_t k = 0; k < depth; ++k) {
      const Vector left = load(b + k * kWidth), right = load(b + k * kWidth + kLanes);
#pragma GCC unroll 12
      for (int row = 0; row < kRows; ++row) {
        const float value = a[row * row_step + k * k_step];
        sums[row][0] += value * left;
        sums[row][1] += value * right;
      }
    }
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row) {
      float* target = out + row * stride;
      store(target, add ? load(target) + sums[row][0] : sums[row][0]);
      store(target + kLanes, add ? load(target + kLanes) + sums[row][1] : sums[row][1]);
    }
  }
};

template <int kLanes>
using Vector = typename Vectors<kLanes>::Vector;

}  // namespace mmdet
