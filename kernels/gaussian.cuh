// -log p(x|z) of a Gaussian, in nats, and its slopes.
#pragma once
#include "activation.cuh"

// A column of a Gaussian: m = out or s(out), v its log-variance.
struct GaussianColumn {
    float error, v, dm;  // x - m, log-variance, dm / dout
    __device__ __forceinline__ GaussianColumn(float o, float v, float t, int squash) : v(v) {
        const float m = squash ? sigmoid(o) : o;
        error = t - m;
        dm = squash ? m * (1.0f - m) : 1.0f;
    }
    // 1/2 (log 2 pi + v + (x - m)^2 exp(-v))
    __device__ __forceinline__ float value() const {
        return 0.5f * (1.8378770664093453f + v + error * error * expf(-v));
    }
    __device__ __forceinline__ float slope() const { return -error * expf(-v) * dm; }
    __device__ __forceinline__ float spread() const { return 0.5f * (1.0f - error * error * expf(-v)); }
};
