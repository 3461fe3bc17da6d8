// The gradients of linear layers: dw = dy^T x, and dbias[j] = sum_row dy[row, j] by the blocks of the first columns,
// which have read all of dy. Up to six layers in one launch, for none waits for another; one that is not there has no
// rows. A block for each 64 x 64 of each dw, in their order.
#include "adam.cuh"
#include "product.cuh"
#include "reduce.cuh"
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
    const unsigned across = layer.across(), row = (unsigned)block / across;
    return {layer, (int)row, block - (int)(row * across)};
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
    __device__ __forceinline__ void total(const Out& dbias, int i, float v) const {
        dbias(0, i) = v;
        note_gradient(plan, v * v);
    }
};

extern "C" __global__ void __launch_bounds__(512, 1) product_tn(const __grid_constant__ Layers layers, Plan* plan) {
    begin();
    float4* const shared = shared_quads<FullTile<true, false, 2, 4>::kQuads>();
    const Place at = place_of(layers, blockIdx.x);
    const Layer& l = at.layer;
    FullTile<true, false, 2, 4>::run(shared, l.dy, as_f32(l.x), at.row, at.col, l.dbias, Store{l.dw, plan});
}

// By tensor cores, 2 x 4 warps of 32 x 16 each, over the whole depth; two blocks fit a processor. The depth passes through
// shared memory, in stages of one or two of its six places. Behind the last of them follows, in the places that fall free,
// what else the tile needs: the weights and their moments arrive while the last stages are multiplied. Whatever can be is a
// loop, for instructions come from as far away as numbers do.
constexpr int kPlace = 512, kPlaces = 6;  // quads of a place

template <int operands>
struct GradientTile {
    using View = typename Multiplied<operands>::View;
    static constexpr bool half = operands == Half;
    static constexpr int kBytes = half ? 2 : 4, kPieces = 64 * kBytes / 16;  // of a number; of 16 bytes in a row
    // A thread copies 16 bytes of each factor to a stage; and two quads of dy in f32, where copies are multiplied.
    static constexpr int kDepth = 256 / kPieces, kStage = half ? 1024 : 512, kStages = kPlaces * kPlace / kStage;

    // Where this thread copies a factor from, and how many rows there are from there on.
    template <class V>
    struct Copied {
        decltype(V::data) at;
        int stride, rows;
        __device__ __forceinline__ Copied(const V& v, int row, int col)
            : at(&v(row, col)), stride(v.stride), rows(col < v.cols ? v.rows - row : 0) {}
        // One row, and on to the one that is so far behind it; zero beyond the last.
        __device__ __forceinline__ void next(float4* to, int further) {
            copy_if(to, at, rows > 0);
            at += (size_t)further * stride, rows -= further;
        }
    };

    int units;    // stages that the depth takes
    bool counts;  // whether this block sums up dy, in f32
    Copied<View> dy, x;
    Copied<In> full;

    static __device__ __forceinline__ const In& dy_of(const Layer& l, const In&) { return l.dy; }
    static __device__ __forceinline__ const In16& dy_of(const Layer& l, const In16&) { return l.dy16; }

    __device__ __forceinline__ explicit GradientTile(const Place& at)
        : units((at.layer.dy.rows + kDepth - 1) / kDepth), counts(at.layer.dbias.rows && at.col == 0),
          dy(dy_of(at.layer, View{}), threadIdx.x / kPieces, 64 * at.row + threadIdx.x % kPieces * (16 / kBytes)),
          x(factor_of<View>(at.layer.x), threadIdx.x / kPieces, 64 * at.col + threadIdx.x % kPieces * (16 / kBytes)),
          full(at.layer.dy, threadIdx.x / 16, 64 * at.row + threadIdx.x % 16 * 4) {}

    // The pieces of a row change places from row to row, so that lanes never meet in a bank: see `run`.
    static __device__ __forceinline__ int place_of_piece() {
        return threadIdx.x ^ threadIdx.x / kPieces % 4 * 2;
    }
    __device__ __forceinline__ void copy(float4* stage) {
        dy.next(stage + place_of_piece(), kDepth);
        x.next(stage + 256 + place_of_piece(), kDepth);
        if (half && counts) full.next(stage + 512 + threadIdx.x, 16), full.next(stage + 768 + threadIdx.x, 16);
    }
    // What this thread copied of dy in f32.
    static __device__ __forceinline__ void add_own(float4& sum, const float4* stage) {
        const float4* own = stage + (half ? 512 + (int)threadIdx.x : place_of_piece());
#pragma unroll
        for (int i = 0; i < kDepth / 16; ++i)
            sum = sum + own[256 * i];
    }

