// Adam (Kingma & Ba 2015), and adamw (Loshchilov & Hutter 2019), of one parameter.
#pragma once
#include "step.cuh"

// To two units in the last place, little beside what a sum of gradients has lost, and fewer instructions: they
// are what a launch that is over in microseconds is long of. What has lost bits, below 2^-126, counts as zero.
constexpr float kLeast = 0x1p-126f;
__device__ __forceinline__ float quick_sqrt(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return x < kLeast ? 0.0f : sqrtf(x);
#endif
}
// 1 / x, of an x from kLeast on.
__device__ __forceinline__ float quick_inverse(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return 1.0f / x;
#endif
}

// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
// w -= lr / correction1 m / (sqrt(v / correction2) + eps), and with `shrink` (adamw) first w -= lr shrink w.
// rest1 and rest2 are 1 - beta1 and 1 - beta2, which in f32 would lose four digits here.
struct Adam {
    float lr, rate, scale2, shrink, beta1, rest1, beta2, rest2, eps;
    __device__ __forceinline__ Adam(const Step& step, float shrink, float beta1, float rest1, float beta2, float rest2,
                                    float eps)
        : lr(step.lr), rate(step.lr / step.correction1), scale2(1.0f / sqrtf(step.correction2)), shrink(shrink),
          beta1(beta1), rest1(rest1), beta2(beta2), rest2(rest2), eps(eps) {}
    __device__ __forceinline__ void operator()(float& w, float& m, float& v, float g) const {
        m = beta1 * m + rest1 * g;
        v = beta2 * v + rest2 * g * g;
        w -= lr * shrink * w;
        const float root = quick_sqrt(v) * scale2 + eps;
        if (root >= kLeast) w -= rate * m * quick_inverse(root);  // eps may be 0: padding stays 0
    }
};
