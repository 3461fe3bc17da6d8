// -log p(x|z) of counts, in nats, and its gradient, of what is observed of x; and what the encoder sees of them. Row b K + k
// of `out`, the logarithm of the mean, belongs to row b of x.     x: (rows, input), nll, weight: (rows K, 1), out: (rows K, input)
#include "counts.cuh"
#include "kinds.cuh"
#include "likelihood.cuh"

// y = log(1 + x), 0 where x is missing; y = x in the columns whose kinds, if there are any, are no counts.
// x, y: (rows, input), kinds: (1, input)
extern "C" __global__ void __launch_bounds__(256) log1p_forward(Out y, Out16 y16, In x, In kinds, Plan* plan) {
    begin();
    for (Quads q(x); q.more(); q.next()) {
        const float4 v = seen_of(load4(x, q.row, q.col), kinds, q.col);
        note_size(plan, v);
        store4(y, q.row, q.col, v);
        store4(y16, q.row, q.col, v);
    }
}

struct PoissonColumn {
    float o, t;
    __device__ __forceinline__ float value() const { return poisson(o, t); }
    __device__ __forceinline__ float slope() const { return poisson_slope(o, t); }
    __device__ __forceinline__ float spread() const { return 0.0f; }
};

// What `log_likelihood` says, of a Poisson.  A block for some rows.
extern "C" __global__ void __launch_bounds__(256) poisson_nll(Out nll, Out dout, Out16 dout16, In out, In x, In weight,
                                                              Plan* plan, int samples) {
    begin();
    log_likelihood(nll, dout, dout16, Out{}, Out16{}, Out{}, x, weight, plan, samples,
                   [&](int row, int col, float t) { return PoissonColumn{out(row, col), t}; });
}

struct MultinomialColumns {
    In out;
    __device__ __forceinline__ PoissonColumn operator()(int row, int col, float t) const { return {out(row, col), t}; }
    __device__ __forceinline__ float total(float n) const { return at_best(n); }
};

// The same of a multinomial: of Poissons whose means add up to what the counts do, less what the total adds, as if it were
// a Poisson too.  A block for some rows.
extern "C" __global__ void __launch_bounds__(256) multinomial_nll(Out nll, Out dout, Out16 dout16, In out, In x,
                                                                  In weight, Plan* plan, int samples) {
    begin();
    log_likelihood<true>(nll, dout, dout16, Out{}, Out16{}, Out{}, x, weight, plan, samples, MultinomialColumns{out});
}

struct NegativeBinomialColumn {
    Count count;
    __device__ __forceinline__ float value() const { return negative_binomial(count); }
    __device__ __forceinline__ float slope() const { return negative_binomial_slope(count); }
    __device__ __forceinline__ float spread() const { return dispersion_slope(count); }
};

// The same of a negative binomial.  A block for some rows.
extern "C" __global__ void __launch_bounds__(256) negative_binomial_nll(Out nll, Out dout, Out16 dout16,
                                                                        Out ddispersion, Out16 ddispersion16,
                                                                        Out partial, In out, In dispersion, In x,
                                                                        In weight, Plan* plan, int samples) {
    begin();
    const LogDispersion a = {dispersion, 0.0f};
    log_likelihood(nll, dout, dout16, ddispersion, ddispersion16, partial, x, weight, plan, samples,
                   [&](int row, int col, float t) {
                       return NegativeBinomialColumn{Count(out(row, col), a(row, col), t)};
                   });
}

// What `shared_dispersion` says, of a negative binomial.
extern "C" __global__ void __launch_bounds__(256) negative_binomial_shared_backward(Out ddispersion, In out,
                                                                                    In dispersion, In x, In weight,
                                                                                    Plan* plan, int samples) {
    begin();
    shared_dispersion(ddispersion, out, dispersion, x, weight, plan, samples,
                      [](int, float o, float a, float t) { return NegativeBinomialColumn{Count(o, a, t)}; });
}
