// The gradient of [mu | logvar], which reparam.cu and kl.cu make together: four dimensions of a row.
#pragma once
#include "step.cuh"
#include "view.cuh"

// Where a block makes rows of z, or of this gradient, itself: a thread for each quad of a row, so latent is at most 64.
constexpr int kQuadsOfRow = 16;

struct HeadQuad {
    float4 mu, logvar;
};

__device__ __forceinline__ HeadQuad load_head(const Out& dhead, int latent, int row, int col) {
    return {load4(columns_of(dhead, 0, latent), row, col), load4(columns_of(dhead, latent, latent), row, col)};
}

template <class View>
__device__ __forceinline__ void store_head(const View& dhead, int latent, int row, int col, const HeadQuad& d) {
    store4(columns_of(dhead, 0, latent), row, col, d.mu);
    store4(columns_of(dhead, latent, latent), row, col, d.logvar);
}
// And its copy in bf16.
__device__ __forceinline__ void store_head(const Out& dhead, const Out16& dhead16, Plan* plan, int latent, int row,
                                           int col, const HeadQuad& d) {
    note_size(plan, d.mu);
    note_size(plan, d.logvar);
    store_head(dhead, latent, row, col, d);
    store_head(dhead16, latent, row, col, d);
}
