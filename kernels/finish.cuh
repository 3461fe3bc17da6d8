// What follows a product of a linear layer, forward or backward, in the same launch.
#pragma once
#include "activation.cuh"
#include "step.cuh"
#include "view.cuh"

// Of the sums: + bias where it has rows, kept in `pre` where that has rows; with `out`, the output (of gelu, the input) of
// a nonlinearity f: multiplied by its slope there; else f itself.
struct Finish {
    Out c;
    Out16 c16;
    Out pre;
    In bias, out;
    Plan* plan;
    int f;
    __device__ __forceinline__ void operator()(int row, int col, float4 v) const {
        if (row >= c.rows || col >= c.cols) return;
        if (bias.rows) {
            const float4 b = load4(bias, 0, col);
            v = {v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w};
        }
        if (pre.rows) store4(pre, row, col, v);
        if (out.rows) {
            v = times_slope(f, v, load4(out, row, col));
        } else {
            v = activate(f, v);
        }
        store4(c, row, col, v);
        store4(c16, row, col, v);
        note_size(plan, v);
    }
    __device__ __forceinline__ void total(const Out&, int, float) const {}
};
