// A stand-in for libcublasLt.so.13: what the program calls of it, with a naive product. It works on the streams of the
// stand-in driver, so it is captured, replayed and traced with everything else. Where the real library would be fast
// but wrong, or slow but right, this one refuses: pointers less aligned than was promised to the heuristic, a workspace
// smaller than promised or of another stream, an algorithm used for another product. It offers three algorithms for
// a product, which add up in different orders. From the environment:
//   STAND_IN_EPILOGUES=0   there is no epilogue but the default
//   STAND_IN_FASTEST=N     events know no time but that of products: a microsecond of algorithm N, 200 of the others
#include "stand_in.h"

#include <algorithm>
#include <cstring>
#include <map>

using namespace stand_in;

namespace {

enum Status { Success, InvalidValue = 7, NotSupported = 15 };
enum Type { Float = 0, Bf16 = 14 };
enum Compute { FullFloat = 68, Tf32 = 77 };
enum { Default = 1, Bias = 4, ReluBias = 6 };

struct Handle { std::map<uintptr_t, void*> streams; };  // each workspace is one stream's
struct Desc { int compute, scale, trans_a = 0, trans_b = 0, epilogue = Default, bias_type = -1; uint64_t bias = 0; };
struct Layout { int type; uint64_t rows, cols; int64_t ld; };
struct Preference { uint64_t workspace = 0; uint32_t schemes = 7, alignment[4] = {256, 256, 256, 256}; };
struct Result { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };

// An operand in device memory, column-major, transposed where `t`.
struct Operand {
    const Layout& layout;
    uintptr_t data;
    bool t;

    uint64_t rows() const { return t ? layout.cols : layout.rows; }
    uint64_t cols() const { return t ? layout.rows : layout.cols; }
    size_t width() const { return layout.type == Float ? 4 : 2; }
    bool valid() const {
        const Layout& l = layout;
        if (l.type != Float && l.type != Bf16) return false;
        return l.ld >= int64_t(l.rows) && allocated(data, width() * ((l.cols - 1) * l.ld + l.rows));
    }
    float operator()(uint64_t i, uint64_t j) const {
        const uintptr_t p = data + width() * (t ? j + i * layout.ld : i + j * layout.ld);
        if (layout.type == Float) return *(const float*)p;
        const uint32_t bits = uint32_t(*(const uint16_t*)p) << 16;
        float x;
        return memcpy(&x, &bits, 4), x;
    }
};

bool shapes_agree(const Desc& d, const Layout& a, const Layout& b, const Layout& c) {
    const Operand A{a, 0, d.trans_a != 0}, B{b, 0, d.trans_b != 0};
    return A.rows() == c.rows && B.cols() == c.cols && A.cols() == B.rows() && c.type == Float && a.type == b.type &&
           a.ld >= int64_t(a.rows) && b.ld >= int64_t(b.rows) && c.ld >= int64_t(c.rows);
}

template <class T>
int assign(T& field, const void* value, size_t size) {
    if (size != sizeof(T)) return InvalidValue;
    memcpy(&field, value, size);
    return Success;
}

}  // namespace

