// A stand-in for libcuda.so.1, so that the program as shipped runs its CUDA path without a GPU. Device memory is host
// memory, and kernels run in the emulator, which checks that they keep to their views; these lie in allocations.
//
// Work on a stream runs when the stream is synchronised, so a result read too early is stale here as on a GPU. While a
// stream is captured its work goes to a graph instead, and each launch of the graph enqueues that work again. A stream that
// waits for one in a capture becomes a branch of it, whose work runs as early as it may, or as late: see STAND_IN_BRANCH.
// It is stricter than a GPU where that shows mistakes: nothing allocates, waits or takes the time during a capture. Several
// threads may call: each has its own current context, and their kernels run one after the other; what may wait for the
// whole device, as loading a module does, invalidates the captures of all. The default stream is left out: it cannot be
// captured. The environment says what to report and what to break:
//   STAND_IN_TRACE=FILE        writes the name of every call, one a line
//   STAND_IN_FAIL=CALL:N:CODE  the N-th call of CALL returns CODE; with *, the N-th of all calls (of cuBLAS, status 13)
//   STAND_IN_MEMORY=BYTES      the memory of a device
//   STAND_IN_BRANCH=late       in a graph, a branch runs when it is waited for, not as soon as it is there
//   STAND_IN_EXECUTE=1         executes the PTX that it is given, as one that compiles it does
//   STAND_IN_JIT=0             compiles no PTX, as where the driver's compiler was not installed
//   STAND_IN_VERSION, STAND_IN_DEVICES, STAND_IN_CAPABILITY   what the driver says of itself: 13000, 1, 90
#include "ptx.h"
#include "stand_in.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace {

enum Error {
    Success, InvalidValue, OutOfMemory, InvalidDevice = 101, InvalidImage = 200, InvalidContext = 201,
    NoBinaryForGpu = 209, NoCompiler = 221, UnsupportedPtx = 222, InvalidHandle = 400, NotFound = 500, NotReady = 600,
    IllegalAddress = 700, LaunchFailed = 719, CaptureUnsupported = 900, CaptureInvalidated = 901, CaptureUnjoined = 904
};

using Work = std::function<int()>;
using Clock = std::chrono::steady_clock;
struct Graph { std::vector<Work> work; };
struct Stream {
    std::deque<Work> queue;
    Graph* capture = nullptr;
    bool invalid = false;
    std::vector<Stream*> branches;  // of a trunk, where a capture began
    Stream* trunk = nullptr;        // of a branch
    bool joined = true;             // of a branch: the trunk waits for all of it
    size_t at = 0;                  // of a branch: after so much of the graph its next work runs
    std::vector<Work> late;         // of a branch: what runs when it is waited for
};
struct Event {
    bool timed;
    Stream* stream = nullptr;
    bool reached = false;
    Clock::time_point time;
    Graph* capture = nullptr;  // what was captured when it was recorded, and how much
    size_t at = 0;
};

// Where it matters which of two took longer, no other load of the machine shall decide.
Clock::duration taken{};
Clock::time_point now() {
    return stand_in::setting("STAND_IN_FASTEST", -1) < 0 ? Clock::now() : Clock::time_point(taken);
}

std::map<uintptr_t, size_t> allocations;
size_t in_use;
thread_local int captures;  // under way
std::set<Stream*> capturing;  // of all threads
int holders;                // of the context: when the last one releases it, it ends
int contexts;               // that have ended
int loaded;                 // as many had when the kernels were loaded: those of an ended context are gone
int lost;                   // the error after which every call in this context fails
thread_local void* current_context;

size_t memory() { return getenv("STAND_IN_MEMORY") ? strtoull(getenv("STAND_IN_MEMORY"), nullptr, 10) : 1ull << 32; }

// What a capture cannot hold fails, and then the end of the capture fails too.
int refuse_capture(Stream* s) {
    if (s->capture) s->invalid = true;
    return s->capture ? CaptureUnsupported : Success;
}

