// Log p of words, and the logarithms of the means of counts that have one total, in place of the decoder's output.
#include "missing.cuh"
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

// In place of log 0: a number whose exponential is 0, and which is one.
constexpr float kNone = -1e4f;

// y_j += log sum_i x_i - log sum_i exp(y_i), sums over what is observed of x. A block for a row.
// y: (rows K, input), x: (rows, input): row b K + k belongs to row b of x.
extern "C" __global__ void __launch_bounds__(256) log_means(Out y, In x, int samples) {
    begin();
    __shared__ float scratch[32];
    for (int row = blockIdx.x; row < y.rows; row += gridDim.x) {
        const int example = row / samples;
        float top = -INFINITY, sum = 0.0f, total = 0.0f;
        for (int j = threadIdx.x; j < x.cols; j += blockDim.x)
            if (!is_missing(x(example, j))) top = fmaxf(top, y(row, j));
        top = block_max(top, scratch);
        for (int j = threadIdx.x; j < x.cols; j += blockDim.x) {
            const float t = x(example, j);
            if (is_missing(t)) continue;
            total += t;
            sum += expf(y(row, j) - top);
        }
        total = block_sum(total, scratch);
        sum = block_sum(sum, scratch);
        // Where nothing is observed there is nothing to shift.
        const float of_total = total > 0.0f ? logf(total) : kNone;
        const float shift = top > -INFINITY ? (of_total - top) - logf(sum) : 0.0f;
        for (int j = threadIdx.x; j < x.cols; j += blockDim.x) y(row, j) += shift;
    }
}

// dy_j -= exp(y_j) / sum_i x_i * sum_i dy_i in what is observed of x: of the gradient in the logarithms of means, which
// `log_means` made, that in what it made them of. A block for a row.
// dy, y: (rows K, input), x: (rows, input): row b K + k belongs to row b of x.
extern "C" __global__ void __launch_bounds__(256) log_means_backward(Out dy, Out16 dy16, In y, In x, Plan* plan,
                                                                     int samples) {
    begin();
    __shared__ float scratch[32];
    for (int row = blockIdx.x; row < dy.rows; row += gridDim.x) {
        const int example = row / samples;
        float sum = 0.0f, total = 0.0f;
        for (int j = threadIdx.x; j < x.cols; j += blockDim.x) {
            total += observed(x(example, j), x(example, j));
            sum += dy(row, j);
        }
        total = block_sum(total, scratch);
        sum = block_sum(sum, scratch);
        // Where nothing is counted all means are 0, whatever their shares: there is nothing to take away.
        const float pull = total > 0.0f ? sum / total : 0.0f;
        for (int j = threadIdx.x; j < x.cols; j += blockDim.x) {
            const float d = dy(row, j) - observed(x(example, j), pull * expf(y(row, j)));
            note_size(plan, d);
            dy(row, j) = d;
            if (dy16.rows) dy16(row, j) = bf16(d);
        }
    }
}
