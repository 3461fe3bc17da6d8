// A matrix operand, passed by value: what `In(view)` and `Out(view)` of src/device/kernels.rs become. Row-major; rows
// begin `stride` elements apart. A kernel can store through `Out` only.
#pragma once
#include "begin.cuh"

struct In {
    const float* data;
    int rows, cols, stride;
    __device__ __forceinline__ const float& operator()(int row, int col) const {
        return data[(size_t)row * stride + col];
    }
};

struct Out {
    float* data;
    int rows, cols, stride;
    __device__ __forceinline__ float& operator()(int row, int col) const { return data[(size_t)row * stride + col]; }
};

// The same places in the arena of bf16, as bits. No rows: the step does not need a copy in bf16.
struct In16 {
    const unsigned short* data;
    int rows, cols, stride;
    __device__ __forceinline__ const unsigned short& operator()(int row, int col) const {
        return data[(size_t)row * stride + col];
    }
};

struct Out16 {
    unsigned short* data;
    int rows, cols, stride;
    __device__ __forceinline__ unsigned short& operator()(int row, int col) const {
        return data[(size_t)row * stride + col];
    }
};

// A factor of a product: of f32 or, `half`, of bf16.
struct InAny {
    const void* data;
    int rows, cols, stride, half;
};
__device__ __forceinline__ In as_f32(const InAny& v) {
    return {static_cast<const float*>(v.data), v.rows, v.cols, v.stride};
}
__device__ __forceinline__ In16 as_half(const InAny& v) {
    return {static_cast<const unsigned short*>(v.data), v.rows, v.cols, v.stride};
}
// The one that it is known to be.
template <class View> __device__ __forceinline__ View factor_of(const InAny& v);
template <> __device__ __forceinline__ In factor_of(const InAny& v) { return as_f32(v); }
template <> __device__ __forceinline__ In16 factor_of(const InAny& v) { return as_half(v); }

// `cols` columns from `first` on: of [mu | logvar] a half.
template <class View>
__device__ __forceinline__ View columns_of(const View& v, int first, int cols) {
    return {v.data + first, v.rows, cols, v.stride};
}

// Kernels walk over quads: four columns of a row, `col` a multiple of four. Whole views start on 256 bytes and their
// strides are multiples of eight, so most quads are one 128-bit access; a half of `[mu | logvar]` may start anywhere.
template <class View>
__device__ __forceinline__ bool whole_quad(const View& v, int col) {
    return col + 4 <= v.cols && (size_t)v.data % 16 == 0 && v.stride % 4 == 0;
}

// Four columns; zero beyond the last.
template <class View>
__device__ __forceinline__ float4 load4(const View& v, int row, int col) {
    const auto* p = &v(row, col);
    if (whole_quad(v, col)) return *reinterpret_cast<const float4*>(p);
    float4 quad = {0.0f, 0.0f, 0.0f, 0.0f};
    if (col < v.cols) quad.x = p[0];
    if (col + 1 < v.cols) quad.y = p[1];
    if (col + 2 < v.cols) quad.z = p[2];
    if (col + 3 < v.cols) quad.w = p[3];
    return quad;
}

// The same as it lies in memory, and the numbers that it stands for: a conversion beside the load would wait for it, and so would
// every load behind it.
__device__ __forceinline__ float4 raw4(const In& v, int row, int col) { return load4(v, row, col); }
__device__ __forceinline__ uint2 raw4(const In16& v, int row, int col) {
    const unsigned short* p = &v(row, col);
    if (col + 4 <= v.cols && (size_t)v.data % 8 == 0 && v.stride % 4 == 0) return *reinterpret_cast<const uint2*>(p);
    uint2 pairs = {0u, 0u};
    if (col < v.cols) pairs.x = p[0];
    if (col + 1 < v.cols) pairs.x |= (unsigned)p[1] << 16;
    if (col + 2 < v.cols) pairs.y = p[2];
    if (col + 3 < v.cols) pairs.y |= (unsigned)p[3] << 16;
    return pairs;
}
__device__ __forceinline__ float4 numbers_of(const float4& raw) { return raw; }
__device__ __forceinline__ float4 numbers_of(const uint2& raw) {
    return {__uint_as_float(raw.x << 16), __uint_as_float(raw.x & 0xffff0000u), __uint_as_float(raw.y << 16),
            __uint_as_float(raw.y & 0xffff0000u)};
}

