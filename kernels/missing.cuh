// A value of x that nobody observed is -0: a product sees 0 there, and the likelihood leaves it out.
#pragma once

constexpr float kMissing = -0.0f;

__device__ __forceinline__ bool is_missing(float x) { return __float_as_uint(x) == 0x80000000u; }

// What x adds to a sum or a gradient: nothing where it is missing.
__device__ __forceinline__ float observed(float x, float term) { return is_missing(x) ? 0.0f : term; }

// v, which was made of `raw` in the data: NaN there is missing, if that is allowed; -0 is 0.
__device__ __forceinline__ float known(float v, float raw, int missing) {
    return missing && raw != raw ? kMissing : v + 0.0f;
}
