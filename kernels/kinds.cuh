// What a column of p(x|z) is where columns differ, and what the encoder sees of it.
#pragma once
#include "view.cuh"

// As src/tape.rs numbers it: the likelihood, and 8 times the place that its second parameter comes from.
// A multinomial is of all columns, and never one of several.
enum Likelihood { kBernoulli, kGaussian, kPoisson, kNegativeBinomial, kCategorical, kMultinomial };
enum Spread { kFixed, kLearned, kNetwork };

struct Kind {
    int code;
    __device__ __forceinline__ Kind(const In& kinds, int col) : code((int)kinds(0, col)) {}
    __device__ __forceinline__ int likelihood() const { return code % 8; }
    __device__ __forceinline__ int spread() const { return code / 8; }
    __device__ __forceinline__ bool is_count() const { return likelihood() == kPoisson || likelihood() == kNegativeBinomial; }
};

// log(1 + x) of four counts: exact to a rounding, for x is whole. 0 where x is missing. x itself where the kinds, if there are
// any, say that it is none.
__device__ __forceinline__ float4 seen_of(float4 x, const In& kinds, int col) {
    float4 seen = {logf(1.0f + x.x), logf(1.0f + x.y), logf(1.0f + x.z), logf(1.0f + x.w)};
    if (kinds.rows)
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (col + i >= kinds.cols || !Kind(kinds, col + i).is_count()) component(seen, i) = component(x, i);
    return seen;
}
