// The first launch of a planned step.
#include "begin.cuh"
#include "step.cuh"

// now = table[cursor], and the cursor moves on: the same captured graph serves every step.  One block.
extern "C" __global__ void __launch_bounds__(32) step_next(Plan* plan) {
    begin();
    const unsigned cursor = plan->cursor % 256u;
    const unsigned* from = reinterpret_cast<const unsigned*>(&plan->table[cursor]);
    if (threadIdx.x < 24) reinterpret_cast<unsigned*>(&plan->now)[threadIdx.x] = from[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) plan->cursor = cursor + 1;
}
