// The update of all parameters, flat. The formulas of torch.optim, from Kingma & Ba 2015, Loshchilov & Hutter 2019,
// Duchi et al. 2011. Padding has gradient zero and value zero, and every rule leaves it there.
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
// (where `partial` has rows) and has the weight decay `decay` in it.
template <class Rule>
__device__ __forceinline__ void update(const Out& w, const In& g, const In& partial, const Out& metrics,
                                       const Plan* plan, float clip, float decay, double* scratch, Rule rule) {
    const float scale = partial.rows ? clip_scale(partial, clip, scratch) : 1.0f;
    if (plan->halted) {
        if (blockIdx.x == 0 && threadIdx.x == 0) metrics((int)plan->now.slot, 3) = (float)plan->halted;
        return;
    }
    for (Quads q(w); q.more(); q.next()) {
        float4 value = load4(w, 0, q.col), d = load4(g, 0, q.col);
#pragma unroll
        for (int i = 0; i < 4; ++i) component(d, i) = scale * component(d, i) + decay * component(value, i);
        rule(q.col, value, d);
        store4(w, 0, q.col, value);
    }
}

// w -= lr g
extern "C" __global__ void __launch_bounds__(256) sgd(Out w, In g, In partial, Out metrics, const Plan* plan, float clip,
                                                      float decay) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, g, partial, metrics, plan, clip, decay, scratch, [&](int, float4& value, float4& d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) component(value, i) -= lr * component(d, i);
    });
}

// m = momentum m + g,  w -= lr m
extern "C" __global__ void __launch_bounds__(256) momentum(Out w, Out m, In g, In partial, Out metrics, const Plan* plan,
                                                           float clip, float decay, float factor) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, g, partial, metrics, plan, clip, decay, scratch, [&](int col, float4& value, float4& d) {
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
extern "C" __global__ void __launch_bounds__(256) adagrad(Out w, Out s, In g, In partial, Out metrics, const Plan* plan, float clip,
                                                          float decay, float eps) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr;
    update(w, g, partial, metrics, plan, clip, decay, scratch, [&](int col, float4& value, float4& d) {
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

// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
// w -= lr / correction1 m / (sqrt(v / correction2) + eps), and with `shrink` (adamw) first w -= lr shrink w.
// rest1 and rest2 are 1 - beta1 and 1 - beta2, which in f32 would lose four digits here.
extern "C" __global__ void __launch_bounds__(256) adam(Out w, Out m, Out v, In g, In partial, Out metrics, const Plan* plan,
                                                       float clip, float decay, float shrink, float beta1, float rest1,
                                                       float beta2, float rest2, float eps) {
    begin();
    __shared__ double scratch[32];
    const float lr = plan->now.lr, rate = lr / plan->now.correction1, root2 = sqrtf(plan->now.correction2);
    update(w, g, partial, metrics, plan, clip, decay, scratch, [&](int col, float4& value, float4& d) {
        float4 first = load4(m, 0, col), second = load4(v, 0, col);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            component(first, i) = beta1 * component(first, i) + rest1 * component(d, i);
            component(second, i) = beta2 * component(second, i) + rest2 * component(d, i) * component(d, i);
            component(value, i) -= lr * shrink * component(value, i);
            const float root = sqrtf(component(second, i)) / root2 + eps;
            if (root > 0.0f) component(value, i) -= rate * component(first, i) / root;
        }
        store4(m, 0, col, first);
        store4(v, 0, col, second);
    });
}