int run_queue(Stream* s) {
    while (!s->queue.empty()) {
        const Work work = std::move(s->queue.front());
        s->queue.pop_front();
        if (!lost) lost = work();
    }
    return lost;
}

}  // namespace

std::recursive_mutex stand_in::one_at_a_time;

int stand_in::setting(const char* name, int otherwise) { return getenv(name) ? atoi(getenv(name)) : otherwise; }
void stand_in::takes(int microseconds) { taken += std::chrono::microseconds(microseconds); }

int stand_in::enter(const char* call) {
    std::lock_guard<std::recursive_mutex> alone(one_at_a_time);
    static FILE* trace = getenv("STAND_IN_TRACE") ? fopen(getenv("STAND_IN_TRACE"), "w") : nullptr;
    if (trace) fprintf(trace, "%s\n", call), fflush(trace);
    static int calls = 0;
    char name[64];
    int n, code;
    const char* fail = getenv("STAND_IN_FAIL");
    const bool cublas = !strncmp(call, "cublas", 6);
    if (fail && sscanf(fail, "%63[^:]:%d:%d", name, &n, &code) == 3) {
        const bool any = !strcmp(name, "*");
        if ((any || !strcmp(call, name)) && ++calls == n) {
            if (any && cublas) return 13;
            if (code == IllegalAddress || code == LaunchFailed) lost = code;
            return code;
        }
    }
    return lost && cublas ? 13 /* CUBLAS_STATUS_EXECUTION_FAILED */ : lost;
}

int stand_in::enqueue(void* stream, Work work) {
    Stream* s = static_cast<Stream*>(stream);
    static const bool late = getenv("STAND_IN_BRANCH") && !strcmp(getenv("STAND_IN_BRANCH"), "late");
    if (s->trunk && late) {
        s->late.push_back(std::move(work));
    } else if (s->trunk) {
        std::vector<Work>& all = s->capture->work;
        all.insert(all.begin() + s->at++, std::move(work));
    } else if (s->capture) {
        s->capture->work.push_back(std::move(work));
    } else {
        s->queue.push_back(std::move(work));
    }
    return Success;
}

void stand_in::disturb() {
    for (Stream* s : capturing) s->invalid = true;
}

bool stand_in::allocated(uintptr_t begin, size_t bytes) {
    auto next = allocations.upper_bound(begin);
    return next != allocations.begin() && (--next, begin + bytes <= next->first + next->second);
}

using namespace stand_in;

// The driver, its devices, their contexts.
API cuInit(unsigned) { ENTER; return Success; }
API cuDriverGetVersion(int* v) { ENTER; *v = setting("STAND_IN_VERSION", 13000); return Success; }
API cuDeviceGetCount(int* n) { ENTER; *n = setting("STAND_IN_DEVICES", 1); return Success; }
API cuDeviceGet(int* device, int ordinal) {
    ENTER;
    *device = ordinal;
    return ordinal < setting("STAND_IN_DEVICES", 1) ? Success : InvalidDevice;
}
API cuDeviceGetName(char* name, int len, int) { ENTER; snprintf(name, len, "Stand-in"); return Success; }
API cuDeviceTotalMem_v2(size_t* bytes, int) { ENTER; *bytes = memory(); return Success; }
API cuDeviceGetAttribute(int* v, int attribute, int) {
    ENTER;
    const int capability = setting("STAND_IN_CAPABILITY", 90);
    *v = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : attribute == 16 ? 132 : 1;
    return Success;
}
API cuDevicePrimaryCtxRetain(void** context, int) { ENTER; *context = &lost; ++holders; return Success; }
API cuDevicePrimaryCtxRelease_v2(int) {
    const int code = enter(__func__);
    if (!--holders) lost = 0, ++contexts;
    return code;
}
API cuCtxGetCurrent(void** context) { ENTER; *context = current_context; return Success; }
API cuCtxSetCurrent(void* context) { ENTER; current_context = context; return Success; }
API cuGetErrorString(int code, const char** text) {
    enter(__func__);  // answers on a lost context too
    *text = code == OutOfMemory ? "out of memory" : code == LaunchFailed ? "unspecified launch failure" : "as told";
    return Success;
}

