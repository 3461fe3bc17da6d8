// The CUDA C++ subset our kernels use, declared for the host compiler; emulator.cpp is the runtime behind it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static thread_local
#define __syncthreads() emu::block_barrier(__LINE__)
#define __shfl_xor_sync(mask, value, lanes) emu::shuffle(__LINE__, mask, value, threadIdx.x % 32 ^ (lanes))
#define __shfl_sync(mask, value, lane) emu::shuffle(__LINE__, mask, value, lane)
#define __shfl_down_sync(mask, value, lanes) emu::shuffle(__LINE__, mask, value, emu::below(lanes))

#define EMU_UNCHECKED __attribute__((no_sanitize("thread")))  // part of the emulator, not of a kernel

struct dim3 { unsigned x, y, z; };

// With CUDA's alignment: a misaligned access is an error there, and the emulator sees it.
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };

#define threadIdx emu::here.thread
#define blockIdx emu::here.block
#define blockDim emu::here.block_dim
#define gridDim emu::here.grid_dim

namespace emu {

// Of the thread that is running on this thread of the host.
struct Here { dim3 thread, block, block_dim, grid_dim; };
extern thread_local constinit Here here;

// The memory that an argument lets a kernel touch: `rows` pieces of `cols` bytes, `stride` bytes apart.
struct View {
    uintptr_t begin;
    size_t rows, cols, stride;
    bool writable;
    size_t unit = 4;  // how many bytes threads may share out among them: of bf16, 2
    mutable size_t row = 0;  // where the row begins that was touched last, in bytes behind the first

    template <class T>  // a pointer: to one T
    View(T* p)
        : begin(uintptr_t(p)), rows(1), cols(sizeof(T)), stride(sizeof(T)), writable(!std::is_const_v<T>),
          unit(sizeof(T) == 2 ? 2 : 4) {}
    template <class M>  // In or Out of kernels/view.cuh: as many T as it has rows and columns
        requires(requires(const M& m) { m.data; } && !requires(const M& m) { m.half; })
    View(const M& m) : View(m.data) { rows = m.rows, cols *= m.cols, stride *= m.stride; }
    template <class M>  // InAny of kernels/view.cuh
        requires requires(const M& m) { m.half; }
    View(const M& m)
        : begin(uintptr_t(m.data)), rows(m.rows), cols(m.cols * (m.half ? 2 : 4)), stride(m.stride * (m.half ? 2 : 4)),
          writable(false), unit(m.half ? 2 : 4) {}
    template <class M>  // Data of kernels/data.cuh
        requires requires(const M& m) { m.values; }
    View(const M& m)
        : begin(uintptr_t(m.values)), rows(1), cols(bytes_of(m)), stride(cols + 1), writable(false) {}
    template <class M>  // a number
        requires std::is_arithmetic_v<M>
    View(M) : begin(0), rows(0), cols(0), stride(1), writable(false) {}

    // Of Data: sparse rows have 8 bytes where each begins and where the last ends, and 8 for each entry.
    template <class M>
    static size_t bytes_of(const M& m) {
        if (m.stored == M::kSparse) return 8 * (size_t(m.rows) + 1) + 8 * static_cast<const uint64_t*>(m.values)[m.rows];
        return size_t(m.rows) * m.cols * (m.stored == M::kReals ? 4 : 1);
    }