    // The first stages are on their way.
    __device__ __forceinline__ void start(float4* shared) {
#pragma unroll 1
        for (int n = 0; n < kStages && n < units; ++n) {
            copy(shared + n * kStage);
            commit_copies();
        }
    }

    // d becomes this thread's quads of the tile, as Own has them. Thread i < 64 returns the sum over column i of dy, where
    // `counts`. `more(to, n)` copies the n-th of kStages parts of what else is needed, each as large as a stage; `first` is
    // where part 0 lies: the others follow, and none has been waited for.
    template <class More>
    __device__ __forceinline__ float run(float4* shared, float4 (&d)[4], float4*& first, const More& more) {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, wm = warp / 4, wn = warp % 4;
        // Where a lane finds four rows of dw, and two columns, in row t of a stage: in bytes. Of 16 or 32 rows it
        // multiplies t, t + 4, and so on, whatever the tensor core calls them.
        const int of_dy = (32 * wm + 4 * g) * kBytes, of_x = (16 * wn + 2 * g) * kBytes;
        int at_dy = t * kPieces * 16 + (of_dy / 16 ^ 2 * t) * 16 + of_dy % 16;
        int at_x = (256 + t * kPieces) * 16 + (of_x / 16 ^ 2 * t) * 16 + of_x % 16;
        Sums sums = {};
        float4 own = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 1
        for (int n = units; n < kStages; ++n) {
            more(shared + n * kStage, n - units);
            commit_copies();
        }
        float4 *stage = shared, *free = shared;
#pragma unroll 1
        for (int s = 0; s < units; ++s) {
            if (s == 0) wait_copies<kStages - 1>();
            else wait_copies<kStages - 2>();
            __syncthreads();  // stage s has arrived for all, and stage s - 1 has been read by all
            if (s > 0) {
                const int n = s + kStages - 1;
                if (n < units) copy(free);
                else more(free, n - units);
                commit_copies();
            }
            constexpr int N = kDepth / 4;
            Fragment<true, 4, View, N> p;
            Fragment<true, 2, View, N> q;
#pragma unroll
            for (int l = 0; l < N; ++l) {
                const char* row = reinterpret_cast<const char*>(shared) + l * 4 * kPieces * 16;
                p.x[l] = *reinterpret_cast<const typename decltype(p)::Type*>(row + at_dy);
                q.x[l] = *reinterpret_cast<const typename decltype(q)::Type*>(row + at_x);
            }
            // Here, for a branch between them keeps ptxas from moving what is loaded before it is multiplied.
            if (counts) add_own(own, stage);
            multiply<half ? Bf16 : operands, N>(sums, p, q);
            free = stage;
            const bool last = stage == shared + (kStages - 1) * kStage;
            const int on = last ? -(kStages - 1) * kStage : kStage;
            stage += on, at_dy += 16 * on, at_x += 16 * on;
        }
        __syncthreads();  // all stages have been read
        float total = 0.0f;
        if (counts) {
            float* parts = reinterpret_cast<float*>(free);
            own = own + shuffle_xor(own, 16);
            if (threadIdx.x % 32 < 16) store4(parts + 64 * warp + 4 * (threadIdx.x % 16), own);
            __syncthreads();
            if (threadIdx.x < 64)
#pragma unroll
                for (int i = 0; i < 8; ++i) total += parts[64 * i + threadIdx.x];
            __syncthreads();
        }
        more(free, kStages - 1);
        commit_copies();
        first = stage;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            d[i] = {sums[i / 2][0][2 * (i % 2)], sums[i / 2][1][2 * (i % 2)], sums[i / 2][0][2 * (i % 2) + 1],
                    sums[i / 2][1][2 * (i % 2) + 1]};
        return total;
    }
};

// A thread's four rows and four columns of a tile; and column i of dy, for i < 64.
struct Own {
    int row, col, i;
    bool sums;
    __device__ __forceinline__ explicit Own(const Place& at)
        : row(64 * at.row + threadIdx.x / 128 * 32 + threadIdx.x % 32 / 4 * 4),
          col(64 * at.col + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 4 * 4), i(64 * at.row + threadIdx.x),
          sums(at.layer.dbias.rows && at.col == 0 && threadIdx.x < 64 && i < at.layer.dbias.cols) {}
    // The gradients are stored.
    __device__ __forceinline__ void store(const Layer& l, const float4 (&d)[4], float total, Plan* plan) const {
        const Store store{l.dw, plan};
#pragma unroll
        for (int k = 0; k < 4; ++k) store(row + k, col, d[k]);
        if (sums) store.total(l.dbias, i, total);
    }
};

