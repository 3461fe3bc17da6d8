// Sums over a warp, a block, and columns, each in a fixed order: the same numbers give the same sum every time.
#pragma once
#include "view.cuh"

// Of `width` neighbouring lanes, a power of two; the result is in each of them. All 32 take part.
template <class T>
__device__ __forceinline__ T sum_of_lanes(T v, int width) {
#pragma unroll
    for (int lanes = width / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
    return v;
}
template <class T>
__device__ __forceinline__ T warp_sum(T v) { return sum_of_lanes(v, 32); }

template <class T>
__device__ __forceinline__ T warp_max(T v) {
    for (int lanes = 16; lanes > 0; lanes /= 2) v = fmax(v, __shfl_xor_sync(0xffffffffu, v, lanes));
    return v;
}

// The result is in every thread. `scratch` holds one number per warp; it may be used again at once.
__device__ __forceinline__ float block_max(float v, float* scratch) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    v = warp_max(v);
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = warp_max(lane < warps ? scratch[lane] : -INFINITY);
    __syncthreads();
    return v;
}

// The same of a sum.
template <class T>
__device__ __forceinline__ T block_sum(T v, T* scratch) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    v = warp_sum(v);
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = warp_sum(lane < warps ? scratch[lane] : T(0));
    __syncthreads();
    return v;
}

// Calls `load(i, at)`, then `use(i, at)`, for first, first + apart, ... below end, kAtOnce of them at a time, i their number.
// All loads come before the first use: for all the compiler knows, a store may be to what is loaded next, and a row that
// waits for the row before takes a round trip to memory, a batch of thousands dozens of them.
constexpr int kAtOnce = 4;
template <class Load, class Use>
__device__ __forceinline__ void each(int first, int end, int apart, const Load& load, const Use& use) {
    for (; first < end; first += kAtOnce * apart) {
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            if (first + i * apart >= end) break;
            load(i, first + i * apart);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
            if (first + i * apart >= end) break;
            use(i, first + i * apart);
        }
    }
}

// Four numbers of the lane whose index differs in the bit `lanes`. All 32 take part.
__device__ __forceinline__ float4 shuffle_xor(const float4& v, int lanes) {
    return {__shfl_xor_sync(0xffffffffu, v.x, lanes), __shfl_xor_sync(0xffffffffu, v.y, lanes),
            __shfl_xor_sync(0xffffffffu, v.z, lanes), __shfl_xor_sync(0xffffffffu, v.w, lanes)};
}

// Sums eight columns over a block of `warps` at most. Thread t brings its part of columns 4 (t % 2) .. + 4, from rows
// t / 2, t / 2 + half of the threads, ...; thread t < 8 gets the sum of column t, the others 0. Call it once for a scratch.
constexpr int kColumns = 8;
template <int warps>
__device__ __forceinline__ float column_sum(float4 v, float (&scratch)[warps][kColumns]) {
    for (int lanes = 16; lanes > 1; lanes /= 2) v = v + shuffle_xor(v, lanes);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < 2) {
        scratch[warp][4 * lane] = v.x;
        scratch[warp][4 * lane + 1] = v.y;
        scratch[warp][4 * lane + 2] = v.z;
        scratch[warp][4 * lane + 3] = v.w;
    }
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.x < kColumns)
        for (int w = 0; w < (int)blockDim.x / 32; ++w) sum += scratch[w][threadIdx.x];
    return sum;
}

// The rows of a part of a sum, from x up to y. Sums over thousands of rows have parts, in `partial` a row each: one after
// the other they would keep few processors busy.
__device__ __forceinline__ int2 rows_of(int rows, int part, int parts) {
    const int each = (rows + parts - 1) / parts;
    return {min(part * each, rows), min((part + 1) * each, rows)};
}

// The second stage, by a block of 64 for 8 columns: the sum over up to 32 parts, to thread t < 8 that of column t.
constexpr int kParts = 32;
__device__ __forceinline__ float sum_of_parts(const In& partial, int first, float (&scratch)[kParts / 16][kColumns]) {
    const int part = threadIdx.x / 2, col = first + 4 * (threadIdx.x % 2);
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    if (part < partial.rows && col < partial.cols) sum = load4(partial, part, col);
    return column_sum(sum, scratch);
}
