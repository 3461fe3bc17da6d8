// How every kernel begins: build.rs sees to it.
#pragma once

// Lets the next launch start, and waits until the one before has finished and what it wrote is seen. Launched with the
// driver's programmatic serialisation, blocks take their places while the launch before still runs; without, and before
// compute capability 9.0, both happen by themselves.
__device__ __forceinline__ void begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}
