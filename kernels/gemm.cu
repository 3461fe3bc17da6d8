// A matrix product for machines without cuBLAS: plain tiles, f32 throughout.
#include "view.cuh"

// c = op(a) op(b), + bias where it has rows, and max(0, c) where relu.  Transposed where ta, tb.
// c: (m, n), op(a): (m, k), op(b): (k, n), bias: (1, n). A block for each 64 x 64 of c, 4 x 4 a thread.
extern "C" __global__ void __launch_bounds__(256) gemm(Out c, In a, In b, In bias, int ta, int tb, int relu) {
    constexpr int kTile = 64, kDepth = 16;
    __shared__ float as[kDepth][kTile + 4], bs[kDepth][kTile + 4];
    const int depth = ta ? a.rows : a.cols, row0 = blockIdx.y * kTile, col0 = blockIdx.x * kTile;
    const int y = threadIdx.x / 16 * 4, x = threadIdx.x % 16 * 4;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < depth; k0 += kDepth) {
        for (int i = threadIdx.x; i < kTile * kDepth; i += blockDim.x) {
            // neighbouring threads read neighbouring columns of the stored matrix
            const int ak = ta ? i / kTile : i % kDepth, row = ta ? i % kTile : i / kDepth;
            const int bk = tb ? i % kDepth : i / kTile, col = tb ? i / kDepth : i % kTile;
            const bool has_a = row0 + row < c.rows && k0 + ak < depth, has_b = col0 + col < c.cols && k0 + bk < depth;
            as[ak][row] = !has_a ? 0.0f : ta ? a(k0 + ak, row0 + row) : a(row0 + row, k0 + ak);
            bs[bk][col] = !has_b ? 0.0f : tb ? b(col0 + col, k0 + bk) : b(k0 + bk, col0 + col);
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kDepth; ++k)
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += as[k][y + i] * bs[k][x + j];
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int row = row0 + y + i, col = col0 + x + j;
            if (row < c.rows && col < c.cols) {
                const float v = sum[i][j] + (bias.rows ? bias(0, col) : 0.0f);
                c(row, col) = relu && v < 0.0f ? 0.0f : v;
            }
        }
}
