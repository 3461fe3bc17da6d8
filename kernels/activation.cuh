// The nonlinearities and their derivatives; numbered as `activation` of src/device/gpu/mod.rs numbers them.
#pragma once

enum Activation { Identity = 0, Tanh = 1, Relu = 2, Softplus = 3, Gelu = 4, Sigmoid = 5 };

// 1 / (1 + exp(-x)), without overflow on either side.
__device__ __forceinline__ float sigmoid(float x) {
    const float e = expf(-fabsf(x)), s = 1.0f / (1.0f + e);
    return x >= 0.0f ? s : e * s;
}

// log(1 + exp(x)), without overflow.
__device__ __forceinline__ float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

constexpr float kGelu = 0.7978845608028654f, kCubic = 0.044715f;  // sqrt(2 / pi)

// f(a)
__device__ __forceinline__ float activate(int f, float a) {
    switch (f) {
        case Tanh: return tanhf(a);
        case Relu: return a > 0.0f ? a : a == a ? 0.0f : a;  // a NaN stays one: fmaxf would hide it
        case Softplus: return a == a ? softplus(a) : a;
        case Gelu: return 0.5f * a * (1.0f + tanhf(kGelu * (a + kCubic * a * a * a)));
        case Sigmoid: return sigmoid(a);
        default: return a;
    }
}

// f'(a), from y = f(a); of gelu alone from a.
__device__ __forceinline__ float slope(int f, float y) {
    switch (f) {
        case Tanh: return 1.0f - y * y;
        case Relu: return y > 0.0f ? 1.0f : 0.0f;
        case Softplus: return -expm1f(-y);  // sigmoid(a) = 1 - exp(-softplus(a))
        case Gelu: {
            const float a = y, t = tanhf(kGelu * (a + kCubic * a * a * a));
            return 0.5f * (1.0f + t) + 0.5f * a * (1.0f - t * t) * kGelu * (1.0f + 3.0f * kCubic * a * a);
        }
        case Sigmoid: return y * (1.0f - y);
        default: return 1.0f;
    }
}

// Four of them.
__device__ __forceinline__ float4 activate(int f, float4 a) {
    return {activate(f, a.x), activate(f, a.y), activate(f, a.z), activate(f, a.w)};
}
// d times the slopes. Which nonlinearity it is, is asked once for the four.
template <int f>
__device__ __forceinline__ float4 times_slope(float4 d, float4 y) {
    return {d.x * slope(f, y.x), d.y * slope(f, y.y), d.z * slope(f, y.z), d.w * slope(f, y.w)};
}
__device__ __forceinline__ float4 times_slope(int f, float4 d, float4 y) {
    switch (f) {
        case Tanh: return times_slope<Tanh>(d, y);
        case Relu: return times_slope<Relu>(d, y);
        case Softplus: return times_slope<Softplus>(d, y);
        case Gelu: return times_slope<Gelu>(d, y);
        case Sigmoid: return times_slope<Sigmoid>(d, y);
        default: return d;
    }
}
