// A small batch's forward and backward pass in one launch. A cluster of blocks takes 16 examples, which a tensor core
// multiplies at once, through all layers: a block makes some columns of each, and where they need each other's, the blocks of
// a cluster wait for one another, which is a quarter of what it takes until the next launch has begun. Clusters never wait
// for each other. Every weight is read once by each cluster, straight into registers, most before the wait.
#include "bernoulli.cuh"
#include "cluster.cuh"
#include "finish.cuh"
#include "kl.cu"
#include "product.cuh"
#include "reparam.cu"
#include "tensor.cuh"

constexpr int kExamples = 16;       // of a cluster
constexpr int kPhases = 14;         // products of a pass
constexpr int kFactorRow = 8 * kQuadsOfRow + 8;  // numbers between rows of [dmu | dlogvar] in shared memory: 8 for the banks
constexpr int kSumsRow = 16 + 8;    // floats between rows of a warp's sums: 8 for the banks

// A number where views stand: as wide as they.
struct Word {
    int value, spare[5];
};

// Forward: c = f(a b^T + bias), `pre` what went into f. Draw: the same, of z, which it draws. Logits: the same without f, of
// a Bernoulli. Backward: c = a b f'(.), from what `out` has. PullBack: the same, of [dmu | dlogvar], which it makes.
enum PhaseKind { Forward = 0, Draw = 1, Logits = 2, Backward = 3, PullBack = 4 };

// A product: views as those of product_nt and product_nn, `a` left out where it is made.
struct Phase {
    Out c;
    Out16 c16;
    Out pre;
    InAny a, b;
    In bias, out;
    Word kind, f;
};
struct Phases {
    Phase of[kPhases];
};

// What latent.cu and bernoulli.cuh call so, of one sample.
struct Around {
    Out z;
    Out16 z16;
    Out ratio, kl_row;
    In head, eps;
    Out dhead;
    Out16 dhead16;
    In dz;
    Out parts, dout;
    Out16 dout16;
    In x;
    Plan* plan;
    int objective;
};

// A factor that is in shared memory or not.
template <class View> struct Anywhere : View {};
template <> inline constexpr bool kHalf<Anywhere<In16>> = true;
template <class View> constexpr bool kAnywhere<Anywhere<View>> = true;

// The rows that a block makes itself, as a factor: to be written, and to be read.
__device__ __forceinline__ Out writable(float* rows, int cols, const In*) { return {rows, kExamples, cols, kFactorRow}; }
__device__ __forceinline__ Out16 writable(float* rows, int cols, const In16*) {
    return {reinterpret_cast<unsigned short*>(rows), kExamples, cols, kFactorRow};
}

// z of this cluster's examples, and their KL: reparam_forward and kl_forward. Every block makes all, for it is sooner done than
// fetched; the first stores it.
template <class View>
__device__ __forceinline__ void draw(const Around& it, float* rows, int row0, bool stores) {
    const int r = threadIdx.x / kQuadsOfRow, row = row0 + r, col = 4 * (threadIdx.x % kQuadsOfRow), latent = it.z.cols;
    if (r >= kExamples) return;
    float4 quad = {0.0f, 0.0f, 0.0f, 0.0f};
    float ratio = 0.0f, divergence = 0.0f;
    if (row < it.z.rows && col < latent) {
        ratio = draw_quad(quad, it.head, it.eps, &it.plan->now, 1, row, col);
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (col + i < latent) divergence += kl(it.head(row, col + i), it.head(row, latent + col + i));
    }
    store4(writable(rows, kFactorRow, static_cast<const View*>(nullptr)), r, col, quad);
    ratio = sum_of_lanes(ratio, kQuadsOfRow);
    divergence = sum_of_lanes(divergence, kQuadsOfRow);
    if (!stores || row >= it.z.rows) return;
    if (col < latent) {
        note_size(it.plan, quad);
        store4(it.z, row, col, quad);
        store4(it.z16, row, col, quad);
    }
    if (col == 0) {
        it.ratio(row, 0) = 0.5f * ratio;
        it.kl_row(row, 0) = divergence;
    }
}

