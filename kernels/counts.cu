// -log p(x|z) of counts, in nats, and its gradient, of what is observed of x; and what the encoder sees of them. Row b K + k
// of `out`, the logarithm of the mean, belongs to row b of x.     x: (rows, input), nll, weight: (rows K, 1), out: (rows K, input)
#include "counts.cuh"
#include "dispersion.cuh"
#include "missing.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// y = log(1 + x); 0 where x is missing.                                                         x, y: (rows, input)
extern "C" __global__ void __launch_bounds__(256) log1p_forward(Out y, Out16 y16, In x, Plan* plan) {
    begin();
    for (Quads q(x); q.more(); q.next()) {
        float4 v = load4(x, q.row, q.col);
        v = {logf(1.0f + v.x), logf(1.0f + v.y), logf(1.0f + v.z), logf(1.0f + v.w)};
        note_size(plan, v);
        store4(y, q.row, q.col, v);
        store4(y16, q.row, q.col, v);
    }
}

// nll[row] = sum_j poisson(o, x).  A block for each row.
extern "C" __global__ void __launch_bounds__(256) poisson_forward(Out nll, In out, In x, int samples) {
    begin();
    __shared__ float scratch[32];
    const int row = blockIdx.x, example = row / samples;
    float sum = 0.0f;
    for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
        const float t = x(example, col);
        sum += observed(t, poisson(out(row, col), t));
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = sum;
}

// dout = weight (exp(o) - x); zero from step.rows on.
extern "C" __global__ void __launch_bounds__(256) poisson_backward(Out dout, Out16 dout16, In out, In x, In weight,
                                                                   Plan* plan, int samples) {
    begin();
    const int rows = (int)plan->now.rows;
    for (Quads q(out); q.more(); q.next()) {
        const int example = q.row / samples;
        float4 d = {0.0f, 0.0f, 0.0f, 0.0f};
        if (example < rows) {
            const float4 o = load4(out, q.row, q.col), t = load4(x, example, q.col);
            const float w = weight(q.row, 0);
#pragma unroll
            for (int i = 0; i < 4; ++i)
                component(d, i) = observed(component(t, i), w * poisson_slope(component(o, i), component(t, i)));
        }
        note_size(plan, d);
        store4(dout, q.row, q.col, d);
        store4(dout16, q.row, q.col, d);
    }
}

// nll[row] = sum_j negative_binomial(o, a, x).  A block for each row.
extern "C" __global__ void __launch_bounds__(256) negative_binomial_forward(Out nll, In out, In dispersion, In x,
                                                                            int samples) {
    begin();
    __shared__ float scratch[32];
    const LogDispersion a = {dispersion, 0.0f};
    const int row = blockIdx.x, example = row / samples;
    float sum = 0.0f;
    for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
        const float t = x(example, col);
        sum += observed(t, negative_binomial(out(row, col), a(row, col), t));
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = sum;
}

// dout = weight times the slope in o; zero from step.rows on.
// ddispersion = weight times that in a, where each element has its own (network): else ddispersion has no rows.
// partial[block] = the sum of it over the rows of this block, where one serves all (scalar): else no rows.
extern "C" __global__ void __launch_bounds__(256) negative_binomial_backward(Out dout, Out16 dout16, Out ddispersion,
                                                                             Out16 ddispersion16, Out partial, In out,
                                                                             In dispersion, In x, In weight,
                                                                             Plan* plan, int samples) {
    begin();
    __shared__ float scratch[32];
    const LogDispersion a = {dispersion, 0.0f};
    const int rows = (int)plan->now.rows;
    float sum = 0.0f;
    for (int row = blockIdx.x; row < out.rows; row += gridDim.x) {
        const int example = row / samples;
        const bool real = example < rows;
        const float w = real ? weight(row, 0) : 0.0f;
        for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
            float d = 0.0f, da = 0.0f;
            const float t = x(example, col);
            if (real && !is_missing(t)) {
                const Count c(out(row, col), a(row, col), t);
                d = w * negative_binomial_slope(c);
                if (ddispersion.rows || partial.rows) da = w * dispersion_slope(c);
            }
            note_size(plan, d);
            dout(row, col) = d;
            if (dout16.rows) dout16(row, col) = bf16(d);
            if (ddispersion.rows) {
                note_size(plan, da);
                ddispersion(row, col) = da;
                if (ddispersion16.rows) ddispersion16(row, col) = bf16(da);
            }
            sum += da;
        }
    }
    if (partial.rows) {
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) partial(0, blockIdx.x) = sum;
    }
}

// ddispersion[col] = sum_row weight times the slope in a.       dispersion, ddispersion: (1, input). A block for 8 columns.
extern "C" __global__ void __launch_bounds__(256) negative_binomial_shared_backward(Out ddispersion, In out,
                                                                                    In dispersion, In x, In weight,
                                                                                    Plan* plan, int samples) {
    begin();
    __shared__ float scratch[8][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2), rows = (int)plan->now.rows * samples;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    if (col < x.cols) {
        float4 a = load4(dispersion, 0, col);
        for (int row = threadIdx.x / 2; row < rows; row += blockDim.x / 2) {
            float4 o = load4(out, row, col), t = load4(x, row / samples, col);
            const float w = weight(row, 0);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float x_i = component(t, i);
                component(sum, i) += observed(x_i, w * dispersion_slope(Count(component(o, i), component(a, i), x_i)));
            }
        }
    }
    const float total = column_sum(sum, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < x.cols) {
        ddispersion(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
