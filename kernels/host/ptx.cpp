// Reads PTX, and runs its kernels in the emulator. The grammar is that of NVIDIA's manual ("PTX ISA"), as far as nvcc uses
// it here.
#include "ptx.h"

#include <algorithm>
#include <climits>
#include <span>
#include <stdexcept>
#include <utility>
#include <unordered_map>

namespace ptx {

// Of a thread of the host: the emulator takes it for shared memory, which it is.
alignas(256) thread_local constinit char shared[kShared], parameters[kParameters];
thread_local constinit Counts counts;

namespace {

using Names = std::unordered_map<std::string, Operand>;
[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error("PTX: " + what); }

std::string without_comments(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 2) == "//") i = std::min(text.find('\n', i), text.size() - 1);
        plain += text[i];
    }
    return plain;
}

size_t size_of(const std::string& type) {  // "b64", "f32", "u16", "b8"
    return type == "pred" ? 1 : std::stoul(type.substr(1)) / 8;
}

// A text that is read from its begin to its end, between white space.
struct Reader {
    std::string_view text;

    void skip() { text.remove_prefix(std::min(text.find_first_not_of(" \t\n\r"), text.size())); }
    bool ended() { return skip(), text.empty(); }
    bool take(char c) {
        if (skip(), text.empty() || text[0] != c) return false;
        text.remove_prefix(1);
        return true;
    }
    bool starts(std::string_view with) { return skip(), text.substr(0, with.size()) == with; }
    std::string word() {  // up to white space or what separates
        skip();
        std::string w(text.substr(0, text.find_first_of(" \t\n\r,;:(){}[]<>|+=")));
        text.remove_prefix(w.size());
        return w;
    }
    std::string until(char c) {
        const size_t end = std::min(text.find(c), text.size());
        std::string passed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        return passed;
    }
    size_t number_in(char open, char close) {
        if (!take(open)) refuse("expected a number in brackets before " + std::string(text.substr(0, 20)));
        return std::stoul(until(close));
    }
};

// Reads one kernel.
struct Body {
    Function& f;
    const std::map<std::string, std::string>& of_module;  // shared variables outside kernels: a kernel has those that it names
    std::vector<Names> scopes{  // the innermost last
        {{"%tid.x", {Tid}}, {"%ntid.x", {Ntid}}, {"%ctaid.x", {CtaidX}}, {"%ctaid.y", {CtaidY}}, {"%nctaid.x", {NctaidX}},
         {"%nctaid.y", {NctaidY}}}};
    std::unordered_map<uint64_t, int> constants{};
    std::unordered_map<std::string, int> labels{};
    std::vector<std::pair<int, std::string>> branches{};

    Operand fresh() { return {f.registers++}; }
    Operand constant(uint64_t value) {
        const auto [at, added] = constants.try_emplace(value, constants.size());
        if (added) f.constants.insert(f.constants.end(), kLanes, value);
        return {~at->second};
    }

    Operand operand(const std::string& word) {
        for (auto names = scopes.rbegin(); names != scopes.rend(); ++names)
            if (const auto found = names->find(word); found != names->end()) return found->second;
        if (const auto found = of_module.find(word); found != of_module.end())
            return shared_variable(Reader{found->second}, scopes.front());
        if (word.empty() || !(isdigit(word[0]) || word[0] == '-')) refuse(f.name + ": unknown name '" + word + "'");
        const bool bits = word.size() > 1 && word[0] == '0' && (word[1] == 'f' || word[1] == 'd');
        if (bits) return constant(std::stoull(word.substr(2), nullptr, 16));
        return constant(word[0] == '-' ? std::stoll(word, nullptr, 0) : std::stoull(word, nullptr, 0));
    }
    // a register, a constant, {several}, [address + offset] or predicate|predicate
    std::vector<Operand> operands(Reader& r) {
        std::vector<Operand> all;
        if (r.take('{')) {
            do all.push_back(operand(r.word()));
            while (r.take(','));
            if (!r.take('}')) refuse(f.name + ": a vector does not end");
        } else if (r.take('[')) {
            Operand o = operand(r.word());
            if (r.take('+')) o.offset = std::stoi(r.word());
            if (!r.take(']')) refuse(f.name + ": an address does not end");
            all.push_back(o);
        } else {
            all.push_back(operand(r.word()));
            if (r.take('|')) all.push_back(operand(r.word()));
        }
        return all;
    }

