// In the place of the file of this name among the sources: tensors lie on the CPU.
#pragma once

#include <cuda_runtime.h>

#include "tensor.h"

namespace mmdet {

inline void check_cuda(cudaError_t) {}

// A launch is refused where none of these lives, or on another stream: on a GPU it would go to another device.
class CurrentStream {
 public:
  explicit CurrentStream(const Tensor&) {
    cuda_on_cpu::current_stream = this;
  }
  CurrentStream(const CurrentStream&) = delete;
  ~CurrentStream() {
    cuda_on_cpu::current_stream = &none;
  }
  operator cudaStream_t() const {
    return const_cast<CurrentStream*>(this);
  }

 private:
  static inline char none;
  static inline const bool begun = (cuda_on_cpu::current_stream = &none);
};

}  // namespace mmdet