// [dmu | dlogvar] of this cluster's examples: reparam_backward and, of the elbo, kl_backward without free bits.
template <class View>
__device__ __forceinline__ void pull_back_rows(const Around& it, float* rows, int row0, bool stores) {
    const int r = threadIdx.x / kQuadsOfRow, row = row0 + r, col = 4 * (threadIdx.x % kQuadsOfRow), latent = it.dz.cols;
    const auto to = writable(rows, kFactorRow, static_cast<const View*>(nullptr));
    // Beyond both halves a product reads up to 7 numbers, which shall be zero; rows beyond the batch, too.
    if (r < kExamples)
        for (int quad = threadIdx.x % kQuadsOfRow; quad < 2 * kQuadsOfRow; quad += kQuadsOfRow)
            store4(to, r, 4 * quad, {0.0f, 0.0f, 0.0f, 0.0f});
    __syncthreads();
    if (r < kExamples && row < it.head.rows && col < latent) {
        HeadQuad d = pull_back<1>(row, col, it.dz, In{it.z.data, it.z.rows, it.z.cols, it.z.stride}, it.head, it.eps, In{},
                                  &it.plan->now, 1, it.objective);
        if (it.objective == Elbo) add_kl(d, row, col, it.head, In{nullptr, 1, latent, latent}, &it.plan->now, 0.0f);
        store_head(to, latent, r, col, d);
        if (stores) store_head(it.dhead, it.dhead16, it.plan, latent, row, col, d);
    }
}

// c = finish(the sums of all shares), as quads, `per_row` threads for a row.
template <class Finish>
__device__ __forceinline__ void finish_rows(const float* sums, int across, int row0, int col0, const Finish& finish) {
    const int per_row = 4 * across, shares = kWarps / across, i = threadIdx.x, row = i / per_row, quad = i % per_row;
    if (row >= kExamples) return;
    const float* at = sums + (quad / 4 * kExamples + row) * kSumsRow + quad % 4 * 4;
    float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int share = 0; share < shares; ++share)
        v = v + *reinterpret_cast<const float4*>(at + share * across * kExamples * kSumsRow);
    finish(row0 + row, col0 + 4 * quad, v, per_row);
}

// What follows a product, of finish.cuh: `BernoulliFinish` of logits.
struct PhaseFinish {
    const Phase& p;
    const Around& it;
    int kind, block;
    __device__ __forceinline__ void operator()(int row, int col, float4 v, int per_row) const {
        if (kind == Logits)
            BernoulliFinish{p.c, it.parts, it.dout, it.dout16, p.bias, it.x, it.plan, per_row, block}(row, col, v);
        else
            Finish{p.c, p.c16, p.pre, p.bias, p.out, it.plan, p.f.value}(row, col, v);
    }
};

