// What changes from one step to the next, in device memory. Word for word `Step::words` of src/step.rs.
#pragma once

struct Step {
    unsigned key[2];  // the halves of the seed
    unsigned index, epoch, position, rows, first_row, slot;
    float lr, beta, correction1, correction2;
    unsigned shuffle[8];
    unsigned spare[4];
};

// What of a step was not finite, as bits.
enum Broken : unsigned { Loss = 1, Gradient = 2 };

// The steps planned. A step begins by moving table[cursor] to `now`, which all other kernels read. `halted`: what was
// not finite; while there is something, no parameter changes until the host has written the next plan. `large`: a factor
// of this step's gradients has a number beyond kLarge. `left`: therefore parameters are yet to be updated.
struct Plan {
    Step now;
    unsigned cursor, halted, large, left, spare[4];
    Step table[256];
};

// Whoever writes a gradient says so where its square, or a sum of squares, is not finite: in passing, for to read it
// again would be a launch more.
__device__ __forceinline__ void note_gradient(Plan* plan, float square) {
    if (!isfinite(square)) atomicOr(&plan->halted, (unsigned)Gradient);
}

// A sum of 8192 products of numbers below it has a finite square, and four such squares a finite sum: then gradients need
// not all be seen before the first parameter changes.
constexpr float kLarge = 0x1p24f;

// Whoever writes a factor of a gradient says so where it is large, or no number.
__device__ __forceinline__ void note_size(Plan* plan, float v) {
    if (!(fabsf(v) < kLarge)) atomicOr(&plan->large, 1u);
}
__device__ __forceinline__ void note_size(Plan* plan, float4 v) {
    note_size(plan, fabsf(v.x) + fabsf(v.y) + fabsf(v.z) + fabsf(v.w));
}

static_assert(sizeof(Step) == 24 * 4 && sizeof(Plan) == (24 + 8 + 256 * 24) * 4, "as src/step.rs and src/device/gpu/mod.rs write it");
