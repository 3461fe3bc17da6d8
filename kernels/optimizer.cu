// The update of all parameters, flat. The formulas of torch.optim, from Kingma & Ba 2015, Loshchilov & Hutter 2019,
// Duchi et al. 2011. Padding has gradient zero and value zero, and every rule leaves it there.
#include "adam.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// partial[block] = the sum of g^2 over this block's share: the first stage of the global norm, where one is wanted. It
// says too where g is not finite, for what a library wrote of it.  g: (1, n)
extern "C" __global__ void __launch_bounds__(256) gradient_norm(Out partial, In g, Plan* plan) {
    begin();
    __shared__ float scratch[32];
    float sum = 0.0f;
    for (Quads q(g); q.more(); q.next()) {
        const float4 v = load4(g, 0, q.col);
        sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) {
        if (partial.rows) partial(0, blockIdx.x) = sum;
        note_gradient(plan, sum);
    }
}

// The second stage, the same in every block: what the gradient is multiplied by, as torch's clip_grad_norm_.
// In double: each part is finite, their sum need not be in f32.
__device__ __forceinline__ float clip_scale(const In& partial, float clip, double* scratch) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < partial.cols; i += blockDim.x) sum += partial(0, i);
    sum = block_sum(sum, scratch);
    const float scale = clip / ((float)sqrt(sum) + 1e-6f);
    return scale > 1.0f ? 1.0f : scale;
}

// Calls rule(i, w, g) for every element, unless the run is halted; then the metrics of the step say why. g is clipped
// (where `partial` has rows) and has the weight decay `decay` in it. w16, where it has rows: w in bf16. `left`: see adam.
template <class Rule>
__device__ __forceinline__ void update(const Out& w, const Out16& w16, const In& g, const In& partial,
                                       const Out& metrics, Plan* plan, float clip, float decay, double* scratch,
                                       int left, Rule rule) {
    const float scale = partial.rows ? clip_scale(partial, clip, scratch) : 1.0f;
    if (blockIdx.x == 0 && threadIdx.x == 0) {  // a planned step ends
        ++plan->cursor;
        plan->large = 0;
        if (plan->halted) metrics((int)plan->now.slot, 3) = (float)plan->halted;
    }
    if (plan->halted || (left && !plan->left)) return;
    for (Quads q(w); q.more(); q.next()) {
        float4 value = load4(w, 0, q.col), d = load4(g, 0, q.col);
#pragma unroll
        for (int i = 0; i < 4; ++i) component(d, i) = scale * component(d, i) + decay * component(value, i);
        rule(q.col, value, d);
        store4(w, 0, q.col, value);
        store4(w16, 0, q.col, value);
    }
}

// w -= lr g
extern "C" __global__ void __launch_bounds__(256) sgd(Out w, Out16 w16, In g, In partial, Out metrics,
                                                      Plan* plan, float clip, float decay) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, w16, g, partial, metrics, plan, clip, decay, scratch, 0, [&](int, float4& value, float4& d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) component(value, i) -= lr * component(d, i);
    });
}

// m = momentum m + g,  w -= lr m
extern "C" __global__ void __launch_bounds__(256) momentum(Out w, Out16 w16, Out m, In g, In partial,
                                                           Out metrics, Plan* plan, float clip, float decay,
                                                           float factor) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, w16, g, partial, metrics, plan, clip, decay, scratch, 0, [&](int col, float4& value, float4& d) {
        float4 velocity = load4(m, 0, col);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            component(velocity, i) = factor * component(velocity, i) + component(d, i);
            component(value, i) -= lr * component(velocity, i);
        }
        store4(m, 0, col, velocity);
    });
}

// s += g^2,  w -= lr g / (sqrt(s) + eps)
extern "C" __global__ void __launch_bounds__(256) adagrad(Out w, Out16 w16, Out s, In g, In partial,
                                                          Out metrics, Plan* plan, float clip, float decay,
                                                          float eps) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, w16, g, partial, metrics, plan, clip, decay, scratch, 0, [&](int col, float4& value, float4& d) {
        float4 sum = load4(s, 0, col);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            component(sum, i) += component(d, i) * component(d, i);
            const float root = sqrtf(component(sum, i)) + eps;
            if (root > 0.0f) component(value, i) -= lr * component(d, i) / root;  // eps may be 0: padding stays 0
        }
        store4(s, 0, col, sum);
    });
}

// Adam, and adamw: see adam.cuh. `left` 1: the launch of the gradients has done it, unless their factors were large.
extern "C" __global__ void __launch_bounds__(256) adam(Out w, Out16 w16, Out m, Out v, In g, In partial,
                                                       Out metrics, Plan* plan, float clip, float decay,
                                                       float shrink, float beta1, float rest1, float beta2,
                                                       float rest2, float eps, int left) {
    begin();
    __shared__ double scratch[32];
    const Adam rule(plan->now, shrink, beta1, rest1, beta2, rest2, eps);
    update(w, w16, g, partial, metrics, plan, clip, decay, scratch, left, [&](int col, float4& value, float4& d) {
        float4 first = load4(m, 0, col), second = load4(v, 0, col);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            rule(component(value, i), component(first, i), component(second, i), component(d, i));
        store4(m, 0, col, first);
        store4(v, 0, col, second);
    });
}
