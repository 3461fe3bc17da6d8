// PTX, the text that nvcc makes of the kernels and a driver compiles, executed on the CPU: so tests run what a GPU would
// run, inline assembly included, and not only what the host's compiler makes of the same source. ptx.cpp reads it;
// ptx_instructions.cpp says what each instruction does, by the PTX manual. The emulator sees its accesses and barriers.
#pragma once
#include "cuda.h"

#include <deque>
#include <map>
#include <memory>
#include <string>

namespace ptx {

struct Warp;
struct Instruction;
using Lanes = uint32_t;  // one bit each
using Action = void (*)(Warp&, const Instruction&, Lanes);

// A register or, below zero, a constant; and, of an address, so many bytes further.
struct Operand {
    int slot = 0, offset = 0;
};

struct Instruction {
    Action run = nullptr;
    int guard = 0;       // the register of the predicate that it waits for, or 0
    bool unless = false;  // it waits for its opposite
    int target = 0;       // of a branch
    int number = 0;       // its place in the kernel
    const char* text;     // as it is written, for errors
    Operand to[4], of[10];
};

struct Function {
    std::string name;
    std::vector<Instruction> code;
    std::deque<std::string> texts;
    int registers = 0;
    std::vector<uint64_t> constants;                    // of all lanes, one constant after the other
    std::vector<std::pair<size_t, size_t>> parameters;  // of each its place and size
    size_t shared = 0;      // bytes
    bool overlaps = false;  // it may start while the launch before it runs
};

// Registers that the hardware sets. 0 is none.
enum Special { Tid = 1, Ntid, CtaidX, CtaidY, NctaidX, NctaidY, kSpecial };

struct Copy {
    char *to, *from;  // of zeros, from nowhere
};
using Copies = std::deque<std::vector<Copy>>;  // groups under way; the last is not committed yet

constexpr int kLanes = 32;

// Lanes that are at the same place of the text go on together, and those that are furthest behind go first, so that they
// catch up. Whoever is at a barrier, or at a shuffle whose other lanes have not come, waits.
struct Warp {
    const Function* function = nullptr;
    unsigned first_thread;
    std::vector<uint64_t> registers;          // each of all lanes, one register after the other
    int next[kLanes];                         // the instruction that comes
    Lanes ready, at_barrier, at_cluster, at_shuffle;  // the others are done
    Lanes group;                              // those that go on now, from `place` on, until they part
    int place;
    bool parted;
    Lanes launch_is_over;                     // those that have waited for the launch before
    uint64_t instructions;                    // executed
    Copies copies[kLanes];

    uint64_t* of(Operand o) { return registers.data() + kLanes * o.slot; }
    const uint64_t* read(Operand o) const {
        return o.slot < 0 ? function->constants.data() + kLanes * ~o.slot : registers.data() + kLanes * o.slot;
    }
    void part(Lanes lanes, int from);  // these go on there, by themselves
    void wait(Lanes lanes, int from, Lanes& where);
};

// What a launch did, in numbers that do not depend on time: instructions of warps, and of the one that executes most;
// accesses of warps to device memory and the sectors of 32 bytes that they touch, the least that would do; the same of
// shared memory in passes over its banks.
struct Counts {
    uint64_t instructions, longest, products, accesses, sectors, least_sectors, shared_accesses, passes, least_passes;
};
extern thread_local constinit Counts counts;

// Of a block its shared memory, and of a launch its parameters: addresses in these spaces are offsets in them.
constexpr size_t kShared = 48 << 10, kParameters = 4 << 10;
extern thread_local constinit char shared[kShared], parameters[kParameters];

// What an opcode does; null where it is none of those that occur. Packed and unpacked vectors are opcodes of their own.
Action action(const std::string& opcode);

// The kernels of a text, by name. Where that is not to be had, none, and why.
std::map<std::string, emu::Kernel> load(const char* text, std::string& error);

}  // namespace ptx
