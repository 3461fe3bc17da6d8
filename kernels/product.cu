// Matrix products of small and medium extents, with what follows them in the same launch. A library's product of
// 100 x 500 x 784 takes most of its time to start; here each block has a small tile, so that all processors take part,
// and its warps share the tile's columns, rows and depth. Partial sums meet in shared memory, in a fixed order.
//
// Views are whole: `cols` of a factor is its stride, so the padding, which is zero, is read too, 16 bytes at a time.
// Three layouts: nt, c = a b^T, both contiguous along the depth; nn, c = a b; tn, c = a^T b, both along the rows of c.
#include "bernoulli.cuh"
#include "finish.cuh"
#include "product.cuh"
#include "step.cuh"
#include "tensor.cuh"

// c, pre, out: (m, n), a: (m, k), b: (n, k) or (k, n), bias: (1, n). A block for each 32 x 16 of c, its depth shared by
// all warps; for each 32 x 32 where `middle`, 64 x 64 where `wide`. f32 by FMA; where `tensor`, by tensor cores,
// in each way.
extern "C" __global__ void __launch_bounds__(512, 2) product_nt(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias,
                                                                In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<FullTile<false, true, 1, 1>::kQuads>();
    FullTile<false, true, 1, 1>::run(shared, as_f32(a), as_f32(b), blockIdx.y, blockIdx.x, Out{},
                                     Finish{c, c16, pre, bias, out, plan, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nt_wide(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias,
                                                                     In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<FullTile<false, true, 2, 4>::kQuads>();
    FullTile<false, true, 2, 4>::run(shared, as_f32(a), as_f32(b), blockIdx.y, blockIdx.x, Out{},
                                     Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nt_tensor(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 1, 1, 16>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                              Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nt_tensor_middle(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan,
                                          int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 1, 2, 8>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                             Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nt_tensor_wide(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan,
                                        int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 2, 4, 2>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                             Finish{c, c16, pre, bias, out, plan, f});
}

extern "C" __global__ void __launch_bounds__(512, 2) product_nn(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias,
                                                                In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<FullTile<false, false, 1, 1>::kQuads>();
    FullTile<false, false, 1, 1>::run(shared, as_f32(a), as_f32(b), blockIdx.y, blockIdx.x, Out{},
                                      Finish{c, c16, pre, bias, out, plan, f});
}

extern "C" __global__ void __launch_bounds__(512, 1) product_nn_wide(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias,
                                                                     In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<FullTile<false, false, 2, 4>::kQuads>();
    FullTile<false, false, 2, 4>::run(shared, as_f32(a), as_f32(b), blockIdx.y, blockIdx.x, Out{},
                                      Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nn_tensor(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan, int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<false, 1, 1, 16>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                               Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nn_tensor_middle(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan,
                                          int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<false, 1, 2, 8>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                              Finish{c, c16, pre, bias, out, plan, f});
}

EACH_WAY(512, 1) product_nn_tensor_wide(Out c, Out16 c16, Out pre, InAny a, InAny b, In bias, In out, Plan* plan,
                                        int f) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<false, 2, 4, 2>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                              Finish{c, c16, pre, bias, out, plan, f});
}

// c, dout, x: (m, n), parts: (m, blocks across c).
EACH_WAY(512, 1) product_nt_bernoulli(Out c, Out parts, Out dout, Out16 dout16, InAny a, InAny b, In bias, In x,
                                      Plan* plan) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 1, 1, 16>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                              BernoulliFinish{c, parts, dout, dout16, bias, x, plan, 4, (int)blockIdx.x});
}

EACH_WAY(512, 1) product_nt_bernoulli_middle(Out c, Out parts, Out dout, Out16 dout16, InAny a, InAny b, In bias, In x,
                                             Plan* plan) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 1, 2, 8>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                             BernoulliFinish{c, parts, dout, dout16, bias, x, plan, 8, (int)blockIdx.x});
}

EACH_WAY(512, 1) product_nt_bernoulli_wide(Out c, Out parts, Out dout, Out16 dout16, InAny a, InAny b, In bias, In x,
                                           Plan* plan) {
    begin();
    float4* const shared = shared_quads<kSums>();
    TensorTile<true, 2, 4, 2>::run<operands>(shared, a, b, blockIdx.y, blockIdx.x,
                                             BernoulliFinish{c, parts, dout, dout16, bias, x, plan, 16, (int)blockIdx.x});
}
