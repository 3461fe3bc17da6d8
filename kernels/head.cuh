// The gradient of [mu | logvar], which reparam.cu and kl.cu make together: four dimensions of a row.
#pragma once
#include "step.cuh"
#include "view.cuh"

struct HeadQuad {
    float4 mu, logvar;
};

__device__ __forceinline__ Out side_of(const Out& v, int first, int cols) {
    return {v.data + first, v.rows, cols, v.stride};
}
__device__ __forceinline__ Out16 side_of(const Out16& v, int first, int cols) {
    return {v.data + first, v.rows, cols, v.stride};
}

__device__ __forceinline__ HeadQuad load_head(const Out& dhead, int latent, int row, int col) {
    return {load4(side_of(dhead, 0, latent), row, col), load4(side_of(dhead, latent, latent), row, col)};
}

template <class View>
__device__ __forceinline__ void store_head(const View& dhead, int latent, int row, int col, const HeadQuad& d) {
    store4(side_of(dhead, 0, latent), row, col, d.mu);
    store4(side_of(dhead, latent, latent), row, col, d.logvar);
}
// And its copy in bf16.
__device__ __forceinline__ void store_head(const Out& dhead, const Out16& dhead16, Plan* plan, int latent, int row,
                                           int col, const HeadQuad& d) {
    note_size(plan, d.mu);
    note_size(plan, d.logvar);
    store_head(dhead, latent, row, col, d);
    store_head(dhead16, latent, row, col, d);
}
