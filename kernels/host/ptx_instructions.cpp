// What PTX's instructions do, those that occur in our kernels and their nearest kin. "PTX ISA" is NVIDIA's manual. Approximations (`approx`) are
// exact here; a GPU's differ in the last places, by what the manual bounds.
#include <algorithm>
#include <cfenv>
#include <limits>
#include <unordered_map>

#include "ptx.h"
#include "tensor_core.h"

namespace ptx {
namespace {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using s32 = int32_t;
using u64 = uint64_t;
using s64 = int64_t;
using f32 = float;
using f64 = double;

template <class T>
T as(uint64_t bits) {  // little-endian
    if constexpr (std::is_same_v<T, bool>) return bits;
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
template <class T>
uint64_t bits(T value) {
    uint64_t all = 0;
    std::memcpy(&all, &value, sizeof(T));
    return all;
}

template <class F>
void each(Lanes lanes, const F& f) {
    if (lanes == ~Lanes(0))
        for (int lane = 0; lane < kLanes; ++lane) f(lane);
    else
        for (; lanes; lanes &= lanes - 1) f(__builtin_ctz(lanes));
}

// An instruction that computes a value: of F's type, from operands of the types of F's parameters.
template <auto F, class R, class... A, size_t... I>
void compute(R (*)(A...), Warp& w, const Instruction& i, Lanes lanes, std::index_sequence<I...>) {
    uint64_t* to = w.of(i.to[0]);
    const uint64_t* of[] = {w.read(i.of[I])...};
    each(lanes, [&](int lane) { to[lane] = bits<R>(F(as<A>(of[I][lane])...)); });
}
template <class R, class... A>
std::index_sequence_for<A...> places(R (*)(A...));
template <auto F>
void value(Warp& w, const Instruction& i, Lanes lanes) { compute<F>(+F, w, i, lanes, decltype(places(+F))()); }

// Rounded another way than to the nearest.
template <class F>
f32 rounding(int mode, F f) {
    std::fesetround(mode);
    volatile f32 result = f();
    std::fesetround(FE_TONEAREST);
    return result;
}
f32 flushed(f32 x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

template <class To, class From>
To saturated(From x) {  // NaN gives 0
    if (std::isnan(x)) return 0;
    if (x <= f64(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    if (x >= f64(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return To(x);
}

// The nearest number whose low `bits` are zero; ties to even or away from zero.
u32 shortened(f32 x, int bits, bool even) {
    const u32 word = __float_as_uint(x), half = 1u << (bits - 1), low = (1u << bits) - 1;
    if (std::isnan(x)) return 0x7fffffffu & ~low;
    return (word + (even ? half - 1 + (word >> bits & 1) : half)) & ~low;
}

// Memory.

enum Space { Global, Shared, Parameter, Generic };

// Sectors that the accesses touch, of 32 bytes, or passes over the banks of shared memory: as many bytes as it has banks at
// once, and again for each further word of a bank.
void count(Space space, const uintptr_t* at, Lanes lanes, size_t size) {
    uintptr_t words[kLanes * 4], n = 0;
    auto distinct = [&] {
        std::sort(words, words + n);
        return n = std::unique(words, words + n) - words;
    };
    if (space == Shared) {
        ++counts.shared_accesses;
        const int at_once = size <= 4 ? 32 : 128 / size;
        for (int first = 0; first < kLanes; first += at_once) {
            n = 0;
            for (int lane = first; lane < first + at_once; ++lane)
                if (lanes >> lane & 1)
                    for (size_t k = 0; k < (size + 3) / 4; ++k) words[n++] = at[lane] / 4 + k;
            int of_bank[32] = {}, most = 0;
            distinct();
            for (size_t k = 0; k < n; ++k) most = std::max(most, ++of_bank[words[k] % 32]);
            counts.passes += most, counts.least_passes += n > 0;
        }
    } else if (space != Parameter) {
        ++counts.accesses;
        each(lanes, [&](int lane) { words[n++] = at[lane] / 32; });
        counts.sectors += distinct();
        counts.least_sectors += (__builtin_popcount(lanes) * size + 31) / 32;
    }
}

// Where each lane touches memory: `at`, addresses of the host.
struct Touch {
    uintptr_t at[kLanes] = {};
    Touch(Warp& w, Operand o, Lanes lanes, size_t size, Space space, emu::Kind kind) {
        const uint64_t* registers = w.read(o);
        const s64 end = space == Shared ? w.function->shared : kParameters;
        each(lanes, [&](int lane) {
            const s64 from = (space == Shared ? s64(as<s32>(registers[lane])) : as<s64>(registers[lane])) + o.offset;
            const bool offset = space == Shared || space == Parameter;
            if (offset && (from < 0 || from + s64(size) > end)) emu::fail("an address outside its space");
            if (from & (size - 1)) emu::fail("misaligned access");
            at[lane] = from + (offset ? uintptr_t(space == Shared ? shared : parameters) : 0);
            if (space == Parameter) return;
            if (space != Shared && w.function->overlaps && !(w.launch_is_over >> lane & 1))
                emu::fail("an access while the launch before may still run");
            emu::access(w.first_thread + lane, reinterpret_cast<void*>(at[lane]), size, kind);
        });
        count(space, at, lanes, size);
    }
    char* operator[](int lane) const { return reinterpret_cast<char*>(at[lane]); }
};

template <class T, int n, Space space>
void load(Warp& w, const Instruction& i, Lanes lanes) {
    const Touch from(w, i.of[0], lanes, n * sizeof(T), space, emu::Load);
    for (int k = 0; k < n; ++k) {
        uint64_t* to = w.of(i.to[k]);
        each(lanes, [&](int lane) {
            T x;
            std::memcpy(&x, from[lane] + k * sizeof(T), sizeof(T));
            to[lane] = x;
        });
    }
}
template <class T, int n, Space space>
void store(Warp& w, const Instruction& i, Lanes lanes) {
    const Touch to(w, i.of[0], lanes, n * sizeof(T), space, emu::Store);
    for (int k = 0; k < n; ++k) {
        const uint64_t* of = w.read(i.of[1 + k]);
        each(lanes, [&](int lane) { std::memcpy(to[lane] + k * sizeof(T), &of[lane], sizeof(T)); });
    }
}
void atomic_or(Warp& w, const Instruction& i, Lanes lanes) {
    const Touch at(w, i.of[0], lanes, 4, Global, emu::Atomic);
    each(lanes, [&](int lane) {
        u32 old;
        std::memcpy(&old, at[lane], 4);
        const u32 x = old | as<u32>(w.read(i.of[1])[lane]);
        std::memcpy(at[lane], &x, 4);
        w.of(i.to[0])[lane] = old;
    });
}

// Asynchronous copies arrive when they are waited for, and not before. The bytes left out are zero.
void copy(Warp& w, const Instruction& i, Lanes lanes) {
    const uint64_t *to = w.read(i.of[0]), *bytes = w.read(i.of[3]);
    Lanes reading = 0;
    each(lanes, [&](int lane) {
        if (bytes[lane] != 0 && bytes[lane] != 16) emu::fail("a copy of a part of 16 bytes");
        reading |= Lanes(bytes[lane] != 0) << lane;
    });
    const Touch from(w, i.of[1], reading, 16, Global, emu::Load);
    each(lanes, [&](int lane) {
        char* source = reading >> lane & 1 ? from[lane] : nullptr;
        w.copies[lane].back().push_back({shared + as<s32>(to[lane]) + i.of[0].offset, source});
    });
}
void commit(Warp& w, const Instruction&, Lanes lanes) {
    each(lanes, [&](int lane) { w.copies[lane].emplace_back(); });
}
void arrive(Warp& w, const Instruction& i, Lanes lanes) {
    each(lanes, [&](int lane) {
        Copies& groups = w.copies[lane];
        for (const size_t left = w.read(i.of[0])[lane]; groups.size() > left + 1; groups.pop_front())
            for (const Copy& c : groups.front()) {
                if (c.to < shared || c.to + 16 > shared + w.function->shared || (c.to - shared) % 16)
                    emu::fail("an asynchronous copy outside shared memory, or misaligned");
                emu::access(w.first_thread + lane, c.to, 16, emu::Store);
                if (c.from) std::memcpy(c.to, c.from, 16);
                else std::memset(c.to, 0, 16);
            }
    });
}

// Between threads.

void barrier(Warp& w, const Instruction&, Lanes lanes) { w.wait(lanes, w.place, w.at_barrier); }
void cluster_barrier(Warp& w, const Instruction&, Lanes lanes) { w.wait(lanes, w.place, w.at_cluster); }

// Whether all that take part are here; else those that are wait.
bool complete(Warp& w, const Instruction& i, Lanes& lanes, Lanes wanted) {
    each(w.at_shuffle, [&](int lane) { lanes |= Lanes(w.next[lane] == i.number) << lane; });
    if ((lanes & wanted) != wanted) return w.wait(lanes, i.number, w.at_shuffle), false;
    if (lanes != wanted) emu::fail("a shuffle by a lane that its mask leaves out");
    w.at_shuffle &= ~lanes, w.ready |= lanes, w.group |= lanes;
    return true;
}
void butterfly(Warp& w, const Instruction& i, Lanes lanes) {
    const int some = __builtin_ctz(lanes);
    if (!complete(w, i, lanes, w.read(i.of[3])[some])) return;
    if (w.read(i.of[2])[some] != 31) emu::fail("a shuffle of a part of a warp");
    uint64_t of[kLanes];
    std::copy(w.read(i.of[0]), w.read(i.of[0]) + kLanes, of);
    each(lanes, [&](int lane) {
        const int from = lane ^ as<s32>(w.read(i.of[1])[lane]);
        if (!(lanes >> from & 1)) emu::fail("a shuffle from a lane that its mask leaves out");
        w.of(i.to[0])[lane] = of[from], w.of(i.to[1])[lane] = true;
    });
}
template <bool half>
void multiply(Warp& w, const Instruction& i, Lanes lanes) {
    if (!complete(w, i, lanes, ~Lanes(0))) return;
    ++counts.products;
    const uint64_t* words[6];
    for (int k = 0; k < 6; ++k) words[k] = w.read(i.of[k]);
    if constexpr (!half)
        for (const uint64_t* word : words)
            each(lanes, [&](int lane) {
                if (word[lane] & 0x1fff) emu::fail("an operand that was not rounded to tf32");
            });
    uint64_t sums[4][kLanes];
    each(lanes, [&](int lane) {
        f32 c[4];
        for (int k = 0; k < 4; ++k) c[k] = as<f32>(w.read(i.of[6 + k])[lane]);
        emu::multiply(half, c, lane, [&](unsigned l, int k) { return u32(words[k][l]); });
        for (int k = 0; k < 4; ++k) sums[k][lane] = bits(c[k]);
    });
    for (int k = 0; k < 4; ++k) std::copy(sums[k], sums[k] + kLanes, w.of(i.to[k]));
}

void branch(Warp& w, const Instruction& i, Lanes lanes) {
    if (lanes == w.group) w.place = i.target;
    else w.part(lanes, i.target);
}
void finish(Warp& w, const Instruction&, Lanes lanes) { w.ready &= ~lanes, w.group &= ~lanes; }
void wait_for_launch(Warp& w, const Instruction&, Lanes lanes) { w.launch_is_over |= lanes; }
void nothing(Warp&, const Instruction&, Lanes) {}

u32 permuted(u32 x, u32 y, u32 which) {
    if (which & 0x8888) emu::fail("prmt that spreads signs");
    return __byte_perm(x, y, which);
}
u32 inserted(u32 field, u32 into, u32 at, u32 bits) {
    const u32 mask = (bits >= 32 ? ~0u : (1u << bits) - 1) << at;
    return (into & ~mask) | (field << at & mask);
}

#define V(...) value<([] __VA_ARGS__)>
// Comparisons of integers, of the six kinds.
#define COMPARE(suffix, T)                                                                                       \
    {"setp.eq." suffix, V((T x, T y) { return x == y; })}, {"setp.ne." suffix, V((T x, T y) { return x != y; })}, \
    {"setp.lt." suffix, V((T x, T y) { return x < y; })}, {"setp.le." suffix, V((T x, T y) { return x <= y; })},  \
    {"setp.gt." suffix, V((T x, T y) { return x > y; })}, {"setp.ge." suffix, V((T x, T y) { return x >= y; })}
// Of floats: these are false where one is NaN, as in C, but for `ne`; their kin that end in u are true there.
#define COMPARE_FLOATS(suffix, T)                                                                                    \
    {"setp.eq." suffix, V((T x, T y) { return x == y; })},                                                            \
    {"setp.ne." suffix, V((T x, T y) { return x < y || x > y; })},                                                    \
    {"setp.lt." suffix, V((T x, T y) { return x < y; })}, {"setp.le." suffix, V((T x, T y) { return x <= y; })},      \
    {"setp.gt." suffix, V((T x, T y) { return x > y; })}, {"setp.ge." suffix, V((T x, T y) { return x >= y; })},      \
    {"setp.equ." suffix, V((T x, T y) { return !(x < y || x > y); })},                                                \
    {"setp.neu." suffix, V((T x, T y) { return x != y; })},                                                           \
    {"setp.ltu." suffix, V((T x, T y) { return !(x >= y); })},                                                        \
    {"setp.leu." suffix, V((T x, T y) { return !(x > y); })},                                                         \
    {"setp.gtu." suffix, V((T x, T y) { return !(x <= y); })},                                                        \
    {"setp.geu." suffix, V((T x, T y) { return !(x < y); })},                                                         \
    {"setp.nan." suffix, V((T x, T y) { return x != x || y != y; })}
#define MOVES(suffix, T) \
    {"mov." suffix, V((T x) { return x; })}, {"selp." suffix, V((T x, T y, bool p) { return p ? x : y; })}
#define LOADS(opcode, space, suffix, T)                                                        \
    {opcode "." suffix, load<T, 1, space>}, {opcode ".v2." suffix, load<T, 2, space>},         \
    {opcode ".v4." suffix, load<T, 4, space>}
#define STORES(opcode, space, suffix, T)                                                       \
    {opcode "." suffix, store<T, 1, space>}, {opcode ".v2." suffix, store<T, 2, space>},       \
    {opcode ".v4." suffix, store<T, 4, space>}
#define OF_ALL_TYPES(WHAT, opcode, space)                                                             \
    WHAT(opcode, space, "u8", u8), WHAT(opcode, space, "u16", u16), WHAT(opcode, space, "u32", u32),  \
    WHAT(opcode, space, "s32", u32), WHAT(opcode, space, "b32", u32), WHAT(opcode, space, "f32", u32), \
    WHAT(opcode, space, "u64", u64), WHAT(opcode, space, "b64", u64), WHAT(opcode, space, "f64", u64)

const std::unordered_map<std::string, Action> table = {
    MOVES("pred", bool), MOVES("b16", u16), MOVES("u16", u16), MOVES("b32", u32), MOVES("u32", u32), MOVES("s32", u32),
    MOVES("f32", u32), MOVES("b64", u64), MOVES("u64", u64), MOVES("s64", u64), MOVES("f64", u64),
    {"pack.b64", V((u32 low, u32 high) { return u64(high) << 32 | low; })},
    {"unpack.b64", [](Warp& w, const Instruction& i, Lanes lanes) {
         each(lanes, [&](int lane) {
             const u64 x = w.read(i.of[0])[lane];
             w.of(i.to[0])[lane] = u32(x), w.of(i.to[1])[lane] = x >> 32;
         });
     }},
    // Integers wrap around.
    {"add.s32", V((u32 x, u32 y) { return x + y; })}, {"add.s64", V((u64 x, u64 y) { return x + y; })},
    {"sub.s32", V((u32 x, u32 y) { return x - y; })}, {"sub.s64", V((u64 x, u64 y) { return x - y; })},
    {"mul.lo.s32", V((u32 x, u32 y) { return x * y; })}, {"mul.lo.s64", V((u64 x, u64 y) { return x * y; })},
    {"mul.hi.u32", V((u32 x, u32 y) { return u32(u64(x) * y >> 32); })},
    {"mul.wide.u32", V((u32 x, u32 y) { return u64(x) * y; })},
    {"mul.wide.s32", V((s32 x, s32 y) { return s64(x) * y; })},
    {"mul.wide.u16", V((u16 x, u16 y) { return u32(x) * y; })},
    {"mad.lo.s32", V((u32 x, u32 y, u32 z) { return x * y + z; })},
    {"div.s32", V((s32 x, s32 y) { return x / y; })}, {"div.u32", V((u32 x, u32 y) { return x / y; })},
    {"rem.s32", V((s32 x, s32 y) { return x % y; })},
    {"rem.u32", V((u32 x, u32 y) { return x % y; })}, {"max.s32", V((s32 x, s32 y) { return x > y ? x : y; })},
    {"min.s32", V((s32 x, s32 y) { return x < y ? x : y; })}, {"neg.s32", V((u32 x) { return -x; })},
    {"and.b16", V((u16 x, u16 y) { return u16(x & y); })},
    {"and.b32", V((u32 x, u32 y) { return x & y; })}, {"and.b64", V((u64 x, u64 y) { return x & y; })},
    {"or.b32", V((u32 x, u32 y) { return x | y; })}, {"xor.b32", V((u32 x, u32 y) { return x ^ y; })},
    {"not.b32", V((u32 x) { return ~x; })},
    {"and.pred", V((bool x, bool y) { return x && y; })}, {"or.pred", V((bool x, bool y) { return x || y; })},
    {"xor.pred", V((bool x, bool y) { return x != y; })}, {"not.pred", V((bool x) { return !x; })},
    // By 32 or 64 and more: all bits go.
    {"shl.b32", V((u32 x, u32 n) { return n < 32 ? x << n : 0; })},
    {"shr.u32", V((u32 x, u32 n) { return n < 32 ? x >> n : 0; })},
    {"shr.s32", V((s32 x, u32 n) { return x >> (n < 31 ? n : 31); })},
    {"shl.b64", V((u64 x, u32 n) { return n < 64 ? x << n : 0; })},
    {"shr.u64", V((u64 x, u32 n) { return n < 64 ? x >> n : 0; })},
    {"shr.s64", V((s64 x, u32 n) { return x >> (n < 63 ? n : 63); })},
    {"prmt.b32", value<permuted>}, {"bfi.b32", value<inserted>}, {"clz.b32", V((u32 x) { return u32(__clz(x)); })},
    // Floats: to the nearest unless it says otherwise.
    {"add.f32", V((f32 x, f32 y) { return x + y; })}, {"add.rn.f32", V((f32 x, f32 y) { return x + y; })},
    {"add.rz.f32", V((f32 x, f32 y) {
         return rounding(FE_TOWARDZERO, [&] { volatile f32 a = x, b = y; return a + b; });
     })},
    {"sub.f32", V((f32 x, f32 y) { return x - y; })}, {"mul.f32", V((f32 x, f32 y) { return x * y; })},
    {"mul.rn.f32", V((f32 x, f32 y) { return x * y; })},
    {"fma.rn.f32", V((f32 x, f32 y, f32 z) { return std::fma(x, y, z); })},
    {"fma.rm.f32", V((f32 x, f32 y, f32 z) {
         return rounding(FE_DOWNWARD, [&] { volatile f32 a = x, b = y, c = z; return std::fma(a, b, c); });
     })},
    {"div.rn.f32", V((f32 x, f32 y) { return x / y; })},
    {"rcp.rn.f32", V((f32 x) { return 1 / x; })},
    {"rcp.approx.ftz.f32", V((f32 x) { return flushed(1 / flushed(x)); })},
    {"sqrt.rn.f32", V((f32 x) { return std::sqrt(x); })}, {"sqrt.approx.ftz.f32", V((f32 x) { return std::sqrt(flushed(x)); })},
    {"ex2.approx.f32", V((f32 x) { return f32(std::exp2(f64(x))); })},
    {"ex2.approx.ftz.f32", V((f32 x) { return flushed(f32(std::exp2(f64(flushed(x))))); })},
    {"neg.f32", V((f32 x) { return -x; })}, {"abs.f32", V((f32 x) { return std::fabs(x); })},
    {"max.f32", V((f32 x, f32 y) { return std::fmax(x, y); })}, {"min.f32", V((f32 x, f32 y) { return std::fmin(x, y); })},
    {"copysign.f32", V((f32 sign, f32 size) { return std::copysign(size, sign); })},
    {"add.f64", V((f64 x, f64 y) { return x + y; })}, {"add.rn.f64", V((f64 x, f64 y) { return x + y; })},
    {"sub.f64", V((f64 x, f64 y) { return x - y; })}, {"mul.f64", V((f64 x, f64 y) { return x * y; })},
    {"fma.rn.f64", V((f64 x, f64 y, f64 z) { return std::fma(x, y, z); })},
    {"div.rn.f64", V((f64 x, f64 y) { return x / y; })}, {"sqrt.rn.f64", V((f64 x) { return std::sqrt(x); })},
    // Its low word is zero: 20 bits of the mantissa are exact enough for what follows.
    {"rcp.approx.ftz.f64", V((f64 x) {
         const f64 y = 1 / x;
         u64 bits;
         std::memcpy(&bits, &y, 8);
         return bits & 0xffffffff00000000u;
     })},
    {"neg.f64", V((f64 x) { return -x; })}, {"max.f64", V((f64 x, f64 y) { return std::fmax(x, y); })},
    // From one type to another.
    {"cvt.s64.s32", V((s32 x) { return s64(x); })}, {"cvt.u64.u32", V((u32 x) { return u64(x); })},
    {"cvt.u16.u32", V((u32 x) { return u16(x); })}, {"cvt.u32.u64", V((u64 x) { return u32(x); })}, {"cvt.rn.f32.s32", V((s32 x) { return f32(x); })},
    {"cvt.rn.f32.u32", V((u32 x) { return f32(x); })}, {"cvt.rn.f32.u16", V((u16 x) { return f32(x); })},
    {"cvt.rn.f64.s32", V((s32 x) { return f64(x); })}, {"cvt.f64.f32", V((f32 x) { return f64(x); })},
    {"cvt.rn.f32.f64", V((f64 x) { return f32(x); })}, {"cvt.rni.f32.f32", V((f32 x) { return std::nearbyint(x); })},
    {"cvt.rzi.f32.f32", V((f32 x) { return std::trunc(x); })},
    {"cvt.rzi.s32.f32", V((f32 x) { return saturated<s32>(x); })},
    {"cvt.sat.f32.f32", V((f32 x) { return x > 0 ? x < 1 ? x : 1.0f : 0.0f; })},
    {"cvt.rn.tf32.f32", V((f32 x) { return shortened(x, 13, true); })},
    {"cvt.rna.tf32.f32", V((f32 x) { return shortened(x, 13, false); })},
    {"cvt.rn.bf16x2.f32", V((f32 high, f32 low) { return shortened(high, 16, true) | shortened(low, 16, true) >> 16; })},
    COMPARE("b16", u16), COMPARE("s16", int16_t), COMPARE("u16", u16), COMPARE("b32", u32), COMPARE("s32", s32),
    COMPARE("u32", u32), COMPARE("s64", s64), COMPARE("u64", u64), COMPARE_FLOATS("f32", f32), COMPARE_FLOATS("f64", f64),
    // Memory. An address of device memory is its address here; one of shared memory made generic is, too.
    OF_ALL_TYPES(LOADS, "ld.global", Global), OF_ALL_TYPES(LOADS, "ld.global.nc", Global),
    OF_ALL_TYPES(LOADS, "ld.shared", Shared), OF_ALL_TYPES(LOADS, "ld.param", Parameter),
    OF_ALL_TYPES(LOADS, "ld", Generic), OF_ALL_TYPES(STORES, "st.global", Global),
    OF_ALL_TYPES(STORES, "st.shared", Shared), OF_ALL_TYPES(STORES, "st", Generic),
    {"cvta.to.global.u64", V((u64 x) { return x; })},
    {"cvta.shared.u64", V((u64 x) { return x + reinterpret_cast<u64>(shared); })},
    {"cvta.to.shared.u64", V((u64 x) { return x - reinterpret_cast<u64>(shared); })},
    {"atom.global.or.b32", atomic_or},
    {"cp.async.cg.shared.global", copy}, {"cp.async.commit_group", commit}, {"cp.async.wait_group", arrive},
    {"bar.sync", barrier}, {"shfl.sync.bfly.b32", butterfly},
    {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", multiply<false>},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", multiply<true>},
    {"bra", branch}, {"bra.uni", branch}, {"ret", finish},
    {"barrier.cluster.arrive.release.aligned", nothing}, {"barrier.cluster.wait.acquire.aligned", cluster_barrier},
    {"griddepcontrol.wait", wait_for_launch}, {"griddepcontrol.launch_dependents", nothing},
};

}  // namespace

Action action(const std::string& opcode) {
    const auto found = table.find(opcode);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace ptx
