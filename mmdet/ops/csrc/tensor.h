// What every kernel asks of a tensor.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch.h>
#include <torch/headeronly/core/ScalarType.h>

namespace mmdet {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The type sums are held in.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using accumulate_t = typename Accumulate<T>::type;

// A tensor dense both ways is contiguous.
inline bool is_channels_last(const Tensor& tensor) {
  int64_t stride = 1;
  for (int64_t dim : {1, 3, 2, 0}) {
    if (tensor.size(dim) != 1 && tensor.stride(dim) != stride) {
      return false;
    }
    stride *= tensor.size(dim);
  }
  return !tensor.is_contiguous();
}

inline MemoryFormat memory_format(bool channels_last) {
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

inline Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype, const Tensor& like,
                    bool channels_last = false) {
  return torch::stable::empty(sizes, dtype, std::nullopt, like.device(), std::nullopt, memory_format(channels_last));
}

// Runs a lambda with scalar_t set to the tensor's type: any that features come in, or any that sums are held in.
#define MMDET_DISPATCH(NAME, TENSOR, ...)                               \
  THO_DISPATCH_SWITCH(TENSOR.scalar_type(), NAME,                       \
                      THO_DISPATCH_CASE(ScalarType::Float, __VA_ARGS__)  \
                      THO_DISPATCH_CASE(ScalarType::Double, __VA_ARGS__) \
                      THO_DISPATCH_CASE(ScalarType::Half, __VA_ARGS__)   \
                      THO_DISPATCH_CASE(ScalarType::BFloat16, __VA_ARGS__))

#define MMDET_DISPATCH_ACCUMULATE(NAME, TENSOR, ...)                    \
  THO_DISPATCH_SWITCH(TENSOR.scalar_type(), NAME,                       \
                      THO_DISPATCH_CASE(ScalarType::Float, __VA_ARGS__)  \
                      THO_DISPATCH_CASE(ScalarType::Double, __VA_ARGS__))

}  // namespace mmdet
