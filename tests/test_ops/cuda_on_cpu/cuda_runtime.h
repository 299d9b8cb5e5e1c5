// As much of CUDA as the kernels use, played by one thread of the CPU: a block's threads are fibers. Between two barriers
// one warp after the other runs, in another order each time, so that a missing barrier shows in the results; so do blocks.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(threads)
#define __grid_constant__

struct uint3 {
  unsigned x, y, z;
};
struct dim3 : uint3 {
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : uint3{x, y, z} {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
using cudaStream_t = void*;
enum cudaError_t { cudaSuccess };
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice, cudaMemcpyDeviceToHost };

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

namespace cuda_on_cpu {

constexpr unsigned kWarp = 32;

[[noreturn]] inline void fail(const char* why) {
  std::fprintf(stderr, "CUDA on the CPU: %s\n", why);
  std::abort();
}

enum class Waits { kForNothing, kForWarp, kForBlock, kForever };

struct Fiber {
  ucontext_t start;
  jmp_buf place;  // where it waits: going there takes no call of the system, as swapcontext does
  bool begun = false;
  std::vector<char> stack = std::vector<char>(256 << 10);
  Waits waits;
  double shuffled;
};

class Block {
 public:
  std::mt19937 random;

  // Runs `thread` as each of a block's threads, to its end.
  void run(unsigned num_threads, std::function<void()> thread) {
    thread_ = std::move(thread);
    fibers_.resize(std::max<size_t>(fibers_.size(), num_threads));
    std::vector<unsigned> warps;
    for (unsigned index = 0; index < num_threads; ++index) {
      prepare(fibers_[index]);
      if (index % kWarp == 0) {
        warps.push_back(index);
      }
    }
    do {
      std::shuffle(warps.begin(), warps.end(), random);
      for (unsigned first : warps) {
        run_warp(first, std::min(first + kWarp, num_threads));
      }
    } while (released(Waits::kForBlock, 0, num_threads, "not all threads of a block come to a barrier"));
  }

  void wait(Waits waits) {
    Fiber& fiber = *fibers_[threadIdx.x];
    fiber.waits = waits;
    if (_setjmp(fiber.place) == 0) {
      _longjmp(scheduler_, 1);
    }
  }

  double& shuffled(unsigned thread) {
    return fibers_[thread]->shuffled;
  }

 private:
  [[noreturn]] static void enter();

  // One that has ended begins again when it is resumed.
  static void prepare(std::unique_ptr<Fiber>& fiber) {
    if (!fiber) {
      fiber = std::make_unique<Fiber>();
      getcontext(&fiber->start);
      fiber->start.uc_stack.ss_sp = fiber->stack.data();
      fiber->start.uc_stack.ss_size = fiber->stack.size();
      fiber->start.uc_link = nullptr;
      makecontext(&fiber->start, enter, 0);
    }
    fiber->waits = Waits::kForNothing;
  }

  __attribute__((noinline)) void resume(Fiber& fiber) {
    if (_setjmp(scheduler_) == 0) {
      if (fiber.begun) {
        _longjmp(fiber.place, 1);
      }
      fiber.begun = true;
      setcontext(&fiber.start);
    }
  }

  // Until its threads wait for those of other warps or have ended.
  void run_warp(unsigned begin, unsigned end) {
    std::vector<unsigned> order(end - begin);
    std::iota(order.begin(), order.end(), begin);
    do {
      std::shuffle(order.begin(), order.end(), random);
      for (unsigned index : order) {
        if (fibers_[index]->waits == Waits::kForNothing) {
          threadIdx = {index, 0, 0};
          resume(*fibers_[index]);
        }
      }
    } while (released(Waits::kForWarp, begin, end, "not all threads of a warp shuffle"));
  }

  // Lets threads go on that wait for each other; false where none does.
  bool released(Waits waits, unsigned begin, unsigned end, const char* otherwise) {
    const auto first = fibers_.begin() + begin, last = fibers_.begin() + end;
    const auto waiting = std::count_if(first, last, [&](const auto& fiber) { return fiber->waits == waits; });
    if (waiting != 0 && waiting != last - first) {
      fail(otherwise);
    }
    if (waiting != 0) {
      std::for_each(first, last, [](auto& fiber) { fiber->waits = Waits::kForNothing; });
    }
    return waiting != 0;
  }

