// Runs the kernels of kernels/*.cu on the CPU, one block at a time (or cluster, block by block), one fiber per thread, so that `cargo test` executes
// every kernel, and the Rust code that launches it, on a machine without a GPU. Every thread of the host has an emulator of
// its own, shared memory included: tests run side by side.
//
// Kernels are compiled with -fsanitize=thread but not linked with its runtime: this file defines the __tsan_* hooks
// itself, and so sees every load and store before it happens. It reports
//   * an access outside the views that the arguments describe, or a store to one that is read-only;
//   * a data race: two threads touch a word, at least one stores, and no barrier separates them;
//   * a barrier or shuffle that some of its threads never reach, a shuffle by or from a lane that its mask leaves out;
//   * an access to an address that is not a multiple of its size, up to 128 bits;
//   * a load of shared memory that nobody wrote, in this block.
// Not modelled: warp-level ordering (intervals end at __syncthreads only), speed, and anything else.
#include "tensor_core.h"

#include <link.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <memory>
#include <string>
#include <unordered_map>

// Defined by the linker: the program or library that this file is part of.
extern "C" __attribute__((visibility("hidden"))) char __ehdr_start[], _end[];

namespace emu {

thread_local constinit Here here;
thread_local constinit const char* doing;

namespace {

enum State : uint8_t { Ready, AtWarp, AtBlock, AtCluster, Done };

constexpr unsigned kThreads = 1024, kFibers = 4096;  // of a block, of a cluster
constexpr size_t kStack = 64 << 10;

struct Thread {
    jmp_buf context;
    bool started;             // its fiber runs and can be resumed
    State state;
    int line;                 // of the barrier it waits at
    unsigned mask;            // lanes it waits for, when AtWarp
    unsigned exchanges;       // how many it has made: two slots serve, for no lane is ahead by more than one
    uint64_t published[2];    // its operand of the shuffle in progress
    unsigned words[2][6];     // those of the matrix product in progress: four of a, two of b
};

// Who last touched a word, and how. Blocks are numbered through all launches, so that old touches need no clearing; after
// each barrier of its cluster a block has another number. `block`, `thread`: kMany once there were several.
// Small, for there is one for each word that a kernel touches: no block has 2^16 barriers.
struct Touch { uint32_t block; uint16_t thread, interval; };
constexpr uint16_t kMany = 0xffff;
constexpr uint32_t kManyBlocks = ~0u;
struct Word { uint32_t launch = 0; Touch store{}, load{}, atomic{}; };

using Page = std::array<Word, 2048>;  // for each second byte

struct Range {
    uintptr_t begin = 0, end = 0;
    bool holds(uintptr_t a, size_t size) const { return a >= begin && a + size <= end; }
};

// The thread-local variables of this program or library, of the thread that asks: all `__shared__` ones, and few others.
Range thread_locals() {
    Range found;
    auto look = [](dl_phdr_info* module, size_t, void* to) {
        const uintptr_t begin = uintptr_t(module->dlpi_tls_data);
        for (int i = 0; begin && i < module->dlpi_phnum; ++i) {
            const auto& part = module->dlpi_phdr[i];
            const Range range{begin, begin + part.p_memsz};
            if (part.p_type != PT_TLS || !range.holds(uintptr_t(&here), sizeof here)) continue;
            *static_cast<Range*>(to) = range;
            return 1;
        }
        return 0;
    };
    dl_iterate_phdr(look, &found);
    return found;
}

const Range constants{uintptr_t(__ehdr_start), uintptr_t(_end)};

struct Machine;
// In a library it takes a call to find what is thread-local: so little is, and hooks ask once. Hooks run before there is
// one and after, in library code that was compiled along with the kernels.
thread_local constinit Machine* machine;

// What runs the kernels of one thread of the host.
struct Machine {
    std::vector<Thread> all_threads = std::vector<Thread>(kFibers);
    Thread* threads = all_threads.data();  // of the block that runs
    unsigned thread_count = 0;      // of a block
    char* stacks = static_cast<char*>(mmap(nullptr, kFibers * kStack, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    const Range on_stacks{uintptr_t(stacks), uintptr_t(stacks) + kFibers * kStack}, shared_memory = thread_locals();
    const Range built_in{uintptr_t(&here), uintptr_t(&here + 1)};
    bool inside = false;  // a kernel is running: the hooks are live
    std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;  // by address / 4096
    uintptr_t last_page = ~uintptr_t(0);
    Page* last = nullptr;
    std::vector<View> views;
    jmp_buf scheduler{};
    uint32_t launch_number = 0, first_block = 1, block = 0;
    // Of the launch's blocks, by number from `first_block` on: their cluster, and how many of its barriers they have passed.
    struct Life { uint32_t cluster, passed; };
    std::vector<Life> lives;
    uint16_t current = 0, interval = 0;
    const Kernel* kernel = nullptr;
    void** arguments = nullptr;
    std::string error;

    Machine() = default;
    Machine(const Machine&) = delete;
    ~Machine() { machine = nullptr, munmap(stacks, kFibers * kStack); }

    void to_scheduler();
    void wait(State state, int line, unsigned mask);
    void check(uintptr_t a, size_t size, Kind kind);
    void resume(Thread& t);
    bool release_warps();
    bool release_block();
    bool run_block(bool reverse);
    void run_cluster(dim3 grid, unsigned first, unsigned size, bool reverse);
    const char* launch(const Kernel& k, dim3 grid, dim3 size, unsigned cluster, void** args, bool reverse);
};

void Machine::to_scheduler() {
    if (!_setjmp(threads[current].context)) _longjmp(scheduler, 1);
}

void Machine::wait(State state, int line, unsigned mask) {
    Thread& t = threads[current];
    t.state = state, t.line = line, t.mask = mask;
    to_scheduler();
}

void Machine::check(uintptr_t a, size_t size, Kind kind) {
    if (on_stacks.holds(a, size)) return;
    if (kind == Load && built_in.holds(a, size)) return;
    const bool shared = shared_memory.holds(a, size);
    const View* view = nullptr;  // where views share memory, one that may be written
    auto what = [&] {
        if (shared) return std::string("shared memory");
        return "view " + std::to_string(view - views.data()) + " + " + std::to_string(a - view->begin) + " bytes";
    };
    if (!shared) {
        for (const View& v : views)
            if (v.holds(a, size) && (!view || v.writable)) view = &v;
        if (!view) {
            if (kind == Load && constants.holds(a, size)) return;
            fail(std::string(kind == Load ? "load" : "store") + " outside every view of the launch");
        }
        if (kind != Load && !view->writable) fail("store to read-only " + what());
    }
    const size_t unit = view ? view->unit : 2;  // rows in bf16 may lie in shared memory
    for (uintptr_t word = a & ~uintptr_t(unit - 1); word < a + size; word += unit) {
        if (word / 4096 != last_page) {
            auto& page = pages[last_page = word / 4096];
            if (!page) page = std::make_unique<Page>();
            last = page.get();
        }
        Word& w = (*last)[word % 4096 / 2];
        if (w.launch != launch_number) w = {launch_number, {}, {}, {}};
        auto conflicts = [&](const Touch& t) {  // with an access by this thread, now
            if (t.block == 0 || (shared && t.block != block)) return false;
            if (t.block == kManyBlocks) return true;
            if (t.block != block) {
                const Life &then = lives[t.block - first_block], &now = lives[block - first_block];
                return then.cluster != now.cluster || then.passed == now.passed;
            }
            return t.interval == interval && t.thread != current;
        };
        auto record = [&](Touch& t) {
            if (t.block != 0 && t.block != block && !shared && conflicts(t)) t.block = kManyBlocks;
            else if (t.block == block && t.interval == interval && t.thread != current) t.thread = kMany;
            else t = {block, current, interval};
        };
        if (shared && kind == Load && w.store.block != block) fail("load of shared memory that nobody wrote");
        if (conflicts(w.store) || (kind != Load && conflicts(w.load)) || (kind != Atomic && conflicts(w.atomic)))
            fail("data race on " + what());
        record(kind == Store ? w.store : kind == Load ? w.load : w.atomic);
    }
}

void hooked(const void* address, size_t size, Kind kind) {
    Machine* const m = machine;
    if (!m || !m->inside) return;
    m->inside = false;  // the checks use such code, too
    m->check(uintptr_t(address), size, kind);
    m->inside = true;
}

// A fiber lives on from block to block and from launch to launch.
void fiber() {
    for (Machine& m = *machine;;) {
        m.inside = true;
        m.kernel->call(m.arguments);
        m.inside = false;
        m.threads[m.current].state = Done;
        m.to_scheduler();
    }
}

void Machine::resume(Thread& t) {
    if (_setjmp(scheduler)) return;
    if (t.started) _longjmp(t.context, 1);
    t.started = true;
    ucontext_t start;
    getcontext(&start);
    start.uc_stack = {.ss_sp = stacks + (&t - all_threads.data()) * kStack, .ss_flags = 0, .ss_size = kStack};
    start.uc_link = nullptr;
    makecontext(&start, fiber, 0);
    setcontext(&start);
}

// Lets every group of lanes continue whose members all wait at the same shuffle.
bool Machine::release_warps() {
    bool released = false;
    for (unsigned w = 0; w < thread_count; w += 32)
        for (int lane = 0; lane < 32; ++lane) {
            const Thread& t = threads[w + lane];
            if (t.state != AtWarp) continue;
            const unsigned mask = t.mask;
            bool complete = true;
            for (int l = 0; l < 32 && complete; ++l) {
                const Thread& o = threads[w + l];
                complete = !(mask >> l & 1) || (o.state == AtWarp && o.line == t.line && o.mask == mask);
            }
            for (int l = 0; complete && l < 32; ++l)
                if (mask >> l & 1) threads[w + l].state = Ready;
            released |= complete;
        }
    return released;
}

// Lets the block continue if all its threads wait at the same __syncthreads. One that returned never will.
bool Machine::release_block() {
    for (unsigned i = 0; i < thread_count; ++i)
        if (threads[i].state != AtBlock || threads[i].line != threads[0].line) return false;
    for (unsigned i = 0; i < thread_count; ++i) threads[i].state = Ready;
    ++interval;
    return true;
}

// Up to its end or the next barrier of its cluster: then true.
bool Machine::run_block(bool reverse) {
    do {
        for (unsigned i = 0; i < thread_count; ++i) {
            current = reverse ? thread_count - 1 - i : i;
            here.thread = {current % here.block_dim.x, current / here.block_dim.x, 0};
            if (threads[current].state == Ready) resume(threads[current]), inside = false;
            if (!error.empty()) return false;
        }
    } while (release_warps() || release_block());
    unsigned b = 0;
    auto same = [&](unsigned i) { return threads[i].state == threads[0].state && threads[i].line == threads[0].line; };
    const bool ends = threads[0].state == Done, waits = threads[0].state == AtCluster;
    if (ends) while (b < thread_count && threads[b].state == Done) ++b;
    if (waits) while (b < thread_count && same(b)) ++b;
    if (b == thread_count) return waits;
    auto describe = [&](size_t i) {
        const auto line = " waits at line " + std::to_string(threads[i].line);
        return "thread " + std::to_string(i) + (threads[i].state == Done ? " returned" : line);
    };
    unsigned a = b = 0;
    while (threads[a].state == Done) ++a;
    while (b + 1 < thread_count && threads[b].state == threads[a].state && threads[b].line == threads[a].line) ++b;
    error = std::string(kernel->name) + ": divergent barrier: " + describe(a) + ", " + describe(b);
    for (Thread& t : all_threads) t.started = false;
    return false;
}

// From one barrier of the cluster to the next, block by block: they share their shared memory here, and none has any that
// outlasts such a barrier, for to load what another of its lives wrote is an error.
void Machine::run_cluster(dim3 grid, unsigned first, unsigned size, bool reverse) {
    for (unsigned i = 0; i < size * thread_count; ++i) all_threads[i].exchanges = 0;
    for (uint32_t passed = 0;; ++passed) {
        for (unsigned i = 0; i < size * thread_count; ++i) all_threads[i].state = Ready;
        unsigned waiting = 0;
        for (unsigned i = 0; i < size && error.empty(); ++i) {
            const unsigned slot = reverse ? size - 1 - i : i, b = first + slot;
            here.block = {b % grid.x, b / grid.x, 0}, interval = 0, threads = all_threads.data() + slot * thread_count;
            block = first_block + lives.size(), lives.push_back({first, passed});
            if (!kernel->block) waiting += run_block(reverse);
            else if (!_setjmp(scheduler)) waiting += kernel->block(*kernel, reverse, slot, passed == 0);  // `fail` returns here
        }
        if (!error.empty() || waiting == 0) return;
        if (waiting != size) error = std::string(kernel->name) + ": a barrier of the cluster that some blocks never reach";
    }
}

}  // namespace

[[noreturn]] void fail(const std::string& what) {  // abandons the launch
    Machine& m = *machine;
    const unsigned block = here.block.y * here.grid_dim.x + here.block.x;
    m.error = std::string(m.kernel->name) + ": block " + std::to_string(block) + ", thread " +
              std::to_string(m.current) + ": " + what + (doing ? std::string(" at ") + doing : "");
    for (Thread& t : m.all_threads) t.started = false;
    _longjmp(m.scheduler, 1);
}

void access(unsigned thread, const void* address, size_t size, Kind kind) {
    machine->current = thread;
    machine->check(uintptr_t(address), size, kind);
}

void next_interval() { ++machine->interval; }

void block_barrier(int line) {
    Machine& m = *machine;
    m.inside = false, m.wait(AtBlock, line, 0), m.inside = true;
}
void cluster_barrier(int line) {
    Machine& m = *machine;
    m.inside = false, m.wait(AtCluster, line, 0), m.inside = true;
}

uint64_t exchange(int line, unsigned mask, uint64_t value, unsigned lane) {
    Machine& m = *machine;
    m.inside = false;
    const unsigned own = m.current % 32, warp = m.current - own;
    if (!(mask >> own & 1) || !(mask >> lane & 1)) fail("a shuffle by or from a lane that its mask leaves out");
    Thread& t = m.threads[m.current];
    const unsigned slot = t.exchanges++ % 2;
    t.published[slot] = value;
    m.wait(AtWarp, line, mask);  // every lane has published
    value = m.threads[warp + lane].published[slot];
    m.inside = true;
    return value;
}

void mma(int line, bool half, float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Machine& m = *machine;
    m.inside = false;
    const unsigned own = m.current % 32, warp = m.current - own;
    Thread& t = m.threads[m.current];
    const unsigned slot = t.exchanges++ % 2;
    for (int i = 0; i < 4; ++i) t.words[slot][i] = a[i];
    for (int i = 0; i < 2; ++i) t.words[slot][4 + i] = b[i];
    m.wait(AtWarp, line, ~0u);  // every lane has published
    multiply(half, c, own, [&](unsigned l, int i) { return m.threads[warp + l].words[slot][i]; });
    m.inside = true;
}

void misaligned() {
    if (!machine || !machine->inside) return;
    machine->inside = false;
    fail("misaligned access");
}

void atomic_access(const void* address) { hooked(address, 4, Atomic); }

const Kernel* find(const char* name) {
    for (const Kernel& k : kernels)
        if (!std::strcmp(k.name, name)) return &k;
    return nullptr;
}

const char* Machine::launch(const Kernel& k, dim3 grid, dim3 size, unsigned cluster, void** args, bool reverse) {
    thread_count = size.x * size.y * size.z;
    if (thread_count == 0 || thread_count % 32 || thread_count > kThreads)
        return "block size must be a multiple of 32, at most 1024";
    if (grid.x == 0 || grid.y == 0 || grid.y > 65535) return "grid size must be at least 1, and y at most 65535";
    if (cluster == 0) cluster = 1;
    const uint64_t lives_each = cluster == 1 ? 1 : 64;
    if (lives_each * grid.x * grid.y >= kManyBlocks - first_block) return "more blocks than the emulator counts";
    if (grid.x % cluster) return "a grid must be whole clusters";
    if (cluster * thread_count > kFibers) return "more threads in a cluster than the emulator runs";
    kernel = &k, arguments = args, here.grid_dim = grid, here.block_dim = size;
    views = k.views(args), error.clear(), ++launch_number, doing = nullptr;
    if (k.begin) k.begin(k, args);
    lives.clear();
    for (unsigned b = 0; b < grid.x * grid.y && error.empty(); b += cluster) run_cluster(grid, b, cluster, reverse);
    first_block += lives.size();
    return error.empty() ? nullptr : error.c_str();
}

const char* launch(const Kernel& k, dim3 grid, dim3 block, unsigned cluster, void** args, bool reverse) {
    static thread_local const auto own = std::make_unique<Machine>();
    machine = own.get();
    return machine->launch(k, grid, block, cluster, args, reverse);
}

}  // namespace emu

// The interface to Rust: `Grid` of src/device/driver.rs.
struct Grid { unsigned blocks[2], threads, cluster; };
extern "C" const emu::Kernel* emu_find(const char* name) { return emu::find(name); }
extern "C" const char* emu_launch(const emu::Kernel* k, Grid grid, void** args, bool reverse) {
    return emu::launch(*k, {grid.blocks[0], grid.blocks[1], 1}, {grid.threads, 1, 1}, grid.cluster, args, reverse);
}

// What -fsanitize=thread makes the compiler call before every load and store.
#define HOOKS(n)                                                             \
    void __tsan_read##n(void* p) { emu::hooked(p, n, emu::Load); }           \
    void __tsan_write##n(void* p) { emu::hooked(p, n, emu::Store); }         \
    void __tsan_unaligned_read##n(void* p) { emu::hooked(p, n, emu::Load); } \
    void __tsan_unaligned_write##n(void* p) { emu::hooked(p, n, emu::Store); }
extern "C" {
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_read_range(void* p, size_t n) { emu::hooked(p, n, emu::Load); }
void __tsan_write_range(void* p, size_t n) { emu::hooked(p, n, emu::Store); }
// -fsanitize=alignment calls this before an access to an address that its type forbids.
void __ubsan_handle_type_mismatch_v1(void*, void*) { emu::misaligned(); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
