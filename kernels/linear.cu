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

// da = dy f'(a), in place; dbias[col] = sum_row da[row, col].    dy, y: (rows, out), dbias: (1, out), or no rows
// `y` is the layer's output, for gelu what went into it. One block for each 8 columns: 32 bytes of every row.
extern "C" __global__ void __launch_bounds__(512, 1) activation_backward(Out dy, Out16 dy16, Out dbias, In y,
                                                                         Plan* plan, int f) {
    begin();
    __shared__ float scratch[16][kColumns];
    const int first = blockIdx.x * kColumns, col = first + 4 * (threadIdx.x % 2);
    float4 sum = {0.0f, 0.0f, 0.0f, 0.0f}, v[kAtOnce], out[kAtOnce];
    auto load = [&](int i, int row) {
        v[i] = load4(dy, row, col);
        if (f != Identity) out[i] = load4(y, row, col);
    };
    auto pass = [&](int i, int row) {
        if (f != Identity) {
            v[i] = times_slope(f, v[i], out[i]);
            store4(dy, row, col, v[i]);
        }
        store4(dy16, row, col, v[i]);
        sum = {sum.x + v[i].x, sum.y + v[i].y, sum.z + v[i].z, sum.w + v[i].w};
    };
    if (col < dy.cols) each_row(dy.rows, load, pass);
    const float total = column_sum(sum, scratch);
    if (dbias.rows && threadIdx.x < kColumns && first + (int)threadIdx.x < dy.cols) {
        dbias(0, first + threadIdx.x) = total;
        note_gradient(plan, total * total);
    }
}