  std::vector<std::unique_ptr<Fiber>> fibers_;
  jmp_buf scheduler_;
  std::function<void()> thread_;
};

inline thread_local Block block;
inline thread_local unsigned char* dynamic_shared;  // what `extern __shared__` names

inline thread_local uint64_t block_number;              // of all that ever ran
inline cudaStream_t current_stream;                     // on which launches must be, as CurrentStream says

// Shared memory that a kernel declares holds NaN, or -1, when a block begins.
template <typename T>
void poison(T& shared, uint64_t& poisoned_for) {
  if (poisoned_for != block_number) {
    poisoned_for = block_number;
    std::memset(static_cast<void*>(&shared), 0xff, sizeof(shared));
  }
}

inline void Block::enter() {
  while (true) {
    block.thread_();
    block.wait(Waits::kForever);
  }
}

// What stands between <<< and >>>.
struct Launch {
  dim3 grid;
  unsigned num_threads;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;

  template <typename Kernel, typename... Args>
  void operator()(Kernel kernel, Args... args) const {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647 || grid.y > 65535 || grid.z > 65535 ||
        num_threads == 0 || num_threads > 1024 || shared_bytes > 48 * 1024) {
      fail("no GPU takes a launch of this size");
    }
    std::vector<unsigned char> shared(shared_bytes + 16);
    dynamic_shared = shared.data() + (16 - reinterpret_cast<uintptr_t>(shared.data()) % 16);
    if (stream != current_stream) {
      fail("a launch without CurrentStream, or not on its stream");
    }
    gridDim = grid;
    blockDim = dim3(num_threads);
    std::vector<uint3> blocks;
    for (unsigned z = 0; z < grid.z; ++z) {
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) {
          blocks.push_back({x, y, z});
        }
      }
    }
    std::shuffle(blocks.begin(), blocks.end(), block.random);
    for (uint3 index : blocks) {
      blockIdx = index;
      ++block_number;
      std::fill(shared.begin(), shared.end(), 0xff);  // NaN, or -1
      block.run(num_threads, [&] { kernel(args...); });
    }
  }
};

template <typename T>
T add(T* target, T value) {
  const T old = *target;
  *target += value;
  return old;
}

}  // namespace cuda_on_cpu

inline void __syncthreads() {
  cuda_on_cpu::block.wait(cuda_on_cpu::Waits::kForBlock);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned step) {
  using namespace cuda_on_cpu;
  if (mask != 0xffffffffu) {
    fail("shuffles are of whole warps");
  }
  const unsigned thread = threadIdx.x;
  block.shuffled(thread) = static_cast<double>(value);
  block.wait(Waits::kForWarp);
  const T other = thread % kWarp + step < kWarp ? static_cast<T>(block.shuffled(thread + step)) : value;
  block.wait(Waits::kForWarp);
  return other;
}

inline float atomicAdd(float* target, float value) {
  return cuda_on_cpu::add(target, value);
}
inline double atomicAdd(double* target, double value) {
  return cuda_on_cpu::add(target, value);
}
inline unsigned long long atomicAdd(unsigned long long* target, unsigned long long value) {
  return cuda_on_cpu::add(target, value);
}
inline unsigned long long atomicMax(unsigned long long* target, unsigned long long value) {
  const unsigned long long old = *target;
  *target = std::max(old, value);
  return old;
}
inline void atomicAdd(float4* target, float4 value) {
  if (reinterpret_cast<uintptr_t>(target) % sizeof(float4) != 0) {
    cuda_on_cpu::fail("four floats are not aligned");
  }
  *target = {target->x + value.x, target->y + value.y, target->z + value.z, target->w + value.w};
}

inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int __ffsll(long long bits) {
  return __builtin_ffsll(bits);
}
inline int __popcll(unsigned long long bits) {
  return __builtin_popcountll(bits);
}
inline long long __double2ll_rn(double value) {
  return std::llrint(value);
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline double __dmul_rn(double a, double b) {
  return a * b;
}
template <typename T>
T min(T a, T b) {
  return std::min(a, b);
}
template <typename T>
T max(T a, T b) {
  return std::max(a, b);
}

inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, size);
  return cudaSuccess;
}