// Kernels. The image is looked at as a driver of that version would; then the emulator's kernels take its place, unless it
// is PTX and shall be executed.
using Module = std::map<std::string, emu::Kernel>;
API cuModuleLoadData(void** module, const char* image) {
    ENTER;
    disturb();
    *module = &lost;
    if (!current_context) return InvalidContext;
    loaded = contexts;
    const int version = setting("STAND_IN_VERSION", 13000), capability = setting("STAND_IN_CAPABILITY", 90);
    if (!memcmp(image, "\x7f" "ELF", 4)) {  // code: CUDA 13 marks its own with another ABI, and moves the architecture
        const bool new_abi = image[7] == 0x41;
        const int arch = (unsigned char)image[48 + new_abi];  // of e_flags
        if (new_abi && version < 13000) return InvalidImage;
        const bool fits = arch / 10 == capability / 10 && arch <= capability;
        return fits ? Success : NoBinaryForGpu;
    }
    if (!setting("STAND_IN_JIT", 1)) return NoCompiler;
    const char *ptx = strstr(image, ".version "), *target = strstr(image, ".target sm_");
    int major, minor, arch;
    if (!ptx || !target || sscanf(ptx, ".version %d.%d", &major, &minor) != 2) return InvalidImage;
    if (sscanf(target, ".target sm_%d", &arch) != 1 || arch > capability) return NoBinaryForGpu;
    // PTX 8.0 came with CUDA 12.0, 9.0 with 13.0; the minor versions differ a little.
    if ((major + 4) * 1000 + minor * 10 > version) return UnsupportedPtx;
    if (!setting("STAND_IN_EXECUTE", 0)) return Success;
    std::string why;
    auto* kernels = new Module(ptx::load(image, why));
    *module = kernels;
    if (!kernels->empty()) return Success;
    fprintf(stderr, "stand-in: %s\n", why.c_str());
    return InvalidImage;
}
API cuModuleGetFunction(const emu::Kernel** function, void* module, const char* name) {
    ENTER;
    if (module == &lost) {
        *function = emu::find(name);
    } else {
        const Module& kernels = *static_cast<Module*>(module);
        const auto found = kernels.find(name);
        *function = found == kernels.end() ? nullptr : &found->second;
    }
    return *function ? Success : NotFound;
}
API cuModuleUnload(void* module) {
    ENTER;
    disturb();
    if (module != &lost) delete static_cast<Module*>(module);
    return Success;
}
struct Attribute { int id; char pad[4]; unsigned value[16]; };
struct LaunchConfig {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared;
    Stream* stream;
    const Attribute* attributes;
    unsigned count;
};
API cuFuncSetAttribute(const emu::Kernel*, int, int) { ENTER; return Success; }
// As many clusters of two blocks, or of STAND_IN_CLUSTER, as there are processors for; no larger ones.
API cuOccupancyMaxActiveClusters(int* n, const emu::Kernel*, const LaunchConfig* config) {
    ENTER;
    for (const Attribute& a : std::span(config->attributes, config->count))
        if (a.id == 4) *n = int(a.value[0]) <= setting("STAND_IN_CLUSTER", 2) ? 132 / a.value[0] : 0;
    return Success;
}
API cuLaunchKernelEx(const LaunchConfig* config, const emu::Kernel* kernel, char** args, void**) {
    ENTER;
    const auto [grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, attributes, count] = *config;
    unsigned cluster = 1;
    for (const Attribute& a : std::span(attributes, count))
        if (a.id == 4) cluster = a.value[0];
    if (loaded != contexts) return InvalidHandle;
    const size_t blocks = size_t(grid_x) * grid_y * grid_z, threads = size_t(block_x) * block_y * block_z;
    if (!blocks || grid_y > 65535 || grid_z > 65535 || !threads || threads > 1024 || shared) return InvalidValue;
    std::vector<std::vector<char>> values;  // copied now: the caller's are gone when the kernel runs
    for (size_t i = 0; i < kernel->sizes.size(); ++i) values.emplace_back(args[i], args[i] + kernel->sizes[i]);
    const dim3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    return enqueue(stream, [=]() mutable -> int {
        std::vector<void*> pointers;
        for (auto& value : values) pointers.push_back(value.data());
        for (const emu::View& v : kernel->views(pointers.data()))
            if (v.rows && v.cols && !allocated(v.begin, (v.rows - 1) * v.stride + v.cols)) {
                fprintf(stderr, "stand-in: %s: a view lies outside every allocation\n", kernel->name);
                return IllegalAddress;
            }
        const char* error = emu::launch(*kernel, grid, block, cluster, pointers.data(), false);
        if (error) fprintf(stderr, "stand-in: %s\n", error);
        return error ? IllegalAddress : Success;
    });
}