    void parameters(Reader& r) {
        size_t at = 0;
        while (!r.take(')')) {
            r.take(',');
            size_t align = 0, size = 0;
            std::string name;
            for (std::string w; name.empty();)
                if (w = r.word(); w == ".param") continue;
                else if (w == ".align") align = std::stoul(r.word());
                else if (w[0] == '.') size = size_of(w.substr(1));
                else name = w;
            if (!align) align = size;
            if (r.starts("[")) size *= r.number_in('[', ']');
            at = (at + align - 1) / align * align;
            scopes.back()[name] = constant(at);
            f.parameters.push_back({at, size});
            at += size;
        }
        if (at > kParameters) refuse(f.name + ": parameters of " + std::to_string(at) + " bytes");
    }

    void registers(Reader r) {  // after `.reg .type`
        do {
            const std::string name = r.word();
            if (!r.starts("<")) {
                scopes.back()[name] = fresh();
                continue;
            }
            const size_t n = r.number_in('<', '>');
            for (size_t i = 0; i < n; ++i) scopes.back()[name + std::to_string(i)] = fresh();
        } while (r.take(','));
    }
    Operand shared_variable(Reader r, Names& scope) {  // `.align 16 .b8 name[size]`
        if (r.word() != ".align") refuse(f.name + ": a shared variable that says no alignment");
        const size_t align = std::stoul(r.word()), size = size_of(r.word().substr(1));
        const std::string name = r.word();
        f.shared = (f.shared + align - 1) / align * align;
        const Operand place = scope[name] = constant(f.shared);
        f.shared += size * (r.starts("[") ? r.number_in('[', ']') : 1);
        if (f.shared > kShared) refuse(f.name + ": more shared memory than a block has");
        return place;
    }

    void instruction(const std::string& text) {
        Reader r{text};
        Instruction i;
        if (r.take('@')) {
            i.unless = r.take('!');
            i.guard = operand(r.word()).slot;
        }
        std::string opcode = r.word();
        const bool branches_off = opcode == "bra" || opcode == "bra.uni";
        const bool stores = opcode.starts_with("st.") || opcode.starts_with("cp.async") || opcode == "bar.sync";
        std::vector<Operand> to, of;
        if (branches_off) {
            branches.push_back({int(f.code.size()), r.word()});
        } else if (!r.ended()) {
            (stores ? of : to) = operands(r);
            while (r.take(',')) {
                const auto more = operands(r);
                of.insert(of.end(), more.begin(), more.end());
            }
        }
        if (!r.ended()) refuse(f.name + ": cannot read '" + text + "'");
        if (opcode.starts_with("mov.") && of.size() == 2) opcode.replace(0, 3, "pack");
        if (opcode.starts_with("mov.") && to.size() == 2) opcode.replace(0, 3, "unpack");
        i.run = action(opcode);
        if (!i.run) refuse(f.name + ": the executor does not know '" + text + "'");
        if (to.size() > std::size(i.to) || of.size() > std::size(i.of)) refuse(f.name + ": too many operands in " + text);
        std::copy(to.begin(), to.end(), i.to), std::copy(of.begin(), of.end(), i.of);
        i.number = f.code.size();
        i.text = f.texts.emplace_back(text).c_str();
        f.overlaps |= opcode == "griddepcontrol.launch_dependents";
        f.code.push_back(i);
    }

