// -log p(x|z), in nats, and its gradient, of what is observed of x. Row b K + k of `out` belongs to row b of x.
// x: (rows, input), nll, weight: (rows K, 1), out: (rows K, input)
#include "bernoulli.cuh"
#include "gaussian.cuh"
#include "likelihood.cuh"

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
    const int row = blockIdx.x, example = row / samples;
    const float w = weight_of(In{}, row, samples, plan->now);
    float sum = 0.0f;
    float4 l[kAtOnce], t[kAtOnce];
    auto load = [&](int i, int quad) { l[i] = load4(out, row, 4 * quad), t[i] = load4(x, example, 4 * quad); };
    each(threadIdx.x, (x.cols + 3) / 4, blockDim.x, load, [&](int i, int quad) {
        sum += bernoulli_quad(dout, dout16, plan, row, 4 * quad, x.cols, l[i], t[i], w);
    });
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) nll(row, 0) = sum;
}

// What `log_likelihood` says, of a Gaussian.  A block for some rows.
extern "C" __global__ void __launch_bounds__(256) gaussian_nll(Out nll, Out dout, Out16 dout16, Out dlogvar,
                                                               Out16 dlogvar16, Out partial, In out, In logvar, In x,
                                                               In weight, Plan* plan, int samples, int squash,
                                                               float fixed) {
    begin();
    const LogDispersion lv = {logvar, fixed};
    log_likelihood(nll, dout, dout16, dlogvar, dlogvar16, partial, x, weight, plan, samples,
                   [&](int row, int col, float t) { return GaussianColumn(out(row, col), lv(row, col), t, squash); });
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

// What `shared_dispersion` says, of a Gaussian.
extern "C" __global__ void __launch_bounds__(256) logvar_shared_backward(Out dlogvar, In out, In logvar, In x,
                                                                         In weight, Plan* plan, int samples,
                                                                         int squash) {
    begin();
    shared_dispersion(dlogvar, out, logvar, x, weight, plan, samples,
                      [&](int, float o, float v, float t) { return GaussianColumn(o, v, t, squash); });
}
