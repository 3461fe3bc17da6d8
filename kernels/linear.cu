// What a linear layer needs beside its matrix products.
#include "activation.cuh"
#include "reduce.cuh"
#include "step.cuh"
#include "view.cuh"

// a += bias, y = f(a); where y is a, y alone is kept.            y, a: (rows, out), bias: (1, out)
extern "C" __global__ void __launch_bounds__(256) bias_activation(Out y, Out16 y16, Out a, In bias, int f) {
    begin();
    for (Quads q(y); q.more(); q.next()) {
        float4 v = load4(a, q.row, q.col);
        const float4 b = load4(bias, 0, q.col);
        v = {v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w};
        if (y.data != a.data) store4(a, q.row, q.col, v);
        v = activate(f, v);
        store4(y, q.row, q.col, v);
        store4(y16, q.row, q.col, v);
    }
}

// da = dy f'(a), from y, of four columns of the rows first, first + apart, ... below end: `keep(row, col, da)`; and their sum.
template <class Y, class Keep>
__device__ __forceinline__ float4 through_slope(const In& dy, const Y& y, int f, int col, int first, int end, int apart,
                                                const Keep& keep) {
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f}, v[kAtOnce];
    decltype(raw4(y, 0, 0)) out[kAtOnce];
    auto load = [&](int i, int row) {
        v[i] = load4(dy, row, col);
        if (f != Identity) out[i] = raw4(y, row, col);
    };
    auto pass = [&](int i, int row) {
        if (f != Identity) v[i] = times_slope(f, v[i], numbers_of(out[i]));
        keep(row, col, v[i]);
        sum = sum + v[i];
    };
    if (col < dy.cols) each(first, end, apart, load, pass);
    return sum;
}
// Where da stays: in place of dy, and in bf16 where that is asked for.
struct InPlace {
    Out dy;
    Out16 dy16;
    int f;
    __device__ __forceinline__ In was() const { return {dy.data, dy.rows, dy.cols, dy.stride}; }
    __device__ __forceinline__ void operator()(int row, int col, float4 da) const {
        if (f != Identity) store4(dy, row, col, da);
        store4(dy16, row, col, da);
    }
};

// da = dy f'(a), in place; dbias[col] = sum_row da[row, col].    dy, y: (rows, out), dbias: (1, out), or no rows
// `y` is the layer's output, for gelu what went into it. One block for each 8 columns: 32 bytes of every row.
extern "C" __global__ void __launch_bounds__(512, 1) activation_backward(Out dy, Out16 dy16, Out dbias, In y,
                                                                         Plan* plan, int f) {
    begin();
    __shared__ float scratch[16][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2);
    const InPlace keep{dy, dy16, f};
    const float4 sum = through_slope(keep.was(), y, f, col, threadIdx.x / 2, dy.rows, blockDim.x / 2, keep);
    const float total = column_sum(sum, scratch);
    if (dbias.rows && threadIdx.x < kColumns && first + (int)threadIdx.x < dy.cols) {
        dbias(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}

// The same of thousands of rows: partial[part, col] = the sum over the rows of a part.   partial: (parts, out), or no rows
// A block for 32 columns of a part: of each row a line of memory, whole in bf16 too.
constexpr int kLineQuads = 8;
template <class Y, class Keep>
__device__ __forceinline__ void part_through_slope(const Out& partial, const In& dy, const Y& y, int f, const Keep& keep) {
    __shared__ float4 scratch[8][kLineQuads];
    const int quad = threadIdx.x % kLineQuads, col = 4 * (blockIdx.x * kLineQuads + quad);
    const int2 rows = rows_of(dy.rows, blockIdx.y, gridDim.y);
    const int first = rows.x + threadIdx.x / kLineQuads;
    float4 sum = through_slope(dy, y, f, col, first, rows.y, blockDim.x / kLineQuads, keep);
    for (int lanes = 16; lanes >= kLineQuads; lanes /= 2) sum = sum + shuffle_xor(sum, lanes);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < kLineQuads) scratch[warp][lane] = sum;
    __syncthreads();
    if (partial.rows && warp == 0 && lane < kLineQuads && col < dy.cols) {
        for (int w = 1; w < (int)blockDim.x / 32; ++w) sum = sum + scratch[w][lane];
        store4(partial, blockIdx.y, col, sum);
    }
}

extern "C" __global__ void __launch_bounds__(256, 3) activation_backward_tall(Out dy, Out16 dy16, Out partial, In y,
                                                                              int f) {
    begin();
    const InPlace keep{dy, dy16, f};
    part_through_slope(partial, keep.was(), y, f, keep);
}

// Where only products in bf16 read da: da in bf16 alone, from y in bf16, for relu asks no more than whether it is above 0.
// 8 bytes of memory for a number instead of 14.
extern "C" __global__ void __launch_bounds__(256, 3) relu_backward_tall(Out16 dy16, Out partial, In dy, In16 y16) {
    begin();
    part_through_slope(partial, dy, y16, Relu, [&](int row, int col, float4 da) { store4(dy16, row, col, da); });
}

// Then dbias = the sum of the parts. A block for 8 columns.
extern "C" __global__ void __launch_bounds__(64) bias_of_parts(Out dbias, In partial, Plan* plan) {
    begin();
    __shared__ float scratch[kParts / 16][kColumns];
    const int first = blockIdx.x * kColumns;
    const float total = sum_of_parts(partial, first, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < dbias.cols) {
        dbias(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
