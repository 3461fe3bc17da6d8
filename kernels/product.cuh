// The tiles of products by FMA in f32, and what they share with those by tensor cores. A block has 16 warps: WM x WN tiles
// of 32 x 16, and as many shares of the depth as are left. Four warps for each quarter of a processor: while some wait for
// shared memory, others multiply.
// TA: a is stored (depth, rows); TB: b is stored (cols, depth).
#pragma once
#include "fragment.cuh"

constexpr int kWarps = 16, kThreads = 32 * kWarps;
constexpr int kTotals = kWarps * 32 * 16;          // where the sums of a alone begin, behind those of the products
constexpr int kSums = (kTotals + kWarps * 32) / 4;  // quads that both take

// Shared memory of so many quads, once in a kernel. All kernels that ask for as many have the same variable: the emulator has it
// in each thread of the host.
template <int quads>
__device__ __forceinline__ float4* shared_quads() {
    __shared__ float4 all[quads];
    return all;
}

// Where in shared memory a quad of a warp's 32 x 16 sums lies, in floats. Quads change places from row to row, and rows
// from warp to warp, so that lanes never meet in a bank: neither where they write a quad each, two numbers or one, nor where
// they read quads of neighbouring rows, or of one row of neighbouring tiles.
__device__ __forceinline__ int place_of_sums(int warp, int row, int quad) {
    return ((warp * 32 + (row ^ (warp & 1))) * 4 + (quad ^ ((row & 2) | (row >> 2 & 1)))) * 4;
}
// Into shared memory, in one access: nvcc makes two of it where it cannot see that the place is even.
__device__ __forceinline__ void store2(float* to, float2 pair) {
#ifdef __CUDA_ARCH__
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"((unsigned)__cvta_generic_to_shared(to)), "f"(pair.x), "f"(pair.y)
                 : "memory");
#else
    *reinterpret_cast<float2*>(to) = pair;
#endif
}
__device__ __forceinline__ void store4(float* to, float4 quad) { *reinterpret_cast<float4*>(to) = quad; }

// 16 bytes, or zero where they are not `wanted`, into shared memory without waiting on the GPU.
__device__ __forceinline__ void copy_if(float4* to, const void* from, bool wanted) {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(wanted ? 16 : 0)
                 : "memory");
#else
    *to = load_if(static_cast<const float4*>(from), wanted);