// Only what is not padding: that stays zero.
__device__ __forceinline__ void store4(const Out& v, int row, int col, float4 quad) {
    float* p = &v(row, col);
    if (whole_quad(v, col)) {
        *reinterpret_cast<float4*>(p) = quad;
        return;
    }
    if (col < v.cols) p[0] = quad.x;
    if (col + 1 < v.cols) p[1] = quad.y;
    if (col + 2 < v.cols) p[2] = quad.z;
    if (col + 3 < v.cols) p[3] = quad.w;
}

// Rounds to the nearest bf16, ties to even; a NaN stays one. Two in a word, the first in its lower half.
__device__ __forceinline__ unsigned bf16x2(float low, float high) {
#ifdef __CUDA_ARCH__
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));  // one instruction; by hand, nine for each
    return y;
#else
    auto rounded = [](float x) {
        const unsigned bits = __float_as_uint(x);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
        return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    };
    return rounded(low) | rounded(high) << 16;
#endif
}
__device__ __forceinline__ unsigned short bf16(float x) { return (unsigned short)bf16x2(x, 0.0f); }

// Nothing where the view has no rows.
__device__ __forceinline__ void store4(const Out16& v, int row, int col, float4 quad) {
    if (v.rows == 0) return;
    unsigned short* p = &v(row, col);
    const uint2 pairs = {bf16x2(quad.x, quad.y), bf16x2(quad.z, quad.w)};
    if (col + 4 <= v.cols && (size_t)v.data % 8 == 0 && v.stride % 4 == 0) {
        *reinterpret_cast<uint2*>(p) = pairs;
        return;
    }
    if (col < v.cols) p[0] = (unsigned short)pairs.x;
    if (col + 1 < v.cols) p[1] = (unsigned short)(pairs.x >> 16);
    if (col + 2 < v.cols) p[2] = (unsigned short)pairs.y;
    if (col + 3 < v.cols) p[3] = (unsigned short)(pairs.y >> 16);
}

// Component `i` of a quad; with `i` known at compile time it costs nothing.
__device__ __forceinline__ float& component(float4& quad, int i) {
    return i == 0 ? quad.x : i == 1 ? quad.y : i == 2 ? quad.z : quad.w;
}

__device__ __forceinline__ float component(const float4& quad, int i) {
    return i == 0 ? quad.x : i == 1 ? quad.y : i == 2 ? quad.z : quad.w;
}
__device__ __forceinline__ float component(const float2& pair, int i) { return i == 0 ? pair.x : pair.y; }

__device__ __forceinline__ float4 operator+(const float4& a, const float4& b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

// This thread's share of all quads of a matrix, or that of its group of `lanes`, in a grid of any size, which may begin
// with blocks for other work:
// for (Quads q(view); q.more(); q.next())
struct Quads {
    unsigned i, end, per_row, stride;
    int row, col;

    template <class View>
    __device__ __forceinline__ explicit Quads(const View& v, unsigned first_block = 0, unsigned lanes = 1)
        : i(((blockIdx.x - first_block) * blockDim.x + threadIdx.x) / lanes), per_row((unsigned)(v.cols + 3) / 4),
          stride((gridDim.x - first_block) * blockDim.x / lanes) {
        end = (unsigned)v.rows * per_row;
        place();
    }
    __device__ __forceinline__ bool more() const { return i < end; }
    __device__ __forceinline__ void next() {
        i += stride;
        place();
    }
    __device__ __forceinline__ void place() {
        row = (int)(i / per_row);
        col = (int)(i % per_row) * 4;
    }
};