    // Up to the brace that ends the kernel. Names that a block within declares are its own.
    void statements(Reader& r) {
        for (;;) {
            if (r.ended()) refuse(f.name + ": the text ends within");
            if (r.take('{')) {
                scopes.emplace_back();
            } else if (r.take('}')) {
                if (scopes.size() == 1) break;
                scopes.pop_back();
            } else if (r.starts(".")) {
                Reader d{r.text};
                const std::string kind = d.word(), statement = r.until(';');
                d = Reader{statement};
                d.word();
                if (kind == ".reg") d.word(), registers(d);
                else if (kind == ".shared") shared_variable(d, scopes.back());
                else if (kind != ".pragma") refuse(f.name + ": the executor does not know '" + statement + "'");
            } else if (r.starts("$")) {
                labels[r.until(':')] = f.code.size();
            } else {
                instruction(r.until(';'));
            }
        }
        for (const auto& [from, label] : branches) {
            const auto to = labels.find(label);
            if (to == labels.end()) refuse(f.name + ": no label " + label);
            f.code[from].target = to->second;
        }
    }
};

std::map<std::string, Function> read(std::string_view text) {
    std::map<std::string, Function> all;
    std::map<std::string, std::string> of_module;
    const std::string plain = without_comments(text);
    Reader r{plain};
    while (!r.ended()) {
        const std::string w = r.word();
        if (w == ".version" || w == ".target" || w == ".address_size") {
            r.until('\n');
        } else if (w == ".visible") {
            if (r.word() != ".entry") refuse("something visible that is no kernel");
            Function f;
            f.name = r.word(), f.registers = kSpecial;
            Body body{f, of_module};
            if (!r.take('(')) refuse(f.name + ": no parameters");
            body.parameters(r);
            while (!r.take('{')) r.text.remove_prefix(1);  // limits of threads and registers
            body.statements(r);
            const std::string name = f.name;
            all[name] = std::move(f);
        } else if (w == ".shared") {
            const std::string statement = r.until(';');
            Reader name{statement};
            for (int word = 0; word < 3; ++word) name.word();  // .align, how much, .b8
            of_module[name.word()] = statement;
        } else {
            refuse("the executor does not know '" + w + "'");
        }
    }
    return all;
}

// As many as a block can have, for each block of a cluster.
thread_local std::vector<std::vector<Warp>> slots;

void begin(const emu::Kernel& k, void** args) {
    const Function& f = *static_cast<const Function*>(k.code);
    for (size_t i = 0; i < f.parameters.size(); ++i)
        std::memcpy(parameters + f.parameters[i].first, args[i], f.parameters[i].second);
    counts = {};
}

void begin_warp(Warp& w, unsigned index, const Function& f) {
    w.function = &f;
    w.registers.resize(std::max(w.registers.size(), size_t(kLanes * f.registers)), ~0ull);
    w.first_thread = kLanes * index;
    w.ready = ~Lanes(0), w.at_barrier = w.at_cluster = w.at_shuffle = w.launch_is_over = 0, w.instructions = 0;
    const uint64_t of_block[] = {blockDim.x, blockIdx.x, blockIdx.y, gridDim.x, gridDim.y};  // in the order of `Special`
    for (int lane = 0; lane < kLanes; ++lane) {
        w.next[lane] = 0;
        w.of({Tid})[lane] = w.first_thread + lane;
        for (int i = 0; i < int(std::size(of_block)); ++i) w.of({Ntid + i})[lane] = of_block[i];
        w.copies[lane].clear(), w.copies[lane].emplace_back();
    }
}

// Until no lane can go on by itself.
void advance(Warp& w) {
    const Instruction* code = w.function->code.data();
    while (w.ready) {
        // Those that are furthest behind, up to where others are.
        int others = INT_MAX;
        w.place = INT_MAX, w.parted = false;
        for (int lane = 0; lane < kLanes; ++lane) {
            if (!(w.ready >> lane & 1)) continue;
            if (w.next[lane] < w.place) others = w.place, w.place = w.next[lane], w.group = 0;
            if (w.next[lane] == w.place) w.group |= Lanes(1) << lane;
            else others = std::min(others, w.next[lane]);
        }
        while (!w.parted && w.group && w.place < others) {
            const Instruction& i = code[w.place++];
            Lanes lanes = w.group;
            if (i.guard) {
                const uint64_t* holds = w.read({i.guard});
                for (int lane = 0; lane < kLanes; ++lane)
                    if (bool(holds[lane]) == i.unless) lanes &= ~(Lanes(1) << lane);
            }
            emu::doing = i.text;
            ++w.instructions;
            if (lanes) i.run(w, i, lanes);
        }
        if (!w.parted)
            for (int lane = 0; lane < kLanes; ++lane)
                if (w.group >> lane & 1) w.next[lane] = w.place;
    }
    emu::doing = nullptr;
    if (w.at_shuffle) emu::fail("a shuffle that some of its lanes never reach");
}

