// A lane's part of a factor of a product by tensor cores: loaded in the widest words that its type and the way in which it
// is stored allow, and handed on as numbers of f32 or as pairs of bf16.
#pragma once
#include "view.cuh"

// Two bf16 in a word, the first in its lower half.
__device__ __forceinline__ unsigned bf16x2(float low, float high) {
#ifdef __CUDA_ARCH__
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
#else
    return bf16(low) | (unsigned)bf16(high) << 16;
#endif
}

template <class View> constexpr bool kHalf = false;
template <> inline constexpr bool kHalf<In16> = true;

// So many numbers of a row, in registers.
template <class View, int numbers> struct Vector;
template <> struct Vector<In, 4> { using Type = float4; };
template <> struct Vector<In, 2> { using Type = float2; };
template <> struct Vector<In16, 8> { using Type = uint4; };
template <> struct Vector<In16, 4> { using Type = uint2; };
template <> struct Vector<In16, 2> { using Type = unsigned; };

// Zero outside. Always a load, if not of these: a branch would hold up those after it.
template <int numbers, class View>
__device__ __forceinline__ auto vector_of(const View& v, int row, int col) {
    using Type = typename Vector<View, numbers>::Type;
    const bool inside = row < v.rows && col < v.cols;
    Type x = *reinterpret_cast<const Type*>(inside ? &v(row, col) : v.data);
    if (!inside) x = Type{};
    return x;
}

__device__ __forceinline__ float number_of(const float4& x, int i) {
    return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}
__device__ __forceinline__ float number_of(const float2& x, int i) { return i == 0 ? x.x : x.y; }
__device__ __forceinline__ unsigned word_of(const uint4& x, int i) {
    return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}
__device__ __forceinline__ unsigned word_of(const uint2& x, int i) { return i == 0 ? x.x : x.y; }
__device__ __forceinline__ unsigned word_of(unsigned x, int) { return x; }

// Of `lines` lines (rows of a, columns of b) the numbers l of the depth from k on, l < N. `by_depth`: a line is a column of
// the view; the lines are neighbours, and come with one load for each l. Else it is a row, and they are 8 apart.
template <bool by_depth, int lines, class View, int N>
struct Fragment {
    static constexpr int kWidth = by_depth ? lines : kHalf<View> ? 8 : 4, kPerLine = N / kWidth;
    static constexpr int kLoads = by_depth ? N : lines * kPerLine;
    typename Vector<View, kWidth>::Type x[kLoads];

    __device__ __forceinline__ void load(const View& v, int line, int k) {
#pragma unroll
        for (int i = 0; i < kLoads; ++i)
            if constexpr (by_depth) x[i] = vector_of<kWidth>(v, k + i, line);
            else x[i] = vector_of<kWidth>(v, line + 8 * (i / kPerLine), k + kWidth * (i % kPerLine));
    }
    // Of f32.
    __device__ __forceinline__ float number(int line, int l) const {
        if constexpr (by_depth) return number_of(x[l], line);
        else return number_of(x[line * kPerLine + l / kWidth], l % kWidth);
    }
    // Numbers 2 h and 2 h + 1 as bf16, rounded now or long before.
    __device__ __forceinline__ unsigned pair(int line, int h) const {
        if constexpr (!kHalf<View>) {
            return bf16x2(number(line, 2 * h), number(line, 2 * h + 1));
        } else if constexpr (by_depth) {
            const unsigned low = word_of(x[2 * h], line / 2), high = word_of(x[2 * h + 1], line / 2);
            return line % 2 == 0 ? (low & 0xffffu) | high << 16 : low >> 16 | (high & 0xffff0000u);
        } else {
            return word_of(x[line * kPerLine + h / (kWidth / 2)], h % (kWidth / 2));
        }
    }
};
