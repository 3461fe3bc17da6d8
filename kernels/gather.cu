// A batch from the resident data set, and the step that it is for.
#include "data.cuh"
#include "kinds.cuh"
#include "missing.cuh"
#include "philox.cuh"
#include "reduce.cuh"
#include "view.cuh"

// The step whose turn it is. The cursor moves on in the last launch of a step: see `update` of optimizer.cu.
__device__ __forceinline__ const Step* next_step(const Plan* plan) { return &plan->table[plan->cursor % 256u]; }

// now = table[cursor], by block 0: the same captured graph serves every step.
__device__ __forceinline__ void take_next(Plan* plan) {
    const unsigned* from = reinterpret_cast<const unsigned*>(next_step(plan));
    if (blockIdx.x == 0 && threadIdx.x < 24) reinterpret_cast<unsigned*>(&plan->now)[threadIdx.x] = from[threadIdx.x];
}

// x[b K + k] = columns `from` and on of the example at position + b of this epoch's order, in [0, 1]; zero from step.rows
// on. binarize 1: 1 where x >= 1/2. binarize 2: 1 with probability x, drawn anew in every step.     x: (rows K, some)
// missing 1: NaN in the data becomes `kMissing`; and 0 whatever -0 is there, so that nothing else is.
// seen = log(1 + x) of the columns that are counts, which are all or those whose kinds say so: what the encoder sees of them.
// No rows: it sees x.
// `next` 1: the first launch of a planned step, which becomes `now`.
// A row is that of `lanes` threads, a power of two, for its place in the order takes longer to find than its quads.
extern "C" __global__ void __launch_bounds__(256) gather(Out x, Out16 x16, Out seen, Out16 seen16, In kinds, Data data,
                                                         Plan* plan, int shuffled, int binarize, int missing, int from,
                                                         int samples, int next, int lanes) {
    begin();
    if (next) take_next(plan);
    const Step* step = next ? next_step(plan) : &plan->now;
    const int rows = (int)step->rows, per_row = (x.cols + 3) / 4, apart = (int)(gridDim.x * blockDim.x) / lanes;
    const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
    for (int r = (int)thread / lanes; r < x.rows; r += apart) {
        const int row = r / samples;
        unsigned example = step->position + (unsigned)row;
        if (shuffled && row < rows) example = shuffle(example, (unsigned)data.rows, step->shuffle);
        float4 stored[kAtOnce];
        auto load = [&](int i, int quad) {
            if (row < rows) stored[i] = data.load(example, from + 4 * quad);
        };
        each((int)thread % lanes, per_row, lanes, load, [&](int i, int quad) {
            const int col = 4 * quad;
            float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
            if (row < rows) {
                v = data.numbers(stored[i]);
                const float4 raw = v;
                float4 u = {0.5f, 0.5f, 0.5f, 0.5f};
                if (binarize == 1) v = {v.x >= u.x ? 1.0f : 0.0f, v.y >= u.y ? 1.0f : 0.0f, v.z >= u.z ? 1.0f : 0.0f,
                                        v.w >= u.w ? 1.0f : 0.0f};
                if (binarize == 2) {
                    u = uniform4(*step, Binarize, step->first_row + (unsigned)row, col);
                    v = {u.x < v.x ? 1.0f : 0.0f, u.y < v.y ? 1.0f : 0.0f, u.z < v.z ? 1.0f : 0.0f,
                         u.w < v.w ? 1.0f : 0.0f};
                }
                if (data.stored != Data::kBytes)
                    v = {known(v.x, raw.x, missing), known(v.y, raw.y, missing), known(v.z, raw.z, missing),
                         known(v.w, raw.w, missing)};
            }
            store4(x, r, col, v);
            if (seen.rows) v = seen_of(v, kinds, col);
            note_size(plan, v);
            if (seen.rows) store4(seen, r, col, v);
            store4(x16, r, col, v);
            store4(seen16, r, col, v);
        });
    }
}