// Memory. An address is an integer, as in cuda.h.
API cuMemAlloc_v2(uintptr_t* p, size_t bytes) {
    ENTER;
    if (!current_context) return InvalidContext;
    if (captures) return CaptureUnsupported;
    if (!bytes) return InvalidValue;
    if (bytes > memory() - in_use) return OutOfMemory;
    *p = uintptr_t(aligned_alloc(256, (bytes + 255) / 256 * 256));
    memset((void*)*p, 0xff, bytes);  // floats that nobody wrote are NaN
    allocations[*p] = bytes, in_use += bytes;
    return Success;
}
API cuMemFree_v2(uintptr_t p) {  // at once: work that still uses it shows
    ENTER;
    auto it = allocations.find(p);
    if (it == allocations.end()) return InvalidValue;
    in_use -= it->second, allocations.erase(it), free((void*)p);
    return Success;
}
API cuMemGetInfo_v2(size_t* available, size_t* total) {
    ENTER;
    *total = memory(), *available = memory() - in_use;
    return Success;
}
API cuMemcpyHtoDAsync_v2(uintptr_t dst, const char* src, size_t bytes, Stream* stream) {
    ENTER;
    if (!allocated(dst, bytes)) return InvalidValue;
    if (int code = refuse_capture(stream)) return code;  // a GPU would read `src` again at every replay
    std::string staged(src, bytes);  // memory that is not pinned has been read when the call returns
    return enqueue(stream, [=]() -> int {
        if (!allocated(dst, bytes)) return IllegalAddress;
        return memcpy((void*)dst, staged.data(), bytes), Success;
    });
}
API cuMemcpyDtoHAsync_v2(void* dst, uintptr_t src, size_t bytes, Stream* stream) {
    ENTER;
    if (!allocated(src, bytes)) return InvalidValue;
    if (int code = refuse_capture(stream)) return code;
    return enqueue(stream, [=]() -> int {
        if (!allocated(src, bytes)) return IllegalAddress;
        return memcpy(dst, (void*)src, bytes), Success;
    });
}
API cuMemcpyDtoDAsync_v2(uintptr_t dst, uintptr_t src, size_t bytes, Stream* stream) {
    ENTER;
    if (!allocated(dst, bytes) || !allocated(src, bytes)) return InvalidValue;
    return enqueue(stream, [=]() -> int {
        if (!allocated(dst, bytes) || !allocated(src, bytes)) return IllegalAddress;
        return memcpy((void*)dst, (void*)src, bytes), Success;
    });
}
API cuMemsetD8Async(uintptr_t dst, unsigned char value, size_t bytes, Stream* stream) {
    ENTER;
    if (!allocated(dst, bytes)) return InvalidValue;
    return enqueue(stream, [=]() -> int {
        if (!allocated(dst, bytes)) return IllegalAddress;
        return memset((void*)dst, value, bytes), Success;
    });
}

