// -log p(x) of a count and its slopes, as src/counts.rs has them: without the large logarithms of factorials and gammas
// that cancel (Loader 2000). x is whole, o the logarithm of the mean m, a that of the dispersion 1 / r.
#pragma once

// Where asymptotic series begin.
constexpr float kFrom = 8.0f;
// Beyond it a log-dispersion stays there.
constexpr float kSteepest = 20.0f;
// Beyond it m, which f32 does not hold for long, outweighs r beyond the digits of f64.
constexpr float kLargest = 80.0f;

// log G(v + 1) - (v + 1/2) log v + v - 1/2 log 2 pi, for v from kFrom on.
__device__ __forceinline__ float tail_series(float v) {
    const float i = 1.0f / v, s = i * i;
    return i * (1.0f / 12.0f + s * (-1.0f / 360.0f + s * (1.0f / 1260.0f)));
}

// The same for any v, by the recurrence.
__device__ __forceinline__ float tail(float v) {
    if (!(v < kFrom)) return tail_series(v);
    const float from = v + kFrom, squared = from * from, fourth = squared * squared;
    float product = from;
#pragma unroll
    for (int i = 1; i < 8; ++i) product *= v + (float)i;
    return tail_series(from) + ((v + 0.5f) * logf(from / v) - kFrom - logf(product / (fourth * fourth)));
}

// psi(v) - log v
__device__ __forceinline__ float digamma_less_log(float v) {
    const bool few = v < kFrom;
    const float from = few ? v + kFrom : v, i = 1.0f / from, s = i * i;
    float d = -0.5f * i + s * (-1.0f / 12.0f + s * (1.0f / 120.0f + s * (-1.0f / 252.0f)));
    if (few) {
        // sum 1 / (v + k) for k to 7: k and 7 - k make (2 v + 7) / (u + k (7 - k)), and two of these one quotient.
        const float u = v * (v + 7.0f);
        const float outer = (u + u + 6.0f) / (u * (u + 6.0f)), inner = (u + u + 22.0f) / ((u + 10.0f) * (u + 12.0f));
        d += logf(from / v) - (v + v + 7.0f) * (outer + inner);
    }
    return d;
}

// log x! - x log x + x
__device__ __forceinline__ float at_best(float x) {
    if (!(x < kFrom)) return 0.5f * logf(6.283185307179586f * x) + tail_series(x);
    float factorial = 1.0f;
#pragma unroll
    for (int i = 2; i < 8; ++i)
        if (x >= (float)i) factorial *= (float)i;
    return logf(factorial) - x * logf(fmaxf(x, 1.0f)) + x;
}

// exp(u) - 1 - u
__device__ __forceinline__ float excess(float u) { return expm1f(u) - u; }

__device__ __forceinline__ float poisson(float o, float x) {
    return x > 0.0f ? x * excess(o - logf(x)) + at_best(x) : expf(o);
}

__device__ __forceinline__ float poisson_slope(float o, float x) { return expf(o) - x; }

// What a negative binomial's value and slopes are made of: n = r + x, w = (x - m) / (r + m), log = log(1 + w).
struct Count {
    float o, x, r, n, w, log;
    bool moves;  // whether r is a function of a here
    __device__ __forceinline__ Count(float o, float a, float x) : o(o), x(x) {
        moves = fabsf(a) <= kSteepest;
        a = a > kSteepest ? kSteepest : a < -kSteepest ? -kSteepest : a;  // a NaN stays one
        r = expf(-a);
        n = r + x;
        const float within = o > kLargest ? kLargest : o;
        const float m = expf(within);
        w = (x - m) / (r + m);
        log = fabsf(w) < 0.5f ? log1pf(w) : logf(n / (r + m)) + (within - o);
    }
};

__device__ __forceinline__ float negative_binomial(const Count& c) {
    if (!(c.x > 0.0f)) return -c.r * c.log;
    const float at = c.x * excess(c.o - logf(c.x) + c.log) + c.r * (c.w - c.log) + at_best(c.x);
    return at + (tail(c.r) - tail(c.n) + 0.5f * logf(c.n / c.r));
}

// Its slopes in o and in a.
__device__ __forceinline__ float negative_binomial_slope(const Count& c) { return -c.r * c.w; }
__device__ __forceinline__ float dispersion_slope(const Count& c) {
    if (!c.moves) return 0.0f;
    return c.r * (c.log - c.w + (digamma_less_log(c.n) - digamma_less_log(c.r)));
}