    bool holds(uintptr_t a, size_t size) const {
        const size_t at = a - begin;  // large where it is before
        if (rows < 2 || at >= rows * stride) return rows == 1 && at < cols && size <= cols - at;
        // Mostly in the row that was touched before. Divisions would be a third of what a check takes.
        if (const size_t in_row = at - row; in_row < cols) return size <= cols - in_row;
        row = at / stride * stride;
        return at - row < cols && size <= cols - (at - row);
    }
};

// A kernel as cuLaunchKernelEx sees it: `args` point to its arguments, which have these sizes.
struct Kernel {
    const char* name;
    void (*call)(void** args);
    std::vector<View> (*views)(void** args);
    std::vector<size_t> sizes;
    // Of one that is executed in another way than by `call`: what comes first, what runs a block, and what both need.
    void (*begin)(const Kernel&, void** args) = nullptr;
    // It runs up to the block's end or, then true, a barrier of its cluster, in which it has a slot.
    bool (*block)(const Kernel&, bool reverse, unsigned slot, bool begins) = nullptr;
    const void* code = nullptr;
};
extern const std::vector<Kernel> kernels;  // written by build.rs
const Kernel* find(const char* name);

// Runs a kernel, in clusters of so many blocks. Returns null, or what went wrong, which stands until the next launch of the
// same thread.
const char* launch(const Kernel& kernel, dim3 grid, dim3 block, unsigned cluster, void** args, bool reverse);

// For who runs a block: a thread is about to touch memory; a barrier was passed; the launch ends here, with an error of the
// thread that touched memory last. `doing` is an instruction that the error shall name.
enum Kind : uint8_t { Load, Store, Atomic };
void access(unsigned thread, const void* address, size_t size, Kind kind);
void next_interval();
[[noreturn]] void fail(const std::string& what);
extern thread_local constinit const char* doing;

void block_barrier(int line);
void cluster_barrier(int line);
uint64_t exchange(int line, unsigned mask, uint64_t value, unsigned lane);
void atomic_access(const void* address);
void misaligned();
// A matrix product of a whole warp, m16n8k8 in tf32 or m16n8k16 in bf16: who has what as in the PTX manual.
void mma(int line, bool half, float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

template <class T>
T shuffle(int line, unsigned mask, T value, unsigned lane) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    bits = exchange(line, mask, bits, lane);
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
inline unsigned below(unsigned lanes) {
    const unsigned lane = threadIdx.x % 32;
    return lane + lanes < 32 ? lane + lanes : lane;
}

template <class A>
void add_views(std::vector<View>& all, const A& a) {
    if constexpr (requires { a.of[0].dbias; }) {  // Layers of kernels/gradients.cu
        for (const auto& [dw, dbias, dy, dy16, x] : a.of)
            all.insert(all.end(), {View(dw), View(dbias), View(dy), View(dy16), View(x)});
    } else if constexpr (requires { a.of[0].kind; }) {  // Phases of kernels/stack.cu
        for (const auto& [c, c16, pre, x, w, bias, out, kind, f] : a.of)
            all.insert(all.end(), {View(c), View(c16), View(pre), View(x), View(w), View(bias), View(out)});
    } else {
        all.push_back(View(a));
    }
}

// Writes a kernel's `Kernel` from its signature.
template <auto K, class Indices> struct Entry;
template <class... A, void (*K)(A...), size_t... I>
struct Entry<K, std::index_sequence<I...>> {
    EMU_UNCHECKED static void call(void** args) { K(*static_cast<A*>(args[I])...); }
    static std::vector<View> views(void** args) {
        std::vector<View> all;
        (add_views(all, *static_cast<A*>(args[I])), ...);
        return all;
    }
    static std::vector<size_t> sizes() { return {sizeof(A)...}; }
};
template <class... A>
std::index_sequence_for<A...> indices(void (*)(A...));
template <auto K>
Kernel entry(const char* name) {
    using E = Entry<K, decltype(indices(K))>;
    return {name, E::call, E::views, E::sizes()};
}

}  // namespace emu

// Integers only: a sum of floats would depend on the order of the threads.
template <class T>
    requires std::is_integral_v<T>
EMU_UNCHECKED T atomicAdd(T* p, T v) { emu::atomic_access(p); T old = *p; *p = old + v; return old; }
template <class T>
    requires std::is_integral_v<T>
EMU_UNCHECKED T atomicOr(T* p, T v) { emu::atomic_access(p); T old = *p; *p = old | v; return old; }

template <class T>
T __ldg(const T* p) { return *p; }
inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
// Four of the eight bytes of [x | y], each chosen by four bits of `which`.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned which) {
    const uint64_t bytes = uint64_t(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= unsigned(bytes >> (which >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return result;
}
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
// sin and cos of pi x
inline void sincospif(float x, float* s, float* c) {
    const double turn = 3.14159265358979323846 * x;
    *s = float(std::sin(turn)), *c = float(std::cos(turn));
}
using std::isfinite;
using std::min;