// Streams, events and graphs.
API cuStreamCreate(Stream** s, unsigned) { ENTER; *s = new Stream; return Success; }
API cuStreamDestroy_v2(Stream* s) { ENTER; const int code = run_queue(s); delete s; return code; }
API cuStreamSynchronize(Stream* s) { ENTER; const int code = refuse_capture(s); return code ? code : run_queue(s); }
API cuStreamBeginCapture_v2(Stream* s, int) {
    ENTER;
    if (s->capture) return InvalidValue;
    s->capture = new Graph, ++captures, capturing.insert(s);
    return Success;
}
API cuStreamWaitEvent(Stream* s, Event* e, unsigned) {
    ENTER;
    if (!e->stream || (s->capture && e->capture != s->capture)) return InvalidValue;
    if (!e->capture) return enqueue(s, [=] { return e->reached ? Success : run_queue(e->stream); });
    if (!s->capture) {  // joins the capture
        s->capture = e->capture, s->trunk = e->stream;
        e->stream->branches.push_back(s);
    }
    if (s->trunk == e->stream) {
        s->at = std::max(s->at, e->at), s->joined = false;
    } else if (e->stream->trunk == s) {
        for (Work& work : std::exchange(e->stream->late, {})) s->capture->work.push_back(std::move(work));
        e->stream->joined = true;
    } else {
        return InvalidValue;  // a branch of a branch
    }
    return Success;
}
API cuStreamEndCapture(Stream* s, Graph** graph) {
    std::lock_guard<std::recursive_mutex> alone(stand_in::one_at_a_time);
    // Ends also where it is told to fail: a stream does not stay in a capture that nobody can end.
    if (s->trunk) return InvalidValue;
    if (s->capture) --captures, capturing.erase(s);
    *graph = std::exchange(s->capture, nullptr);
    int told = enter(__func__);
    for (Stream* branch : std::exchange(s->branches, {})) {
        if (branch->invalid) s->invalid = true;
        if (!branch->joined && !told) told = CaptureUnjoined;
        *branch = Stream{std::move(branch->queue)};  // as it was before
    }
    if (!std::exchange(s->invalid, false) && !told) return *graph ? Success : InvalidValue;
    delete std::exchange(*graph, nullptr);
    return told ? told : CaptureInvalidated;
}
API cuGraphInstantiateWithFlags(Graph** exec, Graph* g, size_t) { ENTER; *exec = new Graph(*g); return Success; }
API cuGraphGetNodes(Graph* graph, void** nodes, size_t* count) {
    ENTER;
    if (nodes) return InvalidValue;  // counted only
    *count = graph->work.size();
    return Success;
}
API cuGraphUpload(Graph*, Stream*) { ENTER; return Success; }
API cuGraphLaunch(Graph* exec, Stream* s) {
    ENTER;
    for (const Work& work : exec->work) enqueue(s, work);
    return Success;
}
API cuGraphExecDestroy(Graph* exec) { ENTER; delete exec; return Success; }
API cuGraphDestroy(Graph* graph) { ENTER; delete graph; return Success; }
API cuEventCreate(Event** e, unsigned flags) { ENTER; *e = new Event{!(flags & 2)}; return Success; }
API cuEventDestroy_v2(Event* e) {
    ENTER;
    if (e->stream && !e->capture) run_queue(e->stream);
    delete e;
    return Success;
}
API cuEventRecord(Event* e, Stream* s) {
    ENTER;
    if (e->timed)
        if (int code = refuse_capture(s)) return code;
    e->stream = s, e->reached = false, e->capture = s->capture;
    if (s->capture) return e->at = s->capture->work.size(), Success;
    return enqueue(s, [=] { return e->reached = true, e->time = now(), Success; });
}
API cuEventSynchronize(Event* e) { ENTER; return e->stream ? run_queue(e->stream) : Success; }
API cuEventElapsedTime(float* ms, Event* begin, Event* end) {
    ENTER;
    if (!begin->reached || !end->reached) return NotReady;
    *ms = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return Success;
}
