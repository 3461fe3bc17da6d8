// The second parameter of p(x|z), by its logarithm: a Gaussian's variance, a negative binomial's dispersion.
#pragma once
#include "view.cuh"

// Of element (row, col): none (then `fixed` holds), one, one a column, or one an element.
struct LogDispersion {
    In learned;
    float fixed;
    __device__ __forceinline__ float operator()(int row, int col) const {
        return learned.rows == 0 ? fixed : learned(learned.rows == 1 ? 0 : row, learned.cols == 1 ? 0 : col);
    }
};
