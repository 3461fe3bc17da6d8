// Kernels that do what no kernel may, if `planted`, and nothing wrong else: what the emulator must name. Two blocks of 64
// threads, a row of 128 numbers.
#include "cuda.h"
#include "view.cuh"

#include <memory>

namespace {

constexpr int kThreads = 64;
unsigned own() { return blockIdx.x * kThreads + threadIdx.x; }

__global__ void two_threads_store_to_one_word(Out y, In, int planted) {
    __shared__ float s[kThreads];
    const unsigned at = planted ? threadIdx.x / 2 : threadIdx.x;
    s[at] = 1.0f;
    __syncthreads();
    y(0, own()) = s[at];
}

__global__ void a_barrier_is_missing(Out y, In, int planted) {
    __shared__ float s[kThreads];
    s[threadIdx.x] = 1.0f;
    __syncthreads();
    s[threadIdx.x] = 2.0f;
    if (!planted) __syncthreads();
    y(0, own()) = s[kThreads - 1 - threadIdx.x];
}

__global__ void nobody_wrote_it(Out y, In, int planted) {
    __shared__ float s[kThreads];
    if (!planted || threadIdx.x > 3) s[threadIdx.x] = 1.0f;
    __syncthreads();
    y(0, own()) = s[threadIdx.x];
}

// Shared memory is a block's: what the block before wrote is gone.
__global__ void the_block_before_wrote_it(Out y, In, int planted) {
    __shared__ float s[kThreads];
    if (!planted || blockIdx.x == 0) s[threadIdx.x] = 1.0f;
    __syncthreads();
    y(0, own()) = s[threadIdx.x];
}

__global__ void a_warp_misses_the_barrier(Out y, In, int planted) {
    if (!planted || threadIdx.x < 32) __syncthreads();
    y(0, own()) = 1.0f;
}

__global__ void a_lane_misses_the_shuffle(Out y, In x, int planted) {
    float v = x(0, own());
    if (!planted || threadIdx.x != 5) v = __shfl_xor_sync(~0u, v, 1);
    y(0, own()) = v;
}

__global__ void a_mask_leaves_a_lane_out(Out y, In x, int planted) {
    y(0, own()) = __shfl_sync(planted ? 0xff : ~0u, x(0, own()), 0);
}

__global__ void four_numbers_are_not_aligned(Out y, In x, int planted) {
    if (threadIdx.x > 0) return;
    const float4 quad = *reinterpret_cast<const float4*>(&x(0, planted ? 1 : 4));
    y(0, own()) = quad.x;
}

__global__ void what_may_only_be_read_is_stored_to(Out y, In x, int planted) {
    (planted ? const_cast<float*>(x.data) : y.data)[own()] = 1.0f;
}

__global__ void a_store_misses_every_view(Out y, In, int planted) { y(0, own() + (planted ? 128 : 0)) = 1.0f; }

__global__ void two_blocks_store_to_one_word(Out y, In, int planted) { y(0, planted ? threadIdx.x : own()) = 1.0f; }

__global__ void a_block_reads_what_another_writes(Out y, In, int planted) {
    y(0, own()) = 1.0f;
    if (planted && blockIdx.x == 1) y(0, own()) = y(0, threadIdx.x);
}

#define KERNEL(name) emu::entry<&name>(#name)
const emu::Kernel kernels[] = {
    KERNEL(two_threads_store_to_one_word), KERNEL(a_barrier_is_missing), KERNEL(nobody_wrote_it),
    KERNEL(the_block_before_wrote_it), KERNEL(a_warp_misses_the_barrier), KERNEL(a_lane_misses_the_shuffle),
    KERNEL(a_mask_leaves_a_lane_out), KERNEL(four_numbers_are_not_aligned), KERNEL(what_may_only_be_read_is_stored_to),
    KERNEL(a_store_misses_every_view), KERNEL(two_blocks_store_to_one_word), KERNEL(a_block_reads_what_another_writes),
};

}  // namespace

extern "C" size_t emu_faults() { return std::size(kernels); }
extern "C" const char* emu_fault_name(size_t i) { return kernels[i].name; }
// What is said of it; null if nothing is.
extern "C" const char* emu_fault(size_t i, int planted, bool reverse) {
    struct alignas(256) Row { float numbers[2 * kThreads]; };
    const auto written = std::make_unique<Row>(), read = std::make_unique<Row>();
    Out y{written->numbers, 1, 2 * kThreads, 2 * kThreads};
    In x{read->numbers, 1, 2 * kThreads, 2 * kThreads};
    void* arguments[] = {&y, &x, &planted};
    return emu::launch(kernels[i], {2, 1, 1}, {kThreads, 1, 1}, 1, arguments, reverse);
}
