// What a tensor core computes, by the PTX manual: m16n8k8 in tf32, m16n8k16 in bf16, which differ in what a word holds.
#pragma once
#include "cuda.h"

namespace emu {

// With a word of each factor: one product in tf32, two in bf16.
inline double word_product(unsigned a, unsigned b, bool half) {
    auto product = [](unsigned x, unsigned y) { return double(__uint_as_float(x)) * __uint_as_float(y); };
    return half ? product(a << 16, b << 16) + product(a & 0xffff0000u, b & 0xffff0000u) : product(a, b);
}

// Sums are cut off, not rounded.
inline float cut(double sum) {
    const float rounded = float(sum);
    return std::fabs(double(rounded)) > std::fabs(sum) ? std::nextafterf(rounded, 0.0f) : rounded;
}

// The four sums of a lane, += a b. `word(l, i)`: word i of lane l, of four of a and two of b.
template <class Word>
void multiply(bool half, float (&c)[4], unsigned lane, const Word& word) {
    for (int e = 0; e < 2; ++e)
        for (int h = 0; h < 2; ++h) {
            double sum = c[2 * h + e];
            for (int q = 0; q < 4; ++q) {
                const unsigned row = lane / 4 * 4 + q, col = lane % 4 * 8 + 4 * e + q;
                sum += word_product(word(row, h), word(col, 4), half) + word_product(word(row, h + 2), word(col, 5), half);
            }
            c[2 * h + e] = cut(sum);
        }
}

}  // namespace emu
