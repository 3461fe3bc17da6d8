// Adam (Kingma & Ba 2015), and adamw (Loshchilov & Hutter 2019), of one parameter.
#pragma once
#include "step.cuh"

// To two units in the last place, little beside what a sum of gradients has lost, and a third of the instructions: they
// are what a launch that is over in microseconds is long of.
__device__ __forceinline__ float quick_sqrt(float x) {
#ifdef __CUDA_ARCH__
    float y;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return sqrtf(x);
#endif
}
__device__ __forceinline__ float quick_quotient(float x, float y) {
#ifdef __CUDA_ARCH__
    return __fdividef(x, y);
#else
    return x / y;
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
        if (root > 0.0f) w -= quick_quotient(rate * m, root);  // eps may be 0: padding stays 0
    }
};
