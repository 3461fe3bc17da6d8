// -log p(x|z), in nats, and its gradient, of what is observed of x. Row b K + k of `out` belongs to row b of x.
// x: (rows, input), nll, weight: (rows K, 1), out: (rows K, input)
#include "bernoulli.cuh"
#include "dispersion.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// nll[row] = sum_j bernoulli(l, x), from the logits l.  A block for each row.
extern "C" __global__ void __launch_bounds__(256) bernoulli_forward(Out nll, In out, In x, int samples) {
    begin();
    __shared__ float scratch[32];
    const int row = blockIdx.x, example = row / samples;
    float sum = 0.0f;
    for (int col = 4 * threadIdx.x; col < x.cols; col += 4 * blockDim.x) {
        const float4 l = load4(out, row, col), t = load4(x, example, col);
        sum += bernoulli(l.x, t.x);
        if (col + 1 < x.cols) sum += bernoulli(l.y, t.y);
        if (col + 2 < x.cols) sum += bernoulli(l.z, t.z);
        if (col + 3 < x.cols) sum += bernoulli(l.w, t.w);
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = sum;
}

// dout = weight (s(l) - x); zero from step.rows on.
extern "C" __global__ void __launch_bounds__(256) bernoulli_backward(Out dout, Out16 dout16, In out, In x, In weight,
                                                                     Plan* plan, int samples) {
    begin();
    const Step* step = &plan->now;
    for (Quads q(out); q.more(); q.next()) {
        const int example = q.row / samples;
        float4 d = {0.0f, 0.0f, 0.0f, 0.0f};
        if (example < (int)step->rows) {
            const float4 l = load4(out, q.row, q.col), t = load4(x, example, q.col);
            const float w = weight(q.row, 0);
            d = {w * bernoulli_slope(l.x, t.x), w * bernoulli_slope(l.y, t.y), w * bernoulli_slope(l.z, t.z),
                 w * bernoulli_slope(l.w, t.w)};
        }
        note_size(plan, d);
        store4(dout, q.row, q.col, d);
        store4(dout16, q.row, q.col, d);
    }
}

// Both at once, where the weight is known beforehand: 1 / (step.rows K), as `bound` has it.  A block for each row.
extern "C" __global__ void __launch_bounds__(256) bernoulli_both(Out nll, Out dout, Out16 dout16, In out, In x,
                                                                 Plan* plan, int samples) {
    begin();
    __shared__ float scratch[32];
    const int row = blockIdx.x, example = row / samples, rows = (int)plan->now.rows;
    const float w = example < rows ? 1.0f / (float)samples / (float)rows : 0.0f;
    float sum = 0.0f;
    for (int col = 4 * threadIdx.x; col < x.cols; col += 4 * blockDim.x)
        sum += bernoulli_quad(dout, dout16, x, plan, row, example, col, load4(out, row, col), w);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = sum;
}

// nll[row] = 1/2 sum_j (log 2 pi + logvar + (x - m)^2 exp(-logvar)), m = out or s(out).  A block for each row.
extern "C" __global__ void __launch_bounds__(256) gaussian_forward(Out nll, In out, In logvar, In x, int samples,
                                                                   int squash, float fixed) {
    begin();
    __shared__ float scratch[32];
    const LogDispersion lv = {logvar, fixed};
    const int row = blockIdx.x, example = row / samples;
    float sum = 0.0f;
    for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
        const float o = out(row, col), t = x(example, col), error = t - (squash ? sigmoid(o) : o), v = lv(row, col);
        sum += observed(t, 1.8378770664093453f + v + error * error * expf(-v));
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = 0.5f * sum;
}

// dout = weight (m - x) exp(-logvar) dm/dout; zero from step.rows on.
// dlogvar = weight 1/2 (1 - (x - m)^2 exp(-logvar)), where each element has its own (network): else dlogvar has no rows.
// partial[block] = the sum of dlogvar over the rows of this block, where one serves all (scalar): else no rows.
extern "C" __global__ void __launch_bounds__(256) gaussian_backward(Out dout, Out16 dout16, Out dlogvar,
                                                                    Out16 dlogvar16, Out partial, In out,
                                                                    In logvar, In x, In weight, Plan* plan,
                                                                    int samples, int squash, float fixed) {
    begin();
    __shared__ float scratch[32];
    const LogDispersion lv = {logvar, fixed};
    const int rows = (int)plan->now.rows;
    float sum = 0.0f;
    for (int row = blockIdx.x; row < out.rows; row += gridDim.x) {
        const int example = row / samples;
        const bool real = example < rows;
        const float w = real ? weight(row, 0) : 0.0f;
        for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
            float d = 0.0f, dv = 0.0f;
            const float t = x(example, col);
            if (real && !is_missing(t)) {
                const float o = out(row, col), m = squash ? sigmoid(o) : o, precision = expf(-lv(row, col));
                const float error = m - t;
                d = w * error * precision * (squash ? m * (1.0f - m) : 1.0f);
                dv = w * 0.5f * (1.0f - error * error * precision);
            }
            note_size(plan, d);
            dout(row, col) = d;
            if (dout16.rows) dout16(row, col) = bf16(d);
            if (dlogvar.rows) {
                note_size(plan, dv);
                dlogvar(row, col) = dv;
                if (dlogvar16.rows) dlogvar16(row, col) = bf16(dv);
            }
            sum += dv;
        }
    }
    if (partial.rows) {
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) partial(0, blockIdx.x) = sum;
    }
}

// The second stage of a scalar log-dispersion: its gradient is the sum of what the blocks left.  One block.
extern "C" __global__ void __launch_bounds__(256) dispersion_scalar_backward(Out ddispersion, In partial, Plan* plan) {
    begin();
    __shared__ float scratch[32];
    float sum = 0.0f;
    for (int i = threadIdx.x; i < partial.cols; i += blockDim.x) sum += partial(0, i);
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        ddispersion(0, 0) = sum;
        note_gradient(plan, sum * sum);
    }
}

// dlogvar[col] = sum_row weight 1/2 (1 - (x - m)^2 exp(-logvar)).  logvar, dlogvar: (1, input). A block for 8 columns.
extern "C" __global__ void __launch_bounds__(256) logvar_shared_backward(Out dlogvar, In out, In logvar, In x,
                                                                         In weight, Plan* plan, int samples,
                                                                         int squash) {
    begin();
    __shared__ float scratch[8][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2), rows = (int)plan->now.rows * samples;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    if (col < x.cols) {
        float4 v = load4(logvar, 0, col);
        for (int row = threadIdx.x / 2; row < rows; row += blockDim.x / 2) {
            float4 o = load4(out, row, col), t = load4(x, row / samples, col);
            const float w = weight(row, 0);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float m = squash ? sigmoid(component(o, i)) : component(o, i), error = m - component(t, i);
                component(sum, i) +=
                    observed(component(t, i), w * 0.5f * (1.0f - error * error * expf(-component(v, i))));
            }
        }
    }
    const float total = column_sum(sum, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < x.cols) {
        dlogvar(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