#endif
}
// Four numbers of one stored row, zero outside.
__device__ __forceinline__ void copy_quad(float4* to, const In& v, int row, int col) {
    const bool inside = row < v.rows && col < v.cols;
    copy_if(to, inside ? &v(row, col) : v.data, inside);
}
__device__ __forceinline__ void commit_copies() {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until all but the `N` groups last committed have arrived.
template <int N>
__device__ __forceinline__ void wait_copies() {
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// Adds up the warps' sums, first share of the depth to last, and hands them to `finish` as quads of c; and the sums of a
// alone, for `rows`.
template <int WM, int WN, class Finish>
__device__ __forceinline__ void gather_sums(const float* sums, int row0, int col0, bool counts, const Out& rows,
                                            const Finish& finish) {
    constexpr int WK = kWarps / (WM * WN), kPerRow = 4 * WN;
    if (counts && (int)threadIdx.x < 32 * WM && row0 + (int)threadIdx.x < rows.cols) {
        float v = 0.0f;
        for (int share = 0; share < WK; ++share)
            v += sums[kTotals + (share * WM + threadIdx.x / 32) * WN * 32 + threadIdx.x % 32];
        finish.total(rows, row0 + threadIdx.x, v);
    }
    for (int i = threadIdx.x; i < 32 * WM * kPerRow; i += kThreads) {
        const int row = i / kPerRow, col = i % kPerRow * 4, tile = row / 32 * WN + col / 16;
        // From share to share the place moves on by as much, but for the rows that change places.
        constexpr int kTiles = WM * WN, kShare = kTiles * 32 * 16;
        const int even = place_of_sums(tile, row % 32, col % 16 / 4);
        const int odd = kTiles % 2 ? place_of_sums(tile + 1, row % 32, col % 16 / 4) - 32 * 16 : even;
        float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int share = 0; share < WK; ++share) {
            const float* at = sums + (share % 2 ? odd : even) + share * kShare;
            const float4 part = *reinterpret_cast<const float4*>(at);
            v = {v.x + part.x, v.y + part.y, v.z + part.z, v.w + part.w};
        }
        finish(row0 + row, col0 + col, v);
    }
}

// In f32 throughout. Operands pass through shared memory, three stages of it; a thread has 4 x 4 sums.
template <bool TA, bool TB, int WM, int WN>
struct FullTile {
    static constexpr int WK = kWarps / (WM * WN), kDepth = WK <= 2 ? 16 : 4 * WK, BM = 32 * WM, BN = 16 * WN;
    // Rows of a stage, in floats: 16 bytes more where eight lanes read different rows at once.
    static constexpr int LA = TA ? BM : kDepth + 4, LB = TB ? kDepth + 4 : BN;
    static constexpr int kA = (TA ? kDepth : BM) * LA, kB = (TB ? BN : kDepth) * LB, kStage = kA + kB, kStages = 3;
    static constexpr int kQuads = kStages * kStage / 4 > kSums ? kStages * kStage / 4 : kSums;

    static __device__ __forceinline__ void fill(float* stage, const In& a, const In& b, int row0, int col0, int k0) {
        constexpr int kQa = (TA ? BM : kDepth) / 4, kQb = (TB ? kDepth : BN) / 4;
        for (int i = threadIdx.x; i < BM * kDepth / 4; i += kThreads) {
            const int r = i / kQa, q = i % kQa * 4;
            copy_quad(reinterpret_cast<float4*>(stage + r * LA + q), a, TA ? k0 + r : row0 + r, TA ? row0 + q : k0 + q);
        }
        for (int i = threadIdx.x; i < BN * kDepth / 4; i += kThreads) {
            const int r = i / kQb, q = i % kQb * 4;
            copy_quad(reinterpret_cast<float4*>(stage + kA + r * LB + q), b, TB ? col0 + r : k0 + r,
                      TB ? k0 + q : col0 + q);
        }
    }

    // `rows`, where it has rows: the sums of a over the depth, by the blocks of the first columns.
    template <class Finish>
    static __device__ __forceinline__ void run(float4* shared, const In& a, const In& b, int block_row, int block_col,
                                               const Out& rows, const Finish& finish) {
        float* stages = reinterpret_cast<float*>(shared);
        const int warp = threadIdx.x / 32, y = threadIdx.x % 32 / 4, x = threadIdx.x % 4;
        const int share = warp / (WM * WN), wm = warp / WN % WM, wn = warp % WN;
        const int row0 = block_row * BM, col0 = block_col * BN, depth = TA ? a.rows : a.cols;
        const int steps = (depth + kDepth - 1) / kDepth;
        const bool counts = TA && rows.rows && block_col == 0;
        float sum[4][4] = {}, row_sum[4] = {};

        for (int s = 0; s < kStages - 1; ++s) {
            if (s < steps) fill(stages + s * kStage, a, b, row0, col0, s * kDepth);
            commit_copies();
        }
        for (int s = 0; s < steps; ++s) {
            wait_copies<kStages - 2>();
            __syncthreads();  // stage s has arrived for all, and stage s - 1 has been read by all
            const int next = s + kStages - 1;
            if (next < steps) fill(stages + next % kStages * kStage, a, b, row0, col0, next * kDepth);
            commit_copies();
            const float *as = stages + s % kStages * kStage, *bs = as + kA;
#pragma unroll
            for (int k = share * (kDepth / WK); k < (share + 1) * (kDepth / WK); k += 4) {
                float4 p[4], q[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int at = TA ? (k + i) * LA + 32 * wm + 4 * y : (32 * wm + y + 8 * i) * LA + k;
                    const int bt = TB ? (16 * wn + x + 4 * i) * LB + k : (k + i) * LB + 16 * wn + 4 * x;
                    p[i] = *reinterpret_cast<const float4*>(as + at);
                    q[i] = *reinterpret_cast<const float4*>(bs + bt);
                }
#pragma unroll
                for (int l = 0; l < 4; ++l)
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const float v = TA ? component(p[l], i) : component(p[i], l);
                        if (counts) row_sum[i] += v;
#pragma unroll
                        for (int j = 0; j < 4; ++j) sum[i][j] += v * (TB ? component(q[j], l) : component(q[l], j));
                    }
            }
        }
        __syncthreads();  // all stages have been read
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = TA ? 4 * y + i : y + 8 * i;
            if constexpr (TB) {
#pragma unroll
                for (int j = 0; j < 4; ++j) stages[place_of_sums(warp, row, j) + x] = sum[i][j];
            } else {
                store4(stages + place_of_sums(warp, row, x), {sum[i][0], sum[i][1], sum[i][2], sum[i][3]});
            }
            if (counts && x == 0) stages[kTotals + warp * 32 + row] = row_sum[i];
        }
        __syncthreads();
        gather_sums<WM, WN>(stages, row0, col0, counts, rows, finish);
    }
};
