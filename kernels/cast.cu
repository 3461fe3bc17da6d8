// Copies in bf16, for the matrix products.
#include "view.cuh"

// y = x, rounded to the nearest bf16.                            y, x: (rows, cols)
extern "C" __global__ void __launch_bounds__(256) cast(Out16 y, In x) {
    begin();
    for (Quads q(x); q.more(); q.next()) store4(y, q.row, q.col, load4(x, q.row, q.col));
}
