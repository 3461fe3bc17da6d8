// KL(q(z|x) || N(0, I)) of a diagonal Gaussian, in nats; Kingma & Welling 2014, appendix B.
// head: (rows, 2 latent) = [mu | logvar]
#pragma once
#include "head.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// expm1 keeps exp(logvar) - 1 exact near the prior.
__device__ __forceinline__ float kl(float mu, float logvar) { return 0.5f * (mu * mu + (expm1f(logvar) - logvar)); }

// kl[row] = 1/2 sum_j (mu^2 + exp(logvar) - 1 - logvar)          kl: (rows, 1)
// kl_dim[j] = its mean over the first step.rows rows             kl_dim: (1, latent)
// The first blocks take 8 dimensions each, for which they go through all rows, or, where `partial` has rows, those of a part,
// and leave their sum there; the others as many rows as they have warps.                  partial: (parts, latent)
template <int warps>
__device__ __forceinline__ void kl_of_block(int block, const Out& kl_row, const Out& kl_dim, const Out& partial,
                                            const In& head, const Step* step, float (&scratch)[warps][kColumns]) {
    const int latent = kl_dim.cols, parts = partial.rows ? partial.rows : 1;
    const int of_part = (latent + kColumns - 1) / kColumns, of_dims = of_part * parts;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (block >= of_dims) {
        const int row = (block - of_dims) * warps + warp;
        float sum = 0.0f;
        if (row < head.rows)
            for (int j = lane; j < latent; j += 32) sum += kl(head(row, j), head(row, latent + j));
        sum = warp_sum(sum);
        if (row < head.rows && lane == 0) kl_row(row, 0) = sum;
    } else {
        const int first = block % of_part * kColumns, col = first + 4 * (threadIdx.x % 2), part = block / of_part;
        const int2 rows = rows_of((int)step->rows, part, parts);
        const In mu = columns_of(head, 0, latent), logvar = columns_of(head, latent, latent);
        float4 sum = {0.0f, 0.0f, 0.0f, 0.0f}, m[kAtOnce], v[kAtOnce];
        auto load = [&](int i, int row) { m[i] = load4(mu, row, col), v[i] = load4(logvar, row, col); };
        each(rows.x + threadIdx.x / 2, rows.y, blockDim.x / 2, load, [&](int i, int) {
            // Beyond the last dimension both are zero, and so is their KL.
            sum = {sum.x + kl(m[i].x, v[i].x), sum.y + kl(m[i].y, v[i].y), sum.z + kl(m[i].z, v[i].z),
                   sum.w + kl(m[i].w, v[i].w)};
        });
        const float total = column_sum(sum, scratch);
        const int j = first + (int)threadIdx.x;
        if (threadIdx.x < kColumns && j < latent) {
            if (partial.rows) partial(part, j) = total;
            else kl_dim(0, j) = total / (float)(int)step->rows;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) kl_forward(Out kl_row, Out kl_dim, Out partial, In head,
                                                             const Step* step) {
    begin();
    __shared__ float scratch[8][kColumns];
    kl_of_block(blockIdx.x, kl_row, kl_dim, partial, head, step, scratch);
}

// The second stage of kl_dim, where it has parts. A block for 8 dimensions.
extern "C" __global__ void __launch_bounds__(64) kl_dim_of_parts(Out kl_dim, In partial, const Step* step) {
    begin();
    __shared__ float scratch[kParts / 16][kColumns];
    const int first = blockIdx.x * kColumns;
    const float total = sum_of_parts(partial, first, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < kl_dim.cols)
        kl_dim(0, first + threadIdx.x) = total / (float)(int)step->rows;
}

// dmu += beta / rows mu,  dlogvar += beta / rows 1/2 (exp(logvar) - 1), for the first step.rows rows and the dimensions
// that are not below the free bits: the gradient of beta sum_j max(free_bits, kl_dim[j]).
__device__ __forceinline__ void add_kl(HeadQuad& d, int row, int col, const In& head, const In& kl_dim,
                                       const Step* step, float free_bits) {
    const int latent = kl_dim.cols;
    const float scale = step->beta / (float)step->rows;
    if (row >= (int)step->rows) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int j = col + i;
        if (j < latent && (free_bits <= 0.0f || kl_dim(0, j) >= free_bits)) {
            component(d.mu, i) += scale * head(row, j);
            component(d.logvar, i) += scale * 0.5f * expm1f(head(row, latent + j));
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) kl_backward(Out dhead, Out16 dhead16, In head, In kl_dim, Plan* plan,
                                                              float free_bits) {
    begin();
    const int latent = kl_dim.cols;
    const In mu = columns_of(head, 0, latent);
    for (Quads q(mu); q.more(); q.next()) {
        HeadQuad d = load_head(dhead, latent, q.row, q.col);
        add_kl(d, q.row, q.col, head, kl_dim, &plan->now, free_bits);
        store_head(dhead, dhead16, plan, latent, q.row, q.col, d);
    }
}
