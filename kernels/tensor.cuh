// Tiles by tensor cores, and what they are made of, for product.cu, bottleneck.cu, gradients.cu and stack.cu.
#pragma once
#include "fragment.cuh"
#include "product.cuh"

// What is multiplied: operands rounded to tf32, or to bf16, or the numbers of f32 themselves, each as two of tf32; or
// copies in bf16. `Way` of src/device/kernels.rs.
enum Operands { Tf32 = 0, Bf16 = 1, Split = 2, Half = 3 };

// What a factor is then.
template <int operands> struct Multiplied { using View = In; };
template <> struct Multiplied<Half> { using View = In16; };

// Before a kernel's name and parameters, with its launch bounds: build.rs writes a kernel for each way of multiplying,
// name_tf32, name_bf16, name_split and name_half. A launch that is over in microseconds spends much of them on fetching
// instructions, so none stands between those that it executes.
#define EACH_WAY(...) template <int operands> __device__ __forceinline__ void

// Rounded to the 10 bits of tf32: to the nearest, ties to even or, before compute capability 9.0, away from zero.
__device__ __forceinline__ unsigned tf32(float x) {
#ifdef __CUDA_ARCH__
    unsigned y;
#if __CUDA_ARCH__ >= 900
    asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));  // one instruction; the other is three
#else
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
#endif
    return y;
#else
    const unsigned bits = __float_as_uint(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

// x as the sum of two numbers of tf32: what is lost is 2^-22 of it at most. A product of two such numbers is three of
// tf32, without that of the low parts, and exact to 2^-21: as good as one rounded to f32 where sums follow.
struct Parts {
    unsigned high, low;
};
__device__ __forceinline__ Parts parts_of(float x) {
    const unsigned high = tf32(x) & 0xffffe000u;  // what stands below the 10 bits, PTX leaves open
    return {high, tf32(x - __uint_as_float(high))};
}

// c += a b on a tensor core, by a whole warp: m16n8k8 in tf32, m16n8k16 in bf16, which differ in what a word holds. The
// PTX manual says which lane has what.
template <bool half>
__device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    if (half)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::mma(__LINE__, half, c, a, b);
#endif
}

// The 32 x 16 sums of a warp, over one unit of the depth.
using Sums = float[2][2][4];

