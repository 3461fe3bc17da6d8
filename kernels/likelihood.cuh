// -log p(x|z) and its gradient, whatever the likelihood, of what is observed of x.
#pragma once
#include "missing.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// The second parameter of p(x|z) by its logarithm, a Gaussian's variance or a negative binomial's dispersion, of element
// (row, col): none (then `fixed` holds), one, one a column, or one an element.
struct LogDispersion {
    In learned;
    float fixed;
    __device__ __forceinline__ float operator()(int row, int col) const {
        return learned.rows == 0 ? fixed : learned(learned.rows == 1 ? 0 : row, learned.cols == 1 ? 0 : col);
    }
};

// d loss / d nll of a row: `weight`, or where that has no rows 1 / (step.rows K), which `bound` will find too. Zero from
// step.rows on.
__device__ __forceinline__ float weight_of(const In& weight, int row, int samples, const Step& step) {
    if (row / samples >= (int)step.rows) return 0.0f;
    return weight.rows ? weight(row, 0) : 1.0f / (float)samples / (float)step.rows;
}

// Each of these where it has rows, for each row in turn:
//   nll[row] = sum_j value;  dout = weight slope;  dspread = weight spread, the gradient of a log-dispersion of its own;
//   partial[block] = the sum of that over the rows of this block, where one log-dispersion serves all.
// of(row, col, t) is a column of p(x|z) at t, with value(), slope() and spread(). Row b K + k belongs to row b of x.
// Where `totals`, nll[row] -= of.total(sum_j x).
template <bool totals = false, class Of>
__device__ __forceinline__ void log_likelihood(const Out& nll, const Out& dout, const Out16& dout16, const Out& dspread,
                                               const Out16& dspread16, const Out& partial, const In& x,
                                               const In& weight, Plan* plan, int samples, const Of& of) {
    __shared__ float scratch[32];
    const int rows = nll.rows ? nll.rows : dout.rows;
    float spreads = 0.0f;
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        const int example = row / samples;
        const bool pulls = dout.rows && example < (int)plan->now.rows;
        const float w = pulls ? weight_of(weight, row, samples, plan->now) : 0.0f;
        float sum = 0.0f, total = 0.0f;
        for (int col = threadIdx.x; col < x.cols; col += blockDim.x) {
            float d = 0.0f, dv = 0.0f;
            const float t = x(example, col);
            if (!is_missing(t)) {
                const auto column = of(row, col, t);
                if constexpr (totals) total += t;
                if (nll.rows) sum += column.value();
                if (pulls) d = w * column.slope();
                if (pulls && (dspread.rows || partial.rows)) dv = w * column.spread();
            }
            if (dout.rows) {
                note_size(plan, d);
                dout(row, col) = d;
                if (dout16.rows) dout16(row, col) = bf16(d);
            }
            if (dspread.rows) {
                note_size(plan, dv);
                dspread(row, col) = dv;
                if (dspread16.rows) dspread16(row, col) = bf16(dv);
            }
            spreads += dv;
        }
        if (nll.rows) {
            sum = block_sum(sum, scratch);
            if constexpr (totals) sum -= of.total(block_sum(total, scratch));
            if (threadIdx.x == 0) nll(row, 0) = sum;
        }
    }
    if (partial.rows) {
        spreads = block_sum(spreads, scratch);
        if (threadIdx.x == 0) partial(0, blockIdx.x) = spreads;
    }
}

// dspread[col] = sum_row weight spread, of a log-dispersion for each column.  spread, dspread: (1, input). A block for 8
// columns.  of(col, o, a, t) is a column of p(x|z) at t, from the output and the log-dispersion.
template <class Of>
__device__ __forceinline__ void shared_dispersion(const Out& dspread, const In& out, const In& spread, const In& x,
                                                  const In& weight, Plan* plan, int samples, const Of& of) {
    __shared__ float scratch[8][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2), rows = (int)plan->now.rows * samples;
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    if (col < x.cols) {
        float4 a = load4(spread, 0, col);
        for (int row = threadIdx.x / 2; row < rows; row += blockDim.x / 2) {
            float4 o = load4(out, row, col), t = load4(x, row / samples, col);
            const float w = weight_of(weight, row, samples, plan->now);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float t_i = component(t, i);
                component(sum, i) += observed(t_i, w * of(col + i, component(o, i), component(a, i), t_i).spread());
            }
        }
    }
    const float total = column_sum(sum, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < x.cols) {
        dspread(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
