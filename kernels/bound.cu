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

// What a thread's examples add to the metrics.
struct Totals {
    float bounds, nlls, kls;
};

// For K samples z_bk per example:
//   elbo     bound[b] = 1/K sum_k (-nll) - beta kl[b];       weight = 1 / (rows K)       estimator B
//   elbo-mc  bound[b] = 1/K sum_k (-nll - beta ratio);       weight = 1 / (rows K)       estimator A
//   iwae     bound[b] = log 1/K sum_k exp(-nll - ratio);     weight = softmax_k / rows   Burda et al. 2016
// The logarithms of the weights are in double: of a sum of several hundred nats, f32 leaves four digits to exp.
// weight[b K + k] = d loss / d nll of that row; zero, as the bound, from step.rows on.
// bound, kl: (rows, 1), weight, ratio: (rows K, 1), nll: (rows K, 1 or parts).
// A warp for each example, or a thread if it has one sample; this is one block of so many that share the examples.
__device__ __forceinline__ Totals bound_of_examples(int block, int blocks, const Out& bound, const Out& weight,
                                                    const In& nll, const In& kl, const In& ratio, const Step& step,
                                                    int samples, int objective) {
    const int rows = (int)step.rows;
    const float beta = step.beta, k_inverse = 1.0f / (float)samples, even = k_inverse / (float)rows;
    const float share = objective == Elbo ? 0.0f : objective == Iwae ? 1.0f : beta;
    const bool softmax = objective == Iwae && samples > 1;  // of one sample it is 1, and the bound log w
    const int width = samples == 1 ? 1 : 32, lane = (int)threadIdx.x % width;
    const int first = (block * (int)blockDim.x + (int)threadIdx.x) / width, apart = blocks * (int)blockDim.x / width;
    Totals sum = {0.0f, 0.0f, 0.0f};
    auto keep = [&](int b, float value, float nll_mean, float kl_b) {
        if (objective == Elbo) value -= beta * kl_b;
        bound(b, 0) = b < rows ? value : 0.0f;
        if (b < rows) sum = {sum.bounds + value, sum.nlls + nll_mean, sum.kls + kl_b};
    };
    if (samples == 1 && nll.cols == 1) {
        float n[kAtOnce], r[kAtOnce], k[kAtOnce];
        auto load = [&](int i, int b) { n[i] = nll(b, 0), r[i] = ratio(b, 0), k[i] = kl(b, 0); };
        each(first, bound.rows, apart, load, [&](int i, int b) {
            weight(b, 0) = b < rows ? even : 0.0f;
            keep(b, -n[i] - share * r[i], n[i], k[i]);
        });
        return sum;
    }
    for (int b = first; b < bound.rows; b += apart) {
        float nll_sum = 0.0f, log_sum = 0.0f;
        double log_max = -INFINITY;
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
        if (lane == 0) keep(b, value, nll_sum * k_inverse, kl(b, 0));
    }
    return sum;
}

// metrics[slot] = loss, nll, kl, and 0 where all three are finite; else 1, and the plan is halted. By one block, from what
// its threads bring.
// loss = -mean bound; with free bits mean nll + beta sum_j max(free_bits, kl_dim[j]).       kl_dim: (1, latent)
__device__ __forceinline__ void metrics_of(const Out& metrics, Totals sum, const In& kl_dim, Plan* plan, int objective,
                                           float free_bits, float* scratch) {
    float bits = 0.0f;
    for (int j = threadIdx.x; j < kl_dim.cols; j += blockDim.x) bits += fmaxf(free_bits, kl_dim(0, j));
    const float bounds = block_sum(sum.bounds, scratch), nlls = block_sum(sum.nlls, scratch);
    const float kls = block_sum(sum.kls, scratch);
    bits = block_sum(bits, scratch);
    if (threadIdx.x == 0) {
        const float rows = (float)(int)plan->now.rows, mean_nll = nlls / rows, mean_kl = kls / rows;
        const bool floored = objective == Elbo && free_bits > 0.0f;
        const float loss = floored ? mean_nll + plan->now.beta * bits : -bounds / rows;
        const bool finite = isfinite(loss) && isfinite(mean_nll) && isfinite(mean_kl);
        const int slot = (int)plan->now.slot;
        metrics(slot, 0) = loss;
        metrics(slot, 1) = mean_nll;
        metrics(slot, 2) = mean_kl;
        metrics(slot, 3) = finite ? 0.0f : 1.0f;
        if (!finite) atomicOr(&plan->halted, (unsigned)Loss);  // a gradient may be noted beside it
    }
}

// Both, by one block.
__device__ __forceinline__ void bound_of_batch(const Out& bound, const Out& weight, const Out& metrics, const In& nll,
                                               const In& kl, const In& kl_dim, const In& ratio, Plan* plan,
                                               int samples, int objective, float free_bits, float* scratch) {
    const Totals sum = bound_of_examples(0, 1, bound, weight, nll, kl, ratio, plan->now, samples, objective);
    metrics_of(metrics, sum, kl_dim, plan, objective, free_bits, scratch);
}

// Of more blocks than one each leaves its totals, and the metrics are another launch's.       partial: (blocks, 3)
extern "C" __global__ void __launch_bounds__(512, 1) bound(Out bound, Out weight, Out metrics, Out partial, In nll,
                                                         In kl, In kl_dim, In ratio, Plan* plan, int samples,
                                                         int objective, float free_bits) {
    begin();
    __shared__ float scratch[32];
    const Totals sum = bound_of_examples((int)blockIdx.x, (int)gridDim.x, bound, weight, nll, kl, ratio, plan->now,
                                         samples, objective);
    if (partial.rows == 0) {
        metrics_of(metrics, sum, kl_dim, plan, objective, free_bits, scratch);
    } else {
        const float bounds = block_sum(sum.bounds, scratch), nlls = block_sum(sum.nlls, scratch);
        const float kls = block_sum(sum.kls, scratch);
        if (threadIdx.x == 0) {
            partial(blockIdx.x, 0) = bounds;
            partial(blockIdx.x, 1) = nlls;
            partial(blockIdx.x, 2) = kls;
        }
    }
}

// One block.
extern "C" __global__ void __launch_bounds__(256) metrics_of_parts(Out metrics, In partial, In kl_dim, Plan* plan,
                                                                   int objective, float free_bits) {
    begin();
    __shared__ float scratch[32];
    Totals sum = {0.0f, 0.0f, 0.0f};
    for (int i = threadIdx.x; i < partial.rows; i += blockDim.x)
        sum = {sum.bounds + partial(i, 0), sum.nlls + partial(i, 1), sum.kls + partial(i, 2)};
    metrics_of(metrics, sum, kl_dim, plan, objective, free_bits, scratch);
}
