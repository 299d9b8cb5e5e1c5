// What compilers are told of functions.
#pragma once

// One build serves every x86-64 processor: the linker picks the widest of these at run time.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define MMDET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MMDET_CLONES
#endif

// What such a function calls has to be part of it: elsewhere it would be made for the oldest processor.
#define MMDET_INLINE inline __attribute__((always_inline))
