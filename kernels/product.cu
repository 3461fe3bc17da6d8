// Matrix products of small and medium extents, with what follows them in the same launch. A library's product of
// 100 x 500 x 784 takes most of its time to start; here each block has a small tile, so that all processors take part,
// and its warps share the tile's columns, rows and depth. Partial sums meet in shared memory, in a fixed order.
//
// Views are whole: `cols` of a factor is its stride, so the padding, which is zero, is read too, 16 bytes at a time.
// Three layouts: nt, c = a b^T, both contiguous along the depth; nn, c = a b; tn, c = a^T b, both along the rows of c.
#include "activation.cuh"
#include "product.cuh"
#include "step.cuh"

// What the products nt and nn do with their sums: + bias where it has rows, kept in `pre` where that has rows; with
// `out`, the output (of gelu, the input) of a nonlinearity f: multiplied by its slope there; else f itself.
struct Finish {
    Out c;
    Out16 c16;
    Out pre;
    In bias, out;
    int f;
    __device__ __forceinline__ void operator()(int row, int col, float4 v) const {
        if (row >= c.rows || col >= c.cols) return;
        if (bias.rows) {
            const float4 b = load4(bias, 0, col);
            v = {v.x + b.x, v.y + b.y, v.z + b.z, v.w + b.w};
        }
        if (pre.rows) store4(pre, row, col, v);
        if (out.rows) {
            const float4 y = load4(out, row, col);
            v = {v.x * slope(f, y.x), v.y * slope(f, y.y), v.z * slope(f, y.z), v.w * slope(f, y.w)};
        } else {
            v = {activate(f, v.x), activate(f, v.y), activate(f, v.z), activate(f, v.w)};
        }
        store4(c, row, col, v);
        store4(c16, row, col, v);
    }
    __device__ __forceinline__ void note(float) const {}
};

// What the product tn does with its sums, which are a gradient.
struct GradientFinish {
    Out c;
    Plan* plan;
    __device__ __forceinline__ void operator()(int row, int col, float4 v) const {
        if (row >= c.rows || col >= c.cols) return;
        store4(c, row, col, v);
        note_gradient(plan, v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w);
    }
    __device__ __forceinline__ void note(float v) const { note_gradient(plan, v * v); }
};