// The columns of a product that this block makes: 16 for each of `across` warps, and as many shares of the depth as are
// left.
template <bool TB, int operands>
__device__ __forceinline__ void run_phase(float* sums, float* rows, const Phase& p, const Around& it, int row0, int rank,
                                          int size, bool waits) {
    using View = typename Multiplied<operands>::View;
    constexpr int N = kHalf<View> ? 8 : 4, kAhead = operands == Split ? 1 : 2;  // as registers allow
    const int kind = p.kind.value, latent = it.z.cols, n = p.c.cols;
    const int across = n <= 16 * size ? 1 : n <= 32 * size ? 2 : 4, width = 16 * across;
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int share = warp / across, shares = kWarps / across;
    const bool made = kind == Draw || kind == PullBack;
    const View b = factor_of<View>(p.b), of_memory = factor_of<View>(p.a);
    const View of_block = {reinterpret_cast<decltype(View::data)>(rows), kExamples,
                           ((kind == Draw ? latent : 2 * latent) + 7) / 8 * 8, kFactorRow};
    const Anywhere<View> a{made ? of_block : of_memory};
    const int depth = TB ? a.cols : b.rows, units = (depth + 4 * N - 1) / (4 * N), a_row0 = made ? 0 : row0;

    for (int block = rank; block == rank || block * width < n; block += size) {
        const int col0 = block * width + 16 * (warp % across);
        const Source<!TB, 2, View> of_b(b, col0 + (TB ? g : 2 * g));
        Fragment<!TB, 2, View, N> q[kAhead];
        auto load_b = [&](int first) {
#pragma unroll
            for (int i = 0; i < kAhead; ++i)
                q[i].load(of_b, (4 * (first + i * shares) + t) * N, 0, depth);
        };
        load_b(share);  // while the others may still be at the phase before
        if (block == rank) {
            if (waits) cluster_wait();
            if (kind == Draw) draw<View>(it, rows, row0, rank == 0);
            if (kind == PullBack) pull_back_rows<View>(it, rows, row0, rank == 0);
            if (made) __syncthreads();
            if (block * width >= n) return;
        }
        const Source<false, 2, Anywhere<View>> of_a(a, a_row0 + g);
        float sum[1][2][4] = {};
#pragma unroll 1
        for (int first = share; first < units; first += kAhead * shares) {
            Fragment<false, 2, Anywhere<View>, N> x[kAhead];
#pragma unroll
            for (int i = 0; i < kAhead; ++i) x[i].load(of_a, (4 * (first + i * shares) + t) * N, 0, depth);
#pragma unroll
            for (int i = 0; i < kAhead; ++i) multiply<operands == Half ? Bf16 : operands, N>(sum, x[i], q[i]);
            if (first + kAhead * shares < units) load_b(first + kAhead * shares);
        }
        if (block != rank) __syncthreads();  // the sums before have been read
        float* to = sums + (warp * kExamples + g) * kSumsRow;
#pragma unroll
        for (int half = 0; half < 2; ++half, to += 8 * kSumsRow) {  // row g, and 8 + g
            const float(&low)[4] = sum[0][0], (&high)[4] = sum[0][1];
            const int e = 2 * half;
            if constexpr (TB) {  // columns 2 t + 0, 1 and 8 + 2 t + 0, 1
                store2(to + 2 * t, {low[e], low[e + 1]});
                store2(to + 8 + 2 * t, {high[e], high[e + 1]});
            } else {  // columns 4 t + 0, 1, 2, 3
                store4(to + 4 * t, {low[e], high[e], low[e + 1], high[e + 1]});
            }
        }
        __syncthreads();
        finish_rows(sums, across, row0, block * width, PhaseFinish{p, it, kind, block});
    }
}

template <int operands>
__device__ __forceinline__ void run_phases(float* sums, float* rows, const Phases& phases, const Around& it, int count,
                                           int size) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900  // before, there are no clusters
    const int rank = (int)blockIdx.x % size, row0 = (int)blockIdx.x / size * kExamples;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
        const Phase& p = phases.of[i];
        if (p.kind.value < Backward) run_phase<true, operands>(sums, rows, p, it, row0, rank, size, i > 0);
        else run_phase<false, operands>(sums, rows, p, it, row0, rank, size, i > 0);
        if (i + 1 < count) cluster_arrive();
    }
#endif
}

// z, kl_row and so on as in latent.cu, of one sample for each example; parts: (rows, blocks of columns); dout: of the logits.
// As many blocks as `size` for each 16 rows.
EACH_WAY(512, 1) stack(const Phases& phases, Out z, Out16 z16, Out ratio, Out kl_row, In head, In eps, Out dhead,
                       Out16 dhead16, In dz, Out parts, Out dout, Out16 dout16, In x, Plan* plan, int objective, int count,
                       int size) {
    begin();
    constexpr int kForSums = kWarps * kExamples * kSumsRow / 4, kForRows = kExamples * kFactorRow / 4;
    static_assert(kForSums != kForRows, "buffers of one size are one buffer");
    float4 *const sums = shared_quads<kForSums>(), *const rows = shared_quads<kForRows>();
    run_phases<operands>(
        reinterpret_cast<float*>(sums), reinterpret_cast<float*>(rows), phases,
        {z, z16, ratio, kl_row, head, eps, dhead, dhead16, dz, parts, dout, dout16, x, plan, objective}, count, size);
}
