// A lane's part of a factor of a product by tensor cores: loaded in the widest words that its type and the way in which it
// is stored allow, and handed on as numbers of f32 or as pairs of bf16.
#pragma once
#include "view.cuh"

// A factor in shared memory.
struct Shared : In {};
template <class View> constexpr bool kShared = false;
template <> inline constexpr bool kShared<Shared> = true;
// One of which that is not known when it is compiled.
template <class View> constexpr bool kAnywhere = false;

// What is f32 and no copy stays as it is: rounded when it is multiplied.
template <class View>
__device__ __forceinline__ const View& as_f32(const View& v) { return v; }
template <class View>
__device__ __forceinline__ const View& as_half(const View& v) { return v; }

template <class View> constexpr bool kHalf = false;
template <> inline constexpr bool kHalf<In16> = true;

// So many numbers of a row, in registers.
template <int bytes, int numbers> struct Vector;
template <> struct Vector<4, 4> { using Type = float4; };
template <> struct Vector<4, 2> { using Type = float2; };
template <> struct Vector<2, 8> { using Type = uint4; };
template <> struct Vector<2, 4> { using Type = uint2; };
template <> struct Vector<2, 2> { using Type = unsigned; };

// *p, or zero. By hand, for these loads are half of what a product of small extents executes: nvcc would branch, which
// holds up the loads after it, or load from elsewhere and select, which is three instructions for each.
#ifdef __CUDA_ARCH__
__device__ __forceinline__ uint4 load_if(const uint4* p, bool wanted) {
    uint4 x;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n\t"
                 "@p ld.global.v4.b32 {%0, %1, %2, %3}, [%4];}"
                 : "=&r"(x.x), "=&r"(x.y), "=&r"(x.z), "=&r"(x.w) : "l"(p), "r"((int)wanted) : "memory");
    return x;
}
__device__ __forceinline__ uint2 load_if(const uint2* p, bool wanted) {
    uint2 x;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0;\n\t"
                 "@p ld.global.v2.b32 {%0, %1}, [%2];}"
                 : "=&r"(x.x), "=&r"(x.y) : "l"(p), "r"((int)wanted) : "memory");
    return x;
}
__device__ __forceinline__ unsigned load_if(const unsigned* p, bool wanted) {
    unsigned x;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; mov.b32 %0, 0;\n\t@p ld.global.b32 %0, [%1];}"
                 : "=&r"(x) : "l"(p), "r"((int)wanted) : "memory");
    return x;
}
__device__ __forceinline__ float4 load_if(const float4* p, bool wanted) {
    const uint4 x = load_if(reinterpret_cast<const uint4*>(p), wanted);
    return {__uint_as_float(x.x), __uint_as_float(x.y), __uint_as_float(x.z), __uint_as_float(x.w)};
}
__device__ __forceinline__ float2 load_if(const float2* p, bool wanted) {
    const uint2 x = load_if(reinterpret_cast<const uint2*>(p), wanted);
    return {__uint_as_float(x.x), __uint_as_float(x.y)};
}
// The same of an address of any kind of memory.
__device__ __forceinline__ uint4 load_anywhere(const uint4* p, bool wanted) {
    uint4 x;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n\t"
                 "@p ld.v4.b32 {%0, %1, %2, %3}, [%4];}"
                 : "=&r"(x.x), "=&r"(x.y), "=&r"(x.z), "=&r"(x.w) : "l"(p), "r"((int)wanted) : "memory");
    return x;
}
__device__ __forceinline__ float4 load_anywhere(const float4* p, bool wanted) {
    const uint4 x = load_anywhere(reinterpret_cast<const uint4*>(p), wanted);
    return {__uint_as_float(x.x), __uint_as_float(x.y), __uint_as_float(x.z), __uint_as_float(x.w)};
}
#else
template <class Type>
Type load_if(const Type* p, bool wanted) {
    return wanted ? *p : Type{};
}
template <class Type>
Type load_anywhere(const Type* p, bool wanted) {
    return wanted ? *p : Type{};
}
#endif

__device__ __forceinline__ unsigned word_of(const uint4& x, int i) {
    return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}
__device__ __forceinline__ unsigned word_of(const uint2& x, int i) { return i == 0 ? x.x : x.y; }
__device__ __forceinline__ unsigned word_of(unsigned x, int) { return x; }

// Where a lane finds its lines (rows of a, columns of b). `by_depth`: a line is a column of the view, and `lines` of them
// are neighbours. Else it is a row, and they are 8 apart. Those outside are some that are inside: what they give is
// dropped with the sums.
template <bool by_depth, int lines, class View>
struct Source {
    static constexpr int kRows = by_depth ? 1 : lines;
    decltype(View::data) at[kRows];
    int stride;

    __device__ __forceinline__ Source(const View& v, int line) : stride(v.stride) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const int row = line + 8 * i;
            at[i] = by_depth ? v.data + (line < v.cols ? line : 0) : &v(row < v.rows ? row : v.rows - 1, 0);
        }
    }
};

// Of these lines the numbers k .. k + N - 1 of a depth: zero beyond it.
template <bool by_depth, int lines, class View, int N>
struct Fragment {
    // By depth, a load brings one number of all lines; else as many of one line as it can.
    static constexpr int kWidth = by_depth ? lines : kHalf<View> ? 8 : 4, kPerLine = N / kWidth;
    static constexpr int kLoads = by_depth ? N : lines * kPerLine;
    using Type = typename Vector<kHalf<View> ? 2 : 4, kWidth>::Type;
    Type x[kLoads];

    // From `k + more` on; what is known when it is compiled stays out of the addresses.
    __device__ __forceinline__ void load(const Source<by_depth, lines, View>& from, int k, int more, int depth) {
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            const int l = more + (by_depth ? i : kWidth * (i % kPerLine));
            const auto* at = by_depth ? from.at[0] + (size_t)(k + l) * from.stride : from.at[i / kPerLine] + k + l;
            const auto* p = reinterpret_cast<const Type*>(at);
            if constexpr (kShared<View>) x[i] = k + l < depth ? *p : Type{};
            else if constexpr (kAnywhere<View>) x[i] = load_anywhere(p, k + l < depth);
            else x[i] = load_if(p, k + l < depth);
        }
    }
    // Of f32.
    __device__ __forceinline__ float number(int line, int l) const {
        if constexpr (by_depth) return component(x[l], line);
        else return component(x[line * kPerLine + l / kWidth], l % kWidth);
    }
    // Numbers 2 h and 2 h + 1 as bf16, rounded now or long before.
    __device__ __forceinline__ unsigned pair(int line, int h) const {
        if constexpr (!kHalf<View>) {
            return bf16x2(number(line, 2 * h), number(line, 2 * h + 1));
        } else if constexpr (by_depth) {
            const unsigned low = word_of(x[2 * h], line / 2), high = word_of(x[2 * h + 1], line / 2);
            return __byte_perm(low, high, line % 2 == 0 ? 0x5410 : 0x7632);
        } else {
            return word_of(x[line * kPerLine + h / (kWidth / 2)], h % (kWidth / 2));
        }
    }
};