// c, pre, out: (m, n), a: (m, k), b: (n, k) or (k, n), bias: (1, n). A block for each 32 x 16 of c, its depth shared by
// all warps; for each 64 x 64 where `wide`. f32 by FMA; where `tensor`, operands rounded to tf32, or bf16 if `half`.
extern "C" __global__ void __launch_bounds__(512, 2) product_nt(Out c, Out16 c16, Out pre, In a, In b, In bias, In out,
                                                             int f, int half) {
    begin();
    __shared__ float4 shared[FullTile<false, true, 1, 1>::kQuads];
    FullTile<false, true, 1, 1>::run(shared, a, b, blockIdx.y, blockIdx.x, Out{}, Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nt_wide(Out c, Out16 c16, Out pre, In a, In b, In bias,
                                                                  In out, int f, int half) {
    begin();
    __shared__ float4 shared[FullTile<false, true, 2, 4>::kQuads];
    FullTile<false, true, 2, 4>::run(shared, a, b, blockIdx.y, blockIdx.x, Out{}, Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nt_tensor(Out c, Out16 c16, Out pre, In a, In b, In bias,
                                                                    In out, int f, int half) {
    begin();
    __shared__ float4 shared[kSums];
    TensorTile<false, true, 1, 1>::run(shared, a, b, blockIdx.y, blockIdx.x, half, Out{},
                                       Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nt_tensor_wide(Out c, Out16 c16, Out pre, In a, In b,
                                                                         In bias, In out, int f, int half) {
    begin();
    __shared__ float4 shared[kSums];
    TensorTile<false, true, 2, 4>::run(shared, a, b, blockIdx.y, blockIdx.x, half, Out{},
                                       Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 2) product_nn(Out c, Out16 c16, Out pre, In a, In b, In bias, In out,
                                                             int f, int half) {
    begin();
    __shared__ float4 shared[FullTile<false, false, 1, 1>::kQuads];
    FullTile<false, false, 1, 1>::run(shared, a, b, blockIdx.y, blockIdx.x, Out{}, Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nn_wide(Out c, Out16 c16, Out pre, In a, In b, In bias,
                                                                  In out, int f, int half) {
    begin();
    __shared__ float4 shared[FullTile<false, false, 2, 4>::kQuads];
    FullTile<false, false, 2, 4>::run(shared, a, b, blockIdx.y, blockIdx.x, Out{}, Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nn_tensor(Out c, Out16 c16, Out pre, In a, In b, In bias,
                                                                    In out, int f, int half) {
    begin();
    __shared__ float4 shared[kSums];
    TensorTile<false, false, 1, 1>::run(shared, a, b, blockIdx.y, blockIdx.x, half, Out{},
                                        Finish{c, c16, pre, bias, out, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nn_tensor_wide(Out c, Out16 c16, Out pre, In a, In b,
                                                                         In bias, In out, int f, int half) {
    begin();
    __shared__ float4 shared[kSums];
    TensorTile<false, false, 2, 4>::run(shared, a, b, blockIdx.y, blockIdx.x, half, Out{},
                                        Finish{c, c16, pre, bias, out, f});
}

// dw = dy^T x, and dbias[j] = sum_row dy[row, j]: the blocks of the first columns have read all of dy. Up to four layers
// in one launch, for none waits for another; a layer that is not there has no rows.
// dw: (out, in), dbias: (1, out), dy: (rows, out), x: (rows, in). A block for each 64 x 64 of each dw, in their order.
struct Layer {
    Out dw, dbias;
    In dy, x;
    int row, col;  // of the block's tile
    __device__ __forceinline__ int across() const { return (dw.cols + 63) / 64; }
    __device__ __forceinline__ int blocks() const { return (dw.rows + 63) / 64 * across(); }
};

__device__ __forceinline__ Layer layer_of(int block, const Layer& a, const Layer& b, const Layer& c, const Layer& d) {
    Layer layer = a;
    if (block >= layer.blocks()) {
        block -= layer.blocks(), layer = b;
        if (block >= layer.blocks()) {
            block -= layer.blocks(), layer = c;
            if (block >= layer.blocks()) block -= layer.blocks(), layer = d;
        }
    }
    layer.row = block / layer.across(), layer.col = block % layer.across();
    return layer;
}

extern "C" __global__ void __launch_bounds__(512, 1) product_tn(Out dw0, Out dbias0, In dy0, In x0, Out dw1, Out dbias1,
                                                                In dy1, In x1, Out dw2, Out dbias2, In dy2, In x2,
                                                                Out dw3, Out dbias3, In dy3, In x3, Plan* plan,
                                                                int half) {
    begin();
    __shared__ float4 shared[FullTile<true, false, 2, 4>::kQuads];
    const Layer layer = layer_of(blockIdx.x, {dw0, dbias0, dy0, x0}, {dw1, dbias1, dy1, x1}, {dw2, dbias2, dy2, x2},
                                 {dw3, dbias3, dy3, x3});
    FullTile<true, false, 2, 4>::run(shared, layer.dy, layer.x, layer.row, layer.col, layer.dbias,
                             GradientFinish{layer.dw, plan});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_tn_tensor(Out dw0, Out dbias0, In dy0, In x0, Out dw1,
                                                                       Out dbias1, In dy1, In x1, Out dw2, Out dbias2,
                                                                       In dy2, In x2, Out dw3, Out dbias3, In dy3,
                                                                       In x3, Plan* plan, int half) {
    begin();
    __shared__ float4 shared[kSums];
    const Layer layer = layer_of(blockIdx.x, {dw0, dbias0, dy0, x0}, {dw1, dbias1, dy1, x1}, {dw2, dbias2, dy2, x2},
                                 {dw3, dbias3, dy3, x3});
    TensorTile<true, false, 2, 4>::run(shared, layer.dy, layer.x, layer.row, layer.col, half, layer.dbias,
                                       GradientFinish{layer.dw, plan});
}
