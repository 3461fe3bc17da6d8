// The gradients of linear layers: dw = dy^T x, and dbias[j] = sum_row dy[row, j] by the blocks of the first columns,
// which have read all of dy. Up to six layers in one launch, for none waits for another; one that is not there has no
// rows. A block for each 64 x 64 of each dw, in their order.
#include "adam.cuh"
#include "product.cuh"
#include "step.cuh"
#include "tensor.cuh"

// dw: (out, in), dbias: (1, out), dy: (rows, out), x: (rows, in), views whole. Where x is in bf16, dy16 is dy too.
struct Layer {
    Out dw, dbias;
    In dy;
    In16 dy16;
    InAny x;
    __device__ __forceinline__ int across() const { return (dw.cols + 63) / 64; }
    __device__ __forceinline__ int blocks() const { return (dw.rows + 63) / 64 * across(); }
};
struct Layers {
    Layer of[6];
};

// The layer that a block is for, and its tile there.
struct Place {
    const Layer& layer;
    int row, col;
};
__device__ __forceinline__ Place place_of(const Layers& layers, int block) {
    int i = 0;
#pragma unroll 1  // to load what is needed is less than to select it from all
    for (; block >= layers.of[i].blocks(); ++i) block -= layers.of[i].blocks();
    const Layer& layer = layers.of[i];
    return {layer, block / layer.across(), block % layer.across()};
}

// The gradients are stored.
struct Store {
    Out c;
    Plan* plan;
    __device__ __forceinline__ void operator()(int row, int col, float4 v) const {
        if (row >= c.rows || col >= c.cols) return;
        store4(c, row, col, v);
        note_gradient(plan, v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w);
    }
    // Of four rows from `row` on.
    __device__ __forceinline__ void quads(int row, int col, float4 (&v)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) (*this)(row + i, col, v[i]);
    }
    __device__ __forceinline__ void total(const Out& dbias, int i, float v) const {
        dbias(0, i) = v;
        note_gradient(plan, v * v);
    }
};

// By tensor cores. A warp takes the whole depth, its sums go from registers to memory, and two blocks fit a processor:
// as one waits for memory, the other multiplies. Who sums dy up as well has it in f32.
template <int operands, class Finish>
__device__ __forceinline__ void gradient(const Place& at, const Finish& finish) {
    using Tile = TensorTile<true, false, 2, 4, 1>;
    const Layer& l = at.layer;
    if constexpr (operands == Half)
        if (at.col > 0) return Tile::run<operands>(nullptr, l.dy16, l.x, at.row, at.col, Out{}, finish);
    Tile::run<operands>(nullptr, l.dy, l.x, at.row, at.col, l.dbias, finish);
}

extern "C" __global__ void __launch_bounds__(512, 1) product_tn(const __grid_constant__ Layers layers, Plan* plan) {
    begin();
    __shared__ float4 shared[FullTile<true, false, 2, 4>::kQuads];
    const Place at = place_of(layers, blockIdx.x);
    const Layer& l = at.layer;
    FullTile<true, false, 2, 4>::run(shared, l.dy, as_f32(l.x), at.row, at.col, l.dbias, Store{l.dw, plan});
}

EACH_WAY(256, 2) product_tn_tensor(const Layers& layers, Plan* plan) {
    begin();
    const Place at = place_of(layers, blockIdx.x);
    gradient<operands>(at, Store{at.layer.dw, plan});
}

// Adam steps at once, and the gradients are not stored. w, w16, m and v are the arrays of all parameters, g that of their
// gradients: where dw lies in g, its weights lie in w.
struct AdamStep {
    Out dw, w;
    Out16 w16;
    Out m, v;
    In g;
    Adam rule;
    float decay;
    __device__ __forceinline__ void quads(int row, int col, float4 (&d)[4]) const {
        // Loads first, stores last: none waits for another.
        float4 value[4], first[4], second[4];
        const int at = (int)(&dw(row, col) - g.data);
        const bool inside = col < dw.cols;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (inside && row + i < dw.rows) {
                value[i] = load4(w, 0, at + i * dw.stride);
                first[i] = load4(m, 0, at + i * dw.stride);
                second[i] = load4(v, 0, at + i * dw.stride);
            }
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (inside && row + i < dw.rows) {
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    rule(component(value[i], e), component(first[i], e), component(second[i], e),
                         component(d[i], e) + decay * component(value[i], e));
                store4(w, 0, at + i * dw.stride, value[i]);
                store4(w16, 0, at + i * dw.stride, value[i]);
                store4(m, 0, at + i * dw.stride, first[i]);
                store4(v, 0, at + i * dw.stride, second[i]);
            }
    }
    __device__ __forceinline__ void total(const Out& dbias, int i, float d) const {
        const int at = (int)(&dbias(0, i) - g.data);
        rule(w(0, at), m(0, at), v(0, at), d + decay * w(0, at));
        if (w16.rows) w16(0, at) = bf16(w(0, at));
    }
};

// Unless a factor is large: then the gradients are stored, and `adam` comes after, when all have been seen.
EACH_WAY(256, 2) product_tn_adam(Out w, Out16 w16, Out m, Out v, In g, const Layers& layers, Plan* plan,
                                 float decay, float shrink, float beta1, float rest1, float beta2,
                                 float rest2, float eps) {
    begin();
    const Place at = place_of(layers, blockIdx.x);
    if (blockIdx.x == 0 && threadIdx.x == 0) plan->left = plan->large;
    if (plan->large) {
        gradient<operands>(at, Store{at.layer.dw, plan});
    } else if (!plan->halted) {
        const Adam rule(plan->now, shrink, beta1, rest1, beta2, rest2, eps);
        gradient<operands>(at, AdamStep{at.layer.dw, w, w16, m, v, g, rule, decay});
    }
}
