// A batch from the resident data set.
#include "data.cuh"
#include "philox.cuh"
#include "view.cuh"

// x[b K + k] = columns `from` and on of the example at position + b of this epoch's order, in [0, 1]; zero from step.rows
// on. binarize 1: 1 where x >= 1/2. binarize 2: 1 with probability x, drawn anew in every step.     x: (rows K, some)
extern "C" __global__ void __launch_bounds__(256) gather(Out x, Out16 x16, Data data, const Step* step, int shuffled,
                                                         int binarize, int from, int samples) {
    begin();
    for (Quads q(x); q.more(); q.next()) {
        float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
        const int row = q.row / samples;
        if (row < (int)step->rows) {
            unsigned example = step->position + (unsigned)row;
            if (shuffled) example = shuffle(example, (unsigned)data.rows, step->shuffle);
            v = data.quad(example, from + q.col);
            float4 u = {0.5f, 0.5f, 0.5f, 0.5f};
            if (binarize == 1) v = {v.x >= u.x ? 1.0f : 0.0f, v.y >= u.y ? 1.0f : 0.0f, v.z >= u.z ? 1.0f : 0.0f,
                                    v.w >= u.w ? 1.0f : 0.0f};
            if (binarize == 2) {
                u = uniform4(*step, Binarize, step->first_row + (unsigned)row, q.col);
                v = {u.x < v.x ? 1.0f : 0.0f, u.y < v.y ? 1.0f : 0.0f, u.z < v.z ? 1.0f : 0.0f,
                     u.w < v.w ? 1.0f : 0.0f};
            }
        }
        store4(x, q.row, q.col, v);
        store4(x16, q.row, q.col, v);
    }
}