EACH_WAY(256, 2) product_tn_tensor(const Layers& layers, Plan* plan) {
    begin();
    float4* const shared = shared_quads<kPlaces * kPlace>();
    const Place at = place_of(layers, blockIdx.x);
    GradientTile<operands> tile(at);
    tile.start(shared);
    float4 d[4], *first;
    const float total = tile.run(shared, d, first, [](float4*, int) {});
    Own(at).store(at.layer, d, total, plan);
}

// Adam steps at once, and the gradients are not stored. w, w16, m and v are the arrays of all parameters, g that of their
// gradients: where dw lies in g, its weights lie in w. Unless a factor is large: then the gradients are stored, and `adam`
// comes after, when all have been seen.
EACH_WAY(256, 2) product_tn_adam(Out w, Out16 w16, Out m, Out v, In g, const Layers& layers, Plan* plan, float decay,
                                 float shrink, float beta1, float rest1, float beta2, float rest2, float eps) {
    begin();
    float4* const shared = shared_quads<kPlaces * kPlace>();
    const Place at = place_of(layers, blockIdx.x);
    const Layer& l = at.layer;
    GradientTile<operands> tile(at);
    tile.start(shared);

    // Asked for after them, and waited for when all is multiplied. The parameters come along whatever the plan says.
    const unsigned large = plan->large;
    const Step step = plan->now;
    const Own own(at);
    const int rows = own.col < l.dw.cols ? l.dw.rows - own.row : 0, stride = l.dw.stride;
    const int place = (int)(&l.dw(own.row, own.col) - g.data), of_bias = (int)(&l.dbias(0, own.i) - g.data);
    float b = 0.0f, b_m = 0.0f, b_v = 0.0f;
    if (own.sums) b = w(0, of_bias), b_m = m(0, of_bias), b_v = v(0, of_bias);

    // A place each for the first two of this thread's rows of w, of m, of v; then for the others.
    unsigned halted = 0;
    auto parameters = [&](float4* to, int n) {
        if (n == 0 && !large) halted = plan->halted;  // where `large`, other blocks may write it
        constexpr int kIn = GradientTile<operands>::kStage / kPlace;
#pragma unroll
        for (int i = 0; i < kIn; ++i) {
            const int k = kIn * n + i, from_row = k < 3 ? 0 : 2, of = k < 3 ? k : k - 3;
            const float* from = (of == 0 ? w.data : of == 1 ? m.data : v.data) + place + from_row * stride;
#pragma unroll
            for (int row = 0; row < 2; ++row) {
                copy_if(to + kPlace * i + 256 * row + threadIdx.x, from, from_row + row < rows);
                from += stride;
            }
        }
    };
    float4 d[4], *first;
    const float total = tile.run(shared, d, first, parameters);
    if (blockIdx.x == 0 && threadIdx.x == 0) plan->left = large;
    if (large || halted) wait_copies<0>();  // nothing shall arrive in the shared memory of whoever comes next
    if (large) return own.store(l, d, total, plan);
    if (halted) return;
    const Adam rule(step, shrink, beta1, rest1, beta2, rest2, eps);
    if (own.sums) {
        rule(b, b_m, b_v, total + decay * b);
        w(0, of_bias) = b, m(0, of_bias) = b_m, v(0, of_bias) = b_v;
        if (w16.rows) w16(0, of_bias) = bf16(b);
    }
    constexpr bool copies = operands == Bf16 || operands == Half;
    const int rows16 = copies && w16.rows ? rows : 0;
    auto next = [&](const float4* place) { return place == shared + (kPlaces - 1) * kPlace ? shared : place + kPlace; };
    const float4* of_w = first;
    int to = place;
#pragma unroll 1
    for (int row = 0; row < 4; row += 2) {
        if (row == 0) wait_copies<GradientTile<operands>::kStages / 2>();  // for three places
        else wait_copies<0>();
        const float4 *of_m = next(of_w), *of_v = next(of_m);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int mine = 256 * i + threadIdx.x;
            float4 value = of_w[mine], moment = of_m[mine], square = of_v[mine];
#pragma unroll
            for (int e = 0; e < 4; ++e)
                rule(component(value, e), component(moment, e), component(square, e),
                     component(d[i], e) + decay * component(value, e));
            if (row + i < rows) {  // whole quads: what lies beyond the columns is padding, and stays zero
                store4(w.data + to, value);
                store4(m.data + to, moment);
                store4(v.data + to, square);
            }
            if (copies && row + i < rows16)
                *reinterpret_cast<uint2*>(w16.data + to) = {bf16x2(value.x, value.y), bf16x2(value.z, value.w)};
            to += stride;
        }
        d[0] = d[2], d[1] = d[3];
        of_w = next(of_v);
    }
}
