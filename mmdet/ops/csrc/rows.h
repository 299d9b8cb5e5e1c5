// The inner loops of the CPU kernels, over contiguous rows of channels or pixels.
#pragma once

#include <cstdint>

#include "compiler.h"
#include "tensor.h"

namespace mmdet {

// line[i] += sum over k of weights[k] * base[offsets[k] + i]
template <typename T>
MMDET_CLONES void add_rows(const T* base, const int64_t* offsets, const accumulate_t<T>* weights, int64_t count,
                           accumulate_t<T>* line, int64_t n) {
  for (int64_t k = 0; k < count; ++k) {
    const T* row = base + offsets[k];
    for (int64_t i = 0; i < n; ++i) {
      line[i] += weights[k] * static_cast<accumulate_t<T>>(row[i]);
    }
  }
}

// base[offsets[k] + i] += weights[k] * row[i]; the transpose of add_rows
template <typename T>
MMDET_CLONES void add_to_rows(T* base, const int64_t* offsets, const T* weights, int64_t count, const T* row,
                              int64_t n) {
  for (int64_t k = 0; k < count; ++k) {
    T* target = base + offsets[k];
    for (int64_t i = 0; i < n; ++i) {
      target[i] += weights[k] * row[i];
    }
  }
}

}  // namespace mmdet
