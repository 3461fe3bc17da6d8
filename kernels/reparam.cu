// z = mu + exp(logvar / 2) eps, eps ~ N(0, I); Kingma & Welling 2014, section 2.4. Example b, sample k is row b K + k.
// head: (rows, 2 latent) = [mu | logvar], z: (rows K, latent). The noise is drawn and never stored, or, where `eps` has
// rows, given.
#pragma once
#include "head.cuh"
#include "philox.cuh"
#include "reduce.cuh"
#include "view.cuh"

__device__ __forceinline__ float4 noise4(const In& eps, const Step& step, int samples, int row, int col) {
    return eps.rows ? load4(eps, row, col) : normal4(step, Noise, step.first_row * samples + row, col);
}

// Four of z, and what they add to 2 ratio[row]; zero beyond the last.
__device__ __forceinline__ float draw_quad(float4& z, const In& head, const In& eps, const Step* step, int samples,
                                           int row, int col) {
    const int example = row / samples, latent = head.cols / 2;
    float4 noise = noise4(eps, *step, samples, row, col);
    float sum = 0.0f;
    z = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (col + i < latent) {
            const float e = component(noise, i), logvar = head(example, latent + col + i);
            const float v = head(example, col + i) + expf(0.5f * logvar) * e;
            component(z, i) = v;
            sum += v * v - logvar - e * e;
        }
    return sum;
}

// ratio[row] = log q(z|x) - log p(z) = 1/2 sum_j (z^2 - logvar - eps^2)        ratio: (rows K, 1). A warp for each row.
__device__ __forceinline__ void draw_rows(int block, const Out& z, const Out16& z16, const Out& ratio, const In& head,
                                          const In& eps, Plan* plan, int samples) {
    // In warps: threads would be too many for an int from 2^26 rows on.
    const int row = block * (int)(blockDim.x / 32) + (int)threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row < z.rows) {  // the same for all lanes of a warp
        float sum = 0.0f;
        for (int col = 4 * lane; col < z.cols; col += 4 * 32) {
            float4 quad;
            sum += draw_quad(quad, head, eps, &plan->now, samples, row, col);
            note_size(plan, quad);
            store4(z, row, col, quad);
            store4(z16, row, col, quad);
        }
        sum = warp_sum(sum);
        if (lane == 0) ratio(row, 0) = 0.5f * sum;
    }
}

extern "C" __global__ void __launch_bounds__(128) reparam_forward(Out z, Out16 z16, Out ratio, In head, In eps,
                                                                  Plan* plan, int samples) {
    begin();
    draw_rows(blockIdx.x, z, z16, ratio, head, eps, plan, samples);
}

// With w = weight[row] beta where the objective weighs log q - log p by beta (`direct` 1), weight[row] where it holds it
// as it is (2), else 0; a weight without rows is 1 / (step.rows K), as `bound` would have it:
// dz' = dz + w z,  dmu = sum_k dz',  dlogvar = sum_k (dz' 1/2 exp(logvar / 2) eps - 1/2 w)
// Zero from step.rows on.                                        dhead: (rows, 2 latent), weight: (rows K, 1)
// One lane goes through the samples, or all of a warp do, and each then has the sums.
template <int lanes>
__device__ __forceinline__ HeadQuad pull_back(int example, int col, const In& dz, const In& z, const In& head,
                                              const In& eps, const In& weight, const Step* step, int samples,
                                              int direct) {
    const int latent = dz.cols;
    const float even = 1.0f / (float)samples / (float)step->rows;
    float4 dmu = {0.0f, 0.0f, 0.0f, 0.0f}, dlogvar = dmu, half_sigma = dmu;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (col + i < latent) component(half_sigma, i) = 0.5f * expf(0.5f * head(example, latent + col + i));
    if (example < (int)step->rows)
        for (int k = (int)threadIdx.x % lanes; k < samples; k += lanes) {
            const int row = example * samples + k;
            const float w = direct ? (weight.rows ? weight(row, 0) : even) * (direct == 1 ? step->beta : 1.0f) : 0.0f;
            float4 noise = noise4(eps, *step, samples, row, col), d = load4(dz, row, col);
            float4 value = direct ? load4(z, row, col) : float4{0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float total = component(d, i) + w * component(value, i);
                component(dmu, i) += total;
                component(dlogvar, i) += total * component(half_sigma, i) * component(noise, i) - 0.5f * w;
            }
        }
    if (lanes > 1)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            component(dmu, i) = warp_sum(component(dmu, i));
            component(dlogvar, i) = warp_sum(component(dlogvar, i));
        }
    return {dmu, dlogvar};
}