extern "C" size_t cublasLtGetVersion() { enter(__func__); return setting("STAND_IN_CUBLAS", 130100); }
API cublasLtCreate(Handle** handle) { ENTER; disturb(); *handle = new Handle; return Success; }
API cublasLtDestroy(Handle* handle) { ENTER; disturb(); delete handle; return Success; }
API cublasLtMatmulDescCreate(Desc** d, int compute, int scale) {
    ENTER;
    *d = new Desc{compute, scale};
    return scale == Float ? Success : NotSupported;
}
API cublasLtMatmulDescDestroy(Desc* d) { ENTER; delete d; return Success; }
API cublasLtMatmulDescSetAttribute(Desc* d, int attribute, const void* value, size_t size) {
    ENTER;
    switch (attribute) {
        case 3: return assign(d->trans_a, value, size);
        case 4: return assign(d->trans_b, value, size);
        case 7: return assign(d->epilogue, value, size);
        case 8: return assign(d->bias, value, size);
        case 26: return assign(d->bias_type, value, size);
        default: return InvalidValue;
    }
}
API cublasLtMatrixLayoutCreate(Layout** l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    ENTER;
    *l = new Layout{type, rows, cols, ld};
    return Success;
}
API cublasLtMatrixLayoutDestroy(Layout* l) { ENTER; delete l; return Success; }
API cublasLtMatmulPreferenceCreate(Preference** p) { ENTER; *p = new Preference; return Success; }
API cublasLtMatmulPreferenceDestroy(Preference* p) { ENTER; delete p; return Success; }
API cublasLtMatmulPreferenceSetAttribute(Preference* p, int attribute, const void* value, size_t size) {
    ENTER;
    switch (attribute) {
        case 1: return assign(p->workspace, value, size);
        case 3: return assign(p->schemes, value, size);
        case 5: case 6: case 7: case 8: return assign(p->alignment[attribute - 5], value, size);
        default: return InvalidValue;
    }
}
API cublasLtMatmulAlgoGetHeuristic(Handle*, const Desc* d, const Layout* a, const Layout* b, const Layout* c,
                                   const Layout*, const Preference* p, int wanted, Result* results, int* found) {
    ENTER;
    *found = 0;
    if (wanted < 1 || !shapes_agree(*d, *a, *b, *c)) return InvalidValue;
    const bool bf16 = a->type == Bf16, compute = d->compute == FullFloat || (d->compute == Tf32 && !bf16);
    const bool epilogue = d->epilogue == Bias || d->epilogue == ReluBias;
    if (!compute || (!epilogue && d->epilogue != Default)) return NotSupported;
    if (epilogue && (!setting("STAND_IN_EPILOGUES", 1) || !d->bias || (d->bias_type != -1 && d->bias_type != Float)))
        return NotSupported;
    // The opaque bytes of an algorithm: what tells one product from another, and what was promised.
    const uint64_t alignment = p->alignment[0] | uint64_t(p->alignment[1]) << 9 | uint64_t(p->alignment[2]) << 18 |
                               uint64_t(p->alignment[3]) << 27;
    for (; *found < std::min(wanted, 3); ++*found) {
        const uint64_t number = *found;
        results[number] = Result{{c->rows, c->cols, uint64_t(d->trans_a ? a->rows : a->cols), uint64_t(d->epilogue),
                                  d->bias, alignment | number << 40, p->workspace, uint64_t(a->type)},
                                 size_t(p->workspace), Success, 1.0f, {}};
    }
    return Success;
}
// d = epilogue(alpha op(a) op(b) + beta c), with op(a): (m, k), op(b): (k, n)
API cublasLtMatmul(Handle* handle, const Desc* desc, const float* alpha, uintptr_t a, const Layout* a_layout,
                   uintptr_t b, const Layout* b_layout, const float* beta, uintptr_t c, const Layout*, uintptr_t d,
                   const Layout* d_layout, const uint64_t* algo, uintptr_t workspace, size_t bytes, void* stream) {
    ENTER;
    const Desc what = *desc;
    const Layout a_is = *a_layout, b_is = *b_layout, d_is = *d_layout;
    if (!shapes_agree(what, a_is, b_is, d_is) || *alpha != 1.0f || *beta != 0.0f || c != d) return InvalidValue;
    const Operand A{a_is, a, what.trans_a != 0}, B{b_is, b, what.trans_b != 0}, D{d_is, d, false};
    if (!A.valid() || !B.valid() || !D.valid()) return InvalidValue;
    if (!algo || algo[0] != d_is.rows || algo[1] != d_is.cols || algo[2] != A.cols() ||
        algo[3] != uint64_t(what.epilogue) || algo[4] != what.bias || algo[7] != uint64_t(a_is.type))
        return InvalidValue;
    const uint64_t alignment = algo[5], number = algo[5] >> 40, mask = 511;
    if (a % (alignment & mask) || b % (alignment >> 9 & mask) || c % (alignment >> 18 & mask) ||
        d % (alignment >> 27 & mask))
        return InvalidValue;
    if (bytes < algo[6] || !allocated(workspace, bytes)) return InvalidValue;
    if (handle->streams.emplace(workspace, stream).first->second != stream) return InvalidValue;
    if (what.epilogue != Default && !allocated(what.bias, 4 * d_is.rows)) return InvalidValue;
    return enqueue(stream, [=] {
        const Operand A{a_is, a, what.trans_a != 0}, B{b_is, b, what.trans_b != 0};
        const int fastest = setting("STAND_IN_FASTEST", -1);
        if (fastest >= 0) takes(number == uint64_t(fastest) ? 1 : 200);
        const uint64_t depth = A.cols();
        for (uint64_t j = 0; j < d_is.cols; ++j)
            for (uint64_t i = 0; i < d_is.rows; ++i) {
                float sum = 0.0f;
                // From the first to the last; from the last to the first; every third, three times.
                if (number == 1)
                    for (uint64_t l = depth; l-- > 0;) sum += A(i, l) * B(l, j);
                else
                    for (uint64_t part = 0; part <= number; ++part)
                        for (uint64_t l = part; l < depth; l += number + 1) sum += A(i, l) * B(l, j);
                if (what.epilogue != Default) sum += ((const float*)what.bias)[i];
                if (what.epilogue == ReluBias && sum < 0.0f) sum = 0.0f;
                ((float*)d)[i + j * d_is.ld] = sum;
            }
        return 0;
    });
}
