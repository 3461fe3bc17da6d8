// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter-based generator, so the
// backward pass recomputes the noise of the forward pass instead of storing it. The same functions as src/rng.rs: the
// counter is [column / 4, row, step, stream], and word i of a block belongs to column 4 (column / 4) + i.
#pragma once
#include "step.cuh"

enum Stream { Noise = 0, Binarize = 1 };

__device__ __forceinline__ uint4 philox(uint4 c, unsigned k0, unsigned k1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned hi0 = __umulhi(0xD2511F53u, c.x), lo0 = 0xD2511F53u * c.x;
        const unsigned hi1 = __umulhi(0xCD9E8D57u, c.z), lo1 = 0xCD9E8D57u * c.z;
        c = {hi1 ^ c.y ^ k0, lo1, hi0 ^ c.w ^ k1, lo0};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

__device__ __forceinline__ uint4 words4(const Step& step, Stream stream, unsigned row, int col) {
    return philox({(unsigned)col / 4, row, step.index, (unsigned)stream}, step.key[0], step.key[1]);
}

// In (0, 1): 23 bits and a half fit the mantissa, so neither end is reached.
__device__ __forceinline__ float unit(unsigned word) { return ((word >> 9) + 0.5f) * 0x1p-23f; }

// u ~ U(0, 1) for four columns of a row.
__device__ __forceinline__ float4 uniform4(const Step& step, Stream stream, unsigned row, int col) {
    const uint4 w = words4(step, stream, row, col);
    return {unit(w.x), unit(w.y), unit(w.z), unit(w.w)};
}

// eps ~ N(0, 1) for four columns of a row: Box-Muller on each half of a block.
__device__ __forceinline__ float4 normal4(const Step& step, Stream stream, unsigned row, int col) {
    const uint4 w = words4(step, stream, row, col);
    const float r0 = sqrtf(-2.0f * logf(unit(w.x))), r1 = sqrtf(-2.0f * logf(unit(w.z)));
    float s0, c0, s1, c1;
    sincospif((w.y >> 8) * 0x1p-23f, &s0, &c0);  // a turn in [0, 1), in 24 bits, is twice as many half turns
    sincospif((w.w >> 8) * 0x1p-23f, &s1, &c1);
    return {r0 * c0, r0 * s0, r1 * c1, r1 * s1};
}

// The finaliser of MurmurHash3.
__device__ __forceinline__ unsigned mix(unsigned h) {
    h = (h ^ (h >> 16)) * 0x85EBCA6Bu;
    h = (h ^ (h >> 13)) * 0xC2B2AE35u;
    return h ^ (h >> 16);
}

// Where example `i` of 0..n goes: a bijection. A Feistel network over the next even number of bits, walked until it
// lands inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains").
__device__ __forceinline__ unsigned shuffle(unsigned i, unsigned n, const unsigned (&keys)[8]) {
    const int bits = 32 - __clz((int)(n - 1)), half = ((bits < 2 ? 2 : bits) + 1) / 2;
    const unsigned mask = (1u << half) - 1u;
    do {
        unsigned left = i >> half, right = i & mask;
        for (int round = 0; round < 8; ++round) {
            const unsigned next = left ^ (mix(right ^ keys[round]) & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
