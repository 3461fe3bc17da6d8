// Log p of words, in place of the decoder's output.
#include "reduce.cuh"
#include "view.cuh"

// y_j -= log sum_i exp(y_i) over the columns from..to of each variable: log p of each of its words.
// y: (rows, some), variables: (1, 2 V): from and to of each. A warp for a variable of a row.
extern "C" __global__ void __launch_bounds__(256) log_softmax(Out y, In variables) {
    begin();
    const int each = variables.cols / 2, warps = blockDim.x / 32, lane = threadIdx.x % 32;
    for (int i = blockIdx.x * warps + threadIdx.x / 32; i < y.rows * each; i += gridDim.x * warps) {
        const int row = i / each, from = (int)variables(0, 2 * (i % each)), to = (int)variables(0, 2 * (i % each) + 1);
        // With the largest taken away first, nothing overflows.
        float top = -INFINITY, sum = 0.0f;
        for (int j = from + lane; j < to; j += 32) top = fmaxf(top, y(row, j));
        top = warp_max(top);
        for (int j = from + lane; j < to; j += 32) sum += expf(y(row, j) - top);
        const float log_sum = logf(warp_sum(sum));
        for (int j = from + lane; j < to; j += 32) y(row, j) = (y(row, j) - top) - log_sum;
    }
}
