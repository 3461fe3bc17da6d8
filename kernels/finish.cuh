// What follows a product of a linear layer, forward or backward, in the same launch.
#pragma once
#include "activation.cuh"
#include "bernoulli.cuh"
#include "reduce.cuh"
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
            v = v + load4(bias, 0, col);
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

// Where the sums are the logits of a Bernoulli and each example has one sample: + bias, and bernoulli_both, whose sum over this
// block's columns goes to parts(row, block). `per_row` threads share a row.
struct BernoulliFinish {
    Out c, parts, dout;
    Out16 dout16;
    In bias, x;
    Plan* plan;
    int per_row, block;
    __device__ __forceinline__ void operator()(int row, int col, float4 v) const {
        float sum = 0.0f;
        if (row < c.rows && col < c.cols) {
            v = v + load4(bias, 0, col);
            store4(c, row, col, v);
            const int rows = (int)plan->now.rows;
            const float w = row < rows ? 1.0f / (float)rows : 0.0f;
            sum = bernoulli_quad(dout, dout16, plan, row, col, x.cols, v, load4(x, row, col), w);
        }
        sum = sum_of_lanes(sum, per_row);
        if ((int)threadIdx.x % per_row == 0 && row < c.rows) parts(row, block) = sum;
    }
    __device__ __forceinline__ void total(const Out&, int, float) const {}
};