// sums += the products of a unit, of which the lane has N numbers of the depth: of each 16 rows of a two, of each 8 columns of
// b one.
template <int operands, int N, int I, int J, class A, class B>
__device__ __forceinline__ void multiply(float (&sums)[I][J][4], const A& a, const B& b) {
    // Words 1 and 3 of an operand a are of the lower rows, 2 and 3 of the later depth.
    if constexpr (operands == Split) {
        // Few products to a sum on the tensor core, which cuts off where the rest rounds; the small ones first.
        float part[I][J][4] = {};
#pragma unroll
        for (int s = 0; s < N / 2; ++s) {
            unsigned high[I][4], low[I][4];
#pragma unroll
            for (int i = 0; i < I; ++i)
#pragma unroll
                for (int w = 0; w < 4; ++w) {
                    const Parts x = parts_of(a.number(2 * i + w % 2, 2 * s + w / 2));
                    high[i][w] = x.high, low[i][w] = x.low;
                }
#pragma unroll
            for (int j = 0; j < J; ++j) {
                const Parts x = parts_of(b.number(j, 2 * s)), y = parts_of(b.number(j, 2 * s + 1));
                const unsigned b_high[2] = {x.high, y.high}, b_low[2] = {x.low, y.low};
#pragma unroll
                for (int i = 0; i < I; ++i) {
                    mma<false>(part[i][j], low[i], b_high);
                    mma<false>(part[i][j], high[i], b_low);
                    mma<false>(part[i][j], high[i], b_high);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < I; ++i)
#pragma unroll
            for (int j = 0; j < J; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[i][j][e] += part[i][j][e];
    } else {
        constexpr bool half = operands == Bf16;
#pragma unroll
        for (int s = 0; s < (half ? N / 4 : N / 2); ++s)
#pragma unroll
            for (int i = 0; i < I; ++i) {
                unsigned words[4];
#pragma unroll
                for (int w = 0; w < 4; ++w) {
                    const int row = 2 * i + w % 2, l = 2 * s + w / 2;
                    if constexpr (half) words[w] = a.pair(row, l);
                    else words[w] = tf32(a.number(row, l));
                }
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    unsigned of_b[2];
#pragma unroll
                    for (int w = 0; w < 2; ++w)
                        if constexpr (half) of_b[w] = b.pair(j, 2 * s + w);
                        else of_b[w] = tf32(b.number(j, 2 * s + w));
                    mma<half>(sums[i][j], words, of_b);
                }
            }
    }
}

// By tensor cores. WM x WN tiles of 32 x 16, a warp for each of WK shares of the depth. Where warps share the depth, or
// it is short, hardly a number is read twice, so operands go from memory straight into registers, 16 bytes at a time, and
// the order of the depth, and of rows or columns, is chosen to make that possible: of a unit of the depth, the lane t of
// a group has N t .. N t + N - 1, whatever the tensor core calls them. With b in bf16 N is 8, else 4.
// A factor `Shared` has the block's rows alone, and lies where the sums go after.
// TB: b is stored (cols, depth). What is stored (depth, rows), gradients.cu multiplies in another way.
template <bool TB, int WM, int WN, int WK>
struct TensorTile {
    // `shared` holds kSums quads. Of `Half`, both factors are copies, but for an `a` in shared memory.
    template <int operands, class A, class Finish>
    static __device__ __forceinline__ void run(float4* shared, const A& a, const InAny& b, int block_row,
                                               int block_col, const Finish& finish) {
        if constexpr (operands == Half) sum<Bf16>(shared, as_half(a), as_half(b), block_row, block_col, finish);
        else sum<operands>(shared, as_f32(a), as_f32(b), block_row, block_col, finish);
    }

    template <int operands, class A, class B, class Finish>
    static __device__ __forceinline__ void sum(float4* shared, const A& a, const B& b, int block_row, int block_col,
                                               const Finish& finish) {
        constexpr int N = kHalf<B> ? 8 : 4, kAhead = kHalf<B> && !kHalf<A> ? 1 : 2;  // as registers allow
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        const int share = warp / (WM * WN), wm = warp / WN % WM, wn = warp % WN;
        const int row0 = (block_row * WM + wm) * 32, col0 = (block_col * WN + wn) * 16;
        constexpr bool shared_a = kShared<A>;
        const int a_row0 = shared_a ? wm * 32 : row0;
        // Of a factor that is stored by depth, the rows are real; columns are with their padding, which is zero.
        const int depth = TB ? a.cols : b.rows, units = (depth + 4 * N - 1) / (4 * N);
        const Source<false, 4, A> of_a(a, a_row0 + g);
        const Source<!TB, 2, B> of_b(b, col0 + (TB ? g : 2 * g));
        Sums sums = {};

        for (int first = share; first < units; first += kAhead * WK) {
            Fragment<false, 4, A, N> p[kAhead];
            Fragment<!TB, 2, B, N> q[kAhead];
            const int k = (4 * first + t) * N;
#pragma unroll
            for (int n = 0; n < kAhead; ++n) {
                p[n].load(of_a, k, 4 * WK * N * n, depth);
                q[n].load(of_b, k, 4 * WK * N * n, depth);
            }
#pragma unroll
            for (int n = 0; n < kAhead; ++n) {
#ifndef __CUDA_ARCH__
                if (first + n * WK >= units) continue;  // zeros; the GPU multiplies them sooner than it branches
#endif
                multiply<operands, N>(sums, p[n], q[n]);
            }
        }
        float* parts = reinterpret_cast<float*>(shared);
        if (shared_a) __syncthreads();  // all have read it
        float* of_row = parts + place_of_sums(warp, g, TB ? t / 2 : t) + (TB ? 2 * (t % 2) : 0);
        float* of_next = parts + place_of_sums(warp, g, 2 + t / 2) + 2 * (t % 2);
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // row 8 i + g: places are the same every eight rows
            const float(&low)[4] = sums[i / 2][0], (&high)[4] = sums[i / 2][1];
            const int e = 2 * (i % 2), at = i * 8 * 16;
            if constexpr (TB) {  // columns 2 t + 0, 1 and 8 + 2 t + 0, 1
                store2(of_row + at, {low[e], low[e + 1]});
                store2(of_next + at, {high[e], high[e + 1]});
            } else {  // columns 4 t + 0, 1, 2, 3
                store4(of_row + at, {low[e], high[e], low[e + 1], high[e + 1]});
            }
        }
        __syncthreads();
        gather_sums<WM, WN>(parts, block_row * 32 * WM, block_col * 16 * WN, false, Out{}, finish);
    }
};
