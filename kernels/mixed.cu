// -log p(x|z), in nats, and its gradient, where columns have different likelihoods, of what is observed of x. Row b K + k of
// `out` belongs to row b of x. Threads of a warp part where kinds do: tables have few columns.
// x: (rows, input), nll, weight: (rows K, 1), out: (rows K, input), kinds: (1, input)
#include "bernoulli.cuh"
#include "counts.cuh"
#include "gaussian.cuh"
#include "kinds.cuh"
#include "likelihood.cuh"

// A column at t, of any kind, from its output o and its log-dispersion a.
struct AnyColumn {
    int likelihood;
    float o, a, t;
    int squash;
    __device__ __forceinline__ float value() const {
        switch (likelihood) {
            case kBernoulli: return bernoulli(o, t);
            case kGaussian: return GaussianColumn(o, a, t, squash).value();
            case kPoisson: return poisson(o, t);
            case kCategorical: return -t * o;
            default: return negative_binomial(Count(o, a, t));
        }
    }
    __device__ __forceinline__ float slope() const {
        switch (likelihood) {
            case kBernoulli: return bernoulli_slope(o, t);
            case kGaussian: return GaussianColumn(o, a, t, squash).slope();
            case kPoisson: return poisson_slope(o, t);
            case kCategorical: return expf(o) - t; // in what the layer put out, before log_softmax
            default: return negative_binomial_slope(Count(o, a, t));
        }
    }
    __device__ __forceinline__ float spread() const {
        switch (likelihood) {
            case kGaussian: return GaussianColumn(o, a, t, squash).spread();
            case kNegativeBinomial: return dispersion_slope(Count(o, a, t));
            default: return 0.0f;
        }
    }
};

// The same in a row of `log_likelihood`, which has the gradient of a second head, and no other, from it.
struct ColumnOfRow {
    AnyColumn column;
    bool of_network;
    __device__ __forceinline__ float value() const { return column.value(); }
    __device__ __forceinline__ float slope() const { return column.slope(); }
    __device__ __forceinline__ float spread() const { return of_network ? column.spread() : 0.0f; }
};

// What `log_likelihood` says. learned: (1, input) or none, network: (rows K, input) or none. A block for some rows.
extern "C" __global__ void __launch_bounds__(256) mixed_nll(Out nll, Out dout, Out16 dout16, Out dnetwork,
                                                            Out16 dnetwork16, In out, In kinds, In learned, In network,
                                                            In x, In weight, Plan* plan, int samples, int squash,
                                                            float fixed) {
    begin();
    log_likelihood(nll, dout, dout16, dnetwork, dnetwork16, Out{}, x, weight, plan, samples,
                   [&](int row, int col, float t) {
                       const Kind kind(kinds, col);
                       const bool of_network = kind.spread() == kNetwork;
                       const float a = of_network                   ? network(row, col)
                                       : kind.spread() == kLearned ? learned(0, col)
                                                                   : fixed;
                       return ColumnOfRow{AnyColumn{kind.likelihood(), out(row, col), a, t, squash}, of_network};
                   });
}

// What `shared_dispersion` says: nothing of columns whose log-dispersion is not learned.
extern "C" __global__ void __launch_bounds__(256) mixed_shared_backward(Out ddispersion, In out, In kinds, In learned,
                                                                        In x, In weight, Plan* plan, int samples,
                                                                        int squash) {
    begin();
    shared_dispersion(ddispersion, out, learned, x, weight, plan, samples, [&](int col, float o, float a, float t) {
        const Kind kind(kinds, col < kinds.cols ? col : 0);
        return AnyColumn{kind.spread() == kLearned ? kind.likelihood() : (int)kBernoulli, o, a, t, squash};
    });
}