template <int lanes>
__device__ __forceinline__ void pull_all_back(const Out& dhead, const Out16& dhead16, const In& dz, const In& z,
                                              const In& head, const In& eps, const In& weight, Plan* plan, int samples,
                                              int direct) {
    const In mu = columns_of(head, 0, dz.cols);  // half of the columns: as many quads as there are
    for (Quads q(mu, 0, lanes); q.more(); q.next()) {
        const HeadQuad d =
            pull_back<lanes>(q.row, q.col, dz, z, head, eps, weight, &plan->now, samples, direct);
        if (threadIdx.x % lanes == 0) store_head(dhead, dhead16, plan, dz.cols, q.row, q.col, d);
    }
}

// Where mu and logvar are constants of log q(z|x) (Roeder et al. 2017), with w as above and s = 1, or of iwae the draw's share of the
// weights of its example, s = weight[row] step.rows (Tucker et al. 2019, equation 8):
// dz' = s (dz + w (z - eps / sigma)),  dmu = sum_k dz',  dlogvar = sum_k dz' 1/2 sigma eps                sigma = exp(logvar / 2)
// Zero from step.rows on. A warp for each quad, each lane with samples of its own.
extern "C" __global__ void __launch_bounds__(128) reparam_backward_path(Out dhead, Out16 dhead16, In dz, In z, In head,
                                                                        In eps, In weight, Plan* plan, int samples,
                                                                        int iwae) {
    begin();
    const Step* step = &plan->now;
    const int latent = dz.cols, lane = (int)threadIdx.x % 32;
    const In mu = columns_of(head, 0, latent);
    for (Quads q(mu, 0, 32); q.more(); q.next()) {
        const int example = q.row, col = q.col;
        float4 dmu = {0.0f, 0.0f, 0.0f, 0.0f}, dlogvar = dmu, sigma = {1.0f, 1.0f, 1.0f, 1.0f};
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (col + i < latent) component(sigma, i) = expf(0.5f * head(example, latent + col + i));
        if (example < (int)step->rows)
            for (int k = lane; k < samples; k += 32) {
                const int row = example * samples + k;
                const float own = weight(row, 0), w = iwae ? own : own * step->beta;
                const float share = iwae ? own * (float)step->rows : 1.0f;
                float4 noise = noise4(eps, *step, samples, row, col), d = load4(dz, row, col), value = load4(z, row, col);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (col + i >= latent) continue;
                    const float e = component(noise, i), s = component(sigma, i);
                    const float total = share * (component(d, i) + w * (component(value, i) - e / s));
                    component(dmu, i) += total;
                    component(dlogvar, i) += 0.5f * total * s * e;
                }
            }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            component(dmu, i) = warp_sum(component(dmu, i));
            component(dlogvar, i) = warp_sum(component(dlogvar, i));
        }
        if (lane == 0) store_head(dhead, dhead16, plan, latent, example, col, {dmu, dlogvar});
    }
}

// dhead assigned. `spread`: a warp for each quad, for one lane would wait for the noise of every sample in turn.
extern "C" __global__ void __launch_bounds__(128) reparam_backward(Out dhead, Out16 dhead16, In dz, In z, In head,
                                                                   In eps, In weight, Plan* plan, int samples,
                                                                   int direct, int spread) {
    begin();
    if (spread) pull_all_back<32>(dhead, dhead16, dz, z, head, eps, weight, plan, samples, direct);
    else pull_all_back<1>(dhead, dhead16, dz, z, head, eps, weight, plan, samples, direct);
}
