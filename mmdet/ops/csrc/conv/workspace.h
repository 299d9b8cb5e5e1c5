// Memory that a kernel needs while it runs.
#pragma once

#include <optional>

#include "../tensor.h"

namespace mmdet {

// At least `size` floats. The calling thread keeps them for its next call: large blocks that come and go among those that
// stay would leave gaps in the heap, which a training then grows by.
inline Tensor workspace(int64_t size, const Tensor& like) {
  constexpr int64_t kMostKept = 1 << 24;
  if (size > kMostKept) {
    return empty({size}, ScalarType::Float, like);
  }
  thread_local std::optional<Tensor> kept;
  if (!kept || kept->numel() < size) {
    kept.reset();
    kept = empty({size}, ScalarType::Float, like);
  }
  return *kept;
}

}  // namespace mmdet
