// The bound on log p(x) of each example, what the loss takes from each sample, and the metrics of the step.
#pragma once
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

enum Objective { Elbo = 0, ElboMc = 1, Iwae = 2 };

// -log p(x|z) of a row: one number, or the parts that the blocks of a product have left.
__device__ __forceinline__ float nll_of(const In& nll, int row) {
    if (nll.cols == 1) return nll(row, 0);
    float sum = 0.0f;
#pragma unroll 4
    for (int col = 0; col < nll.cols; col += 4) {
        const float4 quad = load4(nll, row, col);
        sum += quad.x + quad.y + (quad.z + quad.w);
    }
    return sum;
}

__device__ __forceinline__ double log_weight(float nll, float ratio) { return -(double)nll - (double)ratio; }

// A weight, of which the greatest is 1. Of the difference f32 has digits enough, and a GPU that is not made for data centres
// takes sixty times as long for exp in double.
__device__ __forceinline__ float weight_beside(double log_max, float nll, float ratio) {
    return expf((float)(log_weight(nll, ratio) - log_max));
}

// For K samples z_bk per example:
//   elbo     bound[b] = 1/K sum_k (-nll) - beta kl[b];       weight = 1 / (rows K)       estimator B
//   elbo-mc  bound[b] = 1/K sum_k (-nll - beta ratio);       weight = 1 / (rows K)       estimator A
//   iwae     bound[b] = log 1/K sum_k exp(-nll - ratio);     weight = softmax_k / rows   Burda et al. 2016
// The logarithms of the weights are in double: of a sum of several hundred nats, f32 leaves four digits to exp.
// weight[b K + k] = d loss / d nll of that row; zero, as the bound, from step.rows on.
// metrics[slot] = loss, nll, kl, and 0 where all three are finite; else 1, and the plan is halted.
// loss = -mean bound; with free bits mean nll + beta sum_j max(free_bits, kl_dim[j]).
// bound, kl: (rows, 1), weight, ratio: (rows K, 1), nll: (rows K, 1 or parts), kl_dim: (1, latent).  One block.
__device__ __forceinline__ void bound_of_batch(const Out& bound, const Out& weight, const Out& metrics, const In& nll,
                                               const In& kl, const In& kl_dim, const In& ratio, Plan* plan,
                                               int samples, int objective, float free_bits, float* scratch) {
    const int rows = (int)plan->now.rows;
    const float beta = plan->now.beta, k_inverse = 1.0f / (float)samples, even = k_inverse / (float)rows;
    const bool softmax = objective == Iwae && samples > 1;  // of one sample it is 1, and the bound log w
    // A warp for each example, or a thread if it has one sample.
    const int width = samples == 1 ? 1 : 32, lane = (int)threadIdx.x % width;
    float bounds = 0.0f, nlls = 0.0f, kls = 0.0f;
    for (int b = (int)threadIdx.x / width; b < bound.rows; b += (int)blockDim.x / width) {
        float nll_sum = 0.0f, log_sum = 0.0f;
        double log_max = -INFINITY;
        const float share = objective == Elbo ? 0.0f : objective == Iwae ? 1.0f : beta;
        for (int k = lane; k < samples; k += width) {
            const float n = nll_of(nll, b * samples + k), r = ratio(b * samples + k, 0);
            nll_sum += n;
            log_sum += -n - share * r;
            if (softmax) log_max = fmax(log_max, log_weight(n, r));
        }
        if (width == 32) {
            nll_sum = warp_sum(nll_sum);
            log_sum = warp_sum(log_sum);
            log_max = warp_max(log_max);
        }
        float value = log_sum * k_inverse;
        double weights = 0.0;
        if (objective == Elbo) value -= beta * kl(b, 0);
        if (softmax) {
            for (int k = lane; k < samples; k += width)
                weights += weight_beside(log_max, nll(b * samples + k, 0), ratio(b * samples + k, 0));
            if (width == 32) weights = warp_sum(weights);
            value = (float)(log_max + log(weights / samples));
        }
        for (int k = lane; k < samples; k += width) {
            const int row = b * samples + k;
            float w = even;
            if (softmax) w = weight_beside(log_max, nll(row, 0), ratio(row, 0)) / (float)(weights * rows);
            weight(row, 0) = b < rows ? w : 0.0f;
        }
        if (lane == 0) {
            bound(b, 0) = b < rows ? value : 0.0f;
            if (b < rows) {
                bounds += value;
                nlls += nll_sum * k_inverse;
                kls += kl(b, 0);
            }
        }
    }
    float bits = 0.0f;
    for (int j = threadIdx.x; j < kl_dim.cols; j += blockDim.x) bits += fmaxf(free_bits, kl_dim(0, j));
    bounds = block_sum(bounds, scratch);
    nlls = block_sum(nlls, scratch);
    kls = block_sum(kls, scratch);
    bits = block_sum(bits, scratch);
    if (threadIdx.x == 0) {
        const float mean_nll = nlls / (float)rows, mean_kl = kls / (float)rows;
        const bool floored = objective == Elbo && free_bits > 0.0f;
        const float loss = floored ? mean_nll + beta * bits : -bounds / (float)rows;
        const bool finite = isfinite(loss) && isfinite(mean_nll) && isfinite(mean_kl);
        const int slot = (int)plan->now.slot;
        metrics(slot, 0) = loss;
        metrics(slot, 1) = mean_nll;
        metrics(slot, 2) = mean_kl;
        metrics(slot, 3) = finite ? 0.0f : 1.0f;
        if (!finite) plan->halted = 1;
    }
}

extern "C" __global__ void __launch_bounds__(512, 1) bound(Out bound, Out weight, Out metrics, In nll, In kl, In kl_dim,
                                                         In ratio, Plan* plan, int samples, int objective,
                                                         float free_bits) {
    begin();
    __shared__ float scratch[32];
    bound_of_batch(bound, weight, metrics, nll, kl, kl_dim, ratio, plan, samples, objective, free_bits, scratch);
}
