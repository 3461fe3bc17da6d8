// The latent variables in the launch of the layer behind them, forward and backward. Each block of 32 x 16 of the layer
// makes the 32 rows that it multiplies itself, in shared memory: they are short, and to make them again in each block is
// sooner done than to wait for a launch. The blocks of the first columns store them too.
#include "bound.cu"
#include "finish.cuh"
#include "kl.cu"
#include "product.cuh"
#include "reparam.cu"
#include "tensor.cuh"

// Which tile, 32 x 16, of a matrix of so many columns a block is for. Tiles are one line of blocks, behind a few for what goes
// along: more would not fit beside the 128 tiles of 100 x 500, on 132 processors of which each has room for one block.
struct Tile {
    int row, col;
    __device__ __forceinline__ Tile(int before, int cols) {
        const unsigned across = (unsigned)(cols + 15) / 16, at = blockIdx.x - before;
        row = (int)(at / across), col = (int)(at - row * across);
    }
};

constexpr int kLatentRow = 4 * kQuadsOfRow + 4;
constexpr int kHeadRow = 8 * kQuadsOfRow + 4;  // 4 more than columns, against conflicts of banks
static_assert(32 * kHeadRow / 4 <= kSums, "the rows lie where the sums go after");

// 32 rows in shared memory, as the factor of a product.
__device__ __forceinline__ Shared factor(const float* rows, int cols, int stride) {
    return {{rows, 32, (cols + 7) / 8 * 8, stride}};
}

// reparam_forward, kl_forward, and y = f(z w^T + bias).
// y, pre: (rows K, out), w: (out, latent); the others as there. A block for 8 dimensions of the KL each, and one for each
// 32 x 16 of y; the KL of a row is made beside z, in another column's block than stores that.
EACH_WAY(512, 1) latent_forward_linear(Out y, Out16 y16, Out pre, Out z, Out16 z16, Out ratio, Out kl_row, Out kl_dim,
                                       In head, In eps, InAny w, In bias, Plan* plan, int samples, int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    __shared__ float scratch[kWarps][kColumns];
    const int of_kl = (kl_dim.cols + kColumns - 1) / kColumns;
    if ((int)blockIdx.x < of_kl) {
        kl_of_block(blockIdx.x, kl_row, kl_dim, Out{}, head, &plan->now, scratch);
        return;
    }
    const Tile tile(of_kl, y.cols);
    const int r = threadIdx.x / kQuadsOfRow, row = 32 * tile.row + r, col = 4 * (threadIdx.x % kQuadsOfRow);
    float4 quad = {0.0f, 0.0f, 0.0f, 0.0f};
    float sum = 0.0f;
    if (row < z.rows && col < z.cols) sum = draw_quad(quad, head, eps, &plan->now, samples, row, col);
    shared[(r * kLatentRow + col) / 4] = quad;
    sum = sum_of_lanes(sum, kQuadsOfRow);
    if (tile.col == (y.cols > 16 ? 1 : 0)) {
        const int example = row / samples, latent = z.cols;
        const bool first = row < z.rows && row == example * samples;
        float of_row = 0.0f;
        if (first)
#pragma unroll 1
            for (int j = col; j < latent && j < col + 4; ++j) of_row += kl(head(example, j), head(example, latent + j));
        of_row = sum_of_lanes(of_row, kQuadsOfRow);
        if (first && col == 0) kl_row(example, 0) = of_row;
    }
    if (tile.col == 0 && row < z.rows) {
        if (col < z.cols) {
            note_size(plan, quad);
            store4(z, row, col, quad);
            store4(z16, row, col, quad);
        }
        if (col == 0) ratio(row, 0) = 0.5f * sum;
    }
    __syncthreads();
    const Shared a = factor(reinterpret_cast<const float*>(shared), z.cols, kLatentRow);
    TensorTile<true, 1, 1, 16>::run<operands>(shared, a, w, tile.row, tile.col,
                                              Finish{y, y16, pre, bias, In{}, plan, f});
}

// latent_backward, and dx = dhead w f'(x).
// dx, out: (rows, inputs), w: (2 latent, inputs); the others as there. A block for the bound, and one for each
// 32 x 16 of dx.
EACH_WAY(512, 1) latent_backward_linear(Out dx, Out16 dx16, Out dhead, Out16 dhead16, Out bound, Out weight,
                                        Out metrics, In dz, In z, In head, In eps, In nll, In kl_row, In kl_dim,
                                        In ratio, InAny w, In out, Plan* plan, int samples, int objective,
                                        float free_bits, int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    __shared__ float scratch[32];
    if (blockIdx.x == 0) {
        bound_of_batch(bound, weight, metrics, nll, kl_row, kl_dim, ratio, plan, samples, objective, free_bits, scratch);
        return;
    }
    const Tile tile(1, dx.cols);
    float* rows = reinterpret_cast<float*>(shared);
    const int row0 = 32 * tile.row, latent = dz.cols;
    for (int i = threadIdx.x; i < 32 * kHeadRow / 4; i += kThreads) shared[i] = {0.0f, 0.0f, 0.0f, 0.0f};
    __syncthreads();
    const int r = threadIdx.x / kQuadsOfRow, row = row0 + r, col = 4 * (threadIdx.x % kQuadsOfRow);
    if (row < head.rows && col < latent) {
        HeadQuad d = pull_back<1>(row, col, dz, z, head, eps, In{}, &plan->now, samples, objective);
        if (objective == Elbo) add_kl(d, row, col, head, kl_dim, &plan->now, free_bits);
        store_head(Out{rows, 32, 2 * latent, kHeadRow}, latent, r, col, d);
        if (tile.col == 0) store_head(dhead, dhead16, plan, latent, row, col, d);
    }
    __syncthreads();
    const Shared a = factor(rows, 2 * latent, kHeadRow);
    TensorTile<false, 1, 1, 16>::run<operands>(shared, a, w, tile.row, tile.col,
                                               Finish{dx, dx16, Out{}, In{}, out, plan, f});
}