bool block(const emu::Kernel& k, bool reverse, unsigned slot, bool begins) {
    const Function& f = *static_cast<const Function*>(k.code);
    const int n = blockDim.x / kLanes;
    if (slots.size() <= slot) slots.resize(slot + 1);
    slots[slot].resize(kLanes);
    const std::span warps(slots[slot].begin(), n);
    for (int i = 0; i < n; ++i) {
        if (begins) begin_warp(warps[i], i, f);
        else warps[i].ready = std::exchange(warps[i].at_cluster, 0);
    }
    for (;;) {
        for (int i = 0; i < n; ++i) advance(warps[reverse ? n - 1 - i : i]);
        // All wait at the same barrier, or none: who has returned never comes.
        const int place = warps[0].next[0];
        bool all = true, cluster = true, none = true;
        for (const Warp& w : warps) {
            const bool together = std::all_of(w.next, w.next + kLanes, [&](int at) { return at == place; });
            all &= w.at_barrier == ~Lanes(0) && together;
            cluster &= w.at_cluster == ~Lanes(0) && together;
            none &= w.at_barrier == 0 && w.at_cluster == 0;
        }
        if (none) break;
        if (cluster) return true;
        if (!all) emu::fail("a barrier that some of its threads never reach");
        emu::next_interval();
        for (Warp& w : warps) w.ready = std::exchange(w.at_barrier, 0);
    }
    for (const Warp& w : warps)
        counts.instructions += w.instructions, counts.longest = std::max(counts.longest, w.instructions);
    return false;
}

}  // namespace

void Warp::part(Lanes lanes, int from) {
    for (int lane = 0; lane < kLanes; ++lane)
        if (group >> lane & 1) next[lane] = lanes >> lane & 1 ? from : place;
    parted = true;
}

void Warp::wait(Lanes lanes, int from, Lanes& where) {
    part(lanes, from);
    where |= lanes, ready &= ~lanes;
}

std::map<std::string, emu::Kernel> load(const char* text, std::string& error) {
    static std::deque<std::map<std::string, Function>> modules;  // kernels point to their functions
    std::map<std::string, emu::Kernel> kernels;
    try {
        modules.push_back(read(text));
        for (const auto& [name, f] : modules.back()) {
            const emu::Kernel* source = emu::find(name.c_str());
            if (!source) refuse(name + ": no such kernel in the source");
            if (source->sizes.size() != f.parameters.size()) refuse(name + ": another number of parameters");
            for (size_t i = 0; i < f.parameters.size(); ++i)
                if (source->sizes[i] != f.parameters[i].second) refuse(name + ": parameters of another size");
            emu::Kernel kernel = *source;
            kernel.begin = begin, kernel.block = block, kernel.code = &f;
            kernels[name] = kernel;
        }
    } catch (const std::exception& e) {
        error = e.what();
        return {};
    }
    return kernels;
}

}  // namespace ptx

// The interface to Rust: the kernels of a text by name, or why there are none.
using Kernels = std::map<std::string, emu::Kernel>;
extern "C" const Kernels* ptx_load(const char* text, const char** error) {
    static std::deque<Kernels> all;
    static std::string why;
    all.push_back(ptx::load(text, why));
    *error = all.back().empty() ? why.c_str() : nullptr;
    return &all.back();
}
extern "C" const ptx::Counts* ptx_counts() { return &ptx::counts; }  // of the last launch
extern "C" const emu::Kernel* ptx_find(const Kernels* kernels, const char* name) {
    const auto found = kernels->find(name);
    return found == kernels->end() ? nullptr : &found->second;
}
