// Neighbours of a step in one launch, around the latent variables: what each means stands in kl.cu, reparam.cu, bound.cu.
#include "bound.cu"
#include "kl.cu"
#include "reparam.cu"

// reparam_forward and kl_forward. The first blocks are those of kl_forward, of which some take longest; the others draw 8
// rows of z each.
extern "C" __global__ void __launch_bounds__(256) latent_forward(Out z, Out16 z16, Out ratio, Out kl_row, Out kl_dim,
                                                                 Out partial, In head, In eps, Plan* plan,
                                                                 int samples) {
    begin();
    __shared__ float scratch[8][kColumns];
    const int block = (int)blockIdx.x, of_kl = (int)gridDim.x - (z.rows + 7) / 8;
    if (block < of_kl) kl_of_block(block, kl_row, kl_dim, partial, head, &plan->now, scratch);
    else draw_rows(block - of_kl, z, z16, ratio, head, eps, plan, samples);
}

// reparam_backward, of the elbo also kl_backward, where the weights are known and the gradient does not wait for the
// bound's value; and `bound`, in block 0.
extern "C" __global__ void __launch_bounds__(256)
    latent_backward(Out dhead, Out16 dhead16, Out bound, Out weight, Out metrics, In dz, In z, In head, In eps, In nll,
                    In kl_row, In kl_dim, In ratio, Plan* plan, int samples, int objective, float free_bits) {
    begin();
    __shared__ float scratch[32];
    if (blockIdx.x == 0) {
        bound_of_batch(bound, weight, metrics, nll, kl_row, kl_dim, ratio, plan, samples, objective, free_bits, scratch);
    } else {
        const In mu = columns_of(head, 0, dz.cols);
        for (Quads q(mu, 1); q.more(); q.next()) {
            HeadQuad d = pull_back<1>(q.row, q.col, dz, z, head, eps, In{}, &plan->now, samples, objective);
            if (objective == Elbo) add_kl(d, q.row, q.col, head, kl_dim, &plan->now, free_bits);
            store_head(dhead, dhead16, plan, dz.cols, q.row, q.col, d);
        }
    }
}
