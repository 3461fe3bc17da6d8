// -log p(x|z) of a Bernoulli from its logits, four of them, and what they add to the gradient.
#pragma once
#include "activation.cuh"
#include "missing.cuh"
#include "step.cuh"
#include "view.cuh"

// softplus(l) - l x: -[x log s(l) + (1 - x) log(1 - s(l))], and its gradient s(l) - x.
__device__ __forceinline__ float bernoulli(float l, float x) {
    return observed(x, fmaxf(l, 0.0f) - l * x + log1pf(expf(-fabsf(l))));
}

__device__ __forceinline__ float bernoulli_slope(float l, float x) { return observed(x, sigmoid(l) - x); }

// The sum over the quad at (row, col), logits l and data t; dout = w (s(l) - t). The rows from step.rows on have w = 0, and
// dout too.
__device__ __forceinline__ float bernoulli_quad(const Out& dout, const Out16& dout16, Plan* plan, int row, int col,
                                                int cols, float4 l, float4 t, float w) {
    float4 d = {0.0f, 0.0f, 0.0f, 0.0f};
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (col + i < cols) {
            sum += bernoulli(component(l, i), component(t, i));
            if (w > 0.0f) component(d, i) = w * bernoulli_slope(component(l, i), component(t, i));
        }
    note_size(plan, d);
    store4(dout, row, col, d);
    store4(dout16, row, col, d);
    return sum;
}
