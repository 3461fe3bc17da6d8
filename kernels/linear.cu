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
        v = {activate(f, v.x), activate(f, v.y), activate(f, v.z), activate(f, v.w)};
        store4(y, q.row, q.col, v);
        store4(y16, q.row, q.col, v);
    }
}

// da = dy f'(a), in place; dbias[col] = sum_row da[row, col].    dy, y: (rows, out), dbias: (1, out)
// `y` is the layer's output, for gelu what went into it. One block for each 8 columns: 32 bytes of every row.
extern "C" __global__ void __launch_bounds__(256) activation_backward(Out dy, Out16 dy16, Out dbias, In y,
                                                                      Plan* plan, int f) {
    begin();
    __shared__ float scratch[8][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2);
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    if (col < dy.cols)
        for (int row = threadIdx.x / 2; row < dy.rows; row += blockDim.x / 2) {
            float4 v = load4(dy, row, col);
            if (f != Identity) {
                const float4 out = load4(y, row, col);
                v = {v.x * slope(f, out.x), v.y * slope(f, out.y), v.z * slope(f, out.z), v.w * slope(f, out.w)};
                store4(dy, row, col, v);
            }
            store4(dy16, row, col, v);
            sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
        }
    const float total = column_sum(sum, scratch);
    if (threadIdx.x < kColumns && first + (int)threadIdx.x < dy.cols) {
        dbias(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
