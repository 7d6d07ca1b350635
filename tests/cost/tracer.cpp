// SPDX-License-Identifier: GPL-2.0-or-later
//
// The tracing process shares the addresses of what it traces, since it was forked from it: code is
// read at the traced instruction pointer, live data by process_vm_readv(). It makes system calls
// only, as the other threads of its parent, with whatever locks they held, are not there. See
// tracer.hpp.
#include "tests/cost/tracer.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <new>
#include <vector>

#include <dlfcn.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cost/call_counts.hpp"

namespace culvert::testing {

namespace {

constexpr unsigned kSecondsMax = 300;  // A worker that does not move on is an error anywhere.
constexpr std::uint64_t kStepsBetweenLooks = 256;
constexpr int kSystemCallStop = SIGTRAP | 0x80;  // By PTRACE_O_TRACESYSGOOD.

/// What is at an address of the traced thread, and of ours.
const std::uint8_t* memory_at(std::uintptr_t address) {
    return reinterpret_cast<const std::uint8_t*>(address);  // NOLINT(performance-no-int-to-ptr)
}

enum class Mode : bool { steps, system_calls };

/// What parent and child share.
struct Shared {
    Trace trace;
    std::atomic<bool> allowed{false};  ///< The parent lets the child trace it (Yama).
};

class Tracer {
public:
    Tracer(pid_t thread, const dataplane::Counter& counter, Trace& trace)
        : thread_(thread), counter_(&counter), trace_(trace) {}

    void run(Mode mode, std::uint64_t packets) {
        if (mode == Mode::steps) {
            share_cpu();
        }
        if (!attach()) {
            trace_.error = errno;
            return;
        }
        const std::uint64_t start = packets_so_far();
        if (mode == Mode::steps) {
            step(start, packets);
        } else {
            watch(start, packets);
        }
        trace_.packets = packets_so_far() - start;
        ::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
    }

private:
    /// Both take turns: on one CPU none has to wake another for each step.
    void share_cpu() const {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<unsigned>(::sched_getcpu()), &set);
        ::sched_setaffinity(0, sizeof set, &set);
        ::sched_setaffinity(thread_, sizeof set, &set);
    }

    [[nodiscard]] bool attach() {
        return ::ptrace(PTRACE_SEIZE, thread_, nullptr, PTRACE_O_TRACESYSGOOD) == 0 && interrupt();
    }

    /// Stops the thread. One that was about to stop at a system call stops there, once for both.
    [[nodiscard]] bool interrupt() {
        int status = 0;
        if (::ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr) != 0 ||
            ::waitpid(thread_, &status, __WALL) != thread_) {
            return false;
        }
        note_stop(status);
        return WIFSTOPPED(status);
    }

    [[nodiscard]] std::uint64_t packets_so_far() const {
        std::uint64_t value = 0;
        static_assert(sizeof value == sizeof *counter_);
        const iovec local{&value, sizeof value};
        const iovec remote{const_cast<dataplane::Counter*>(counter_), sizeof value};
        ::process_vm_readv(process_, &local, 1, &remote, 1, 0);
        return value;
    }

    [[nodiscard]] std::uintptr_t instruction_pointer() const {
        return static_cast<std::uintptr_t>(
            ::ptrace(PTRACE_PEEKUSER, thread_, offsetof(user, regs.rip), nullptr)
        );
    }

    void note(Act act, std::uintptr_t address) {
        ++trace_.acts[static_cast<std::size_t>(act)];
        for (Trace::Place& place : trace_.places) {
            if (place.times == 0 || (place.address == address && place.act == act)) {
                place = {address, act, place.times + 1};
                return;
            }
        }
    }

    /// A stop of system_calls mode. Each call stops twice, on its way in and out.
    void note_stop(int status) {
        if (WIFSTOPPED(status) && WSTOPSIG(status) == kSystemCallStop) {
            in_system_call_ = !in_system_call_;
            if (in_system_call_) {
                note(Act::system_call, instruction_pointer());
            }
        }
    }

    void judge(std::uintptr_t address) {
        if (std::find(heap_.begin(), heap_.end(), address) != heap_.end()) {
            note(Act::heap_call, address);
        }
        if (std::find(locks_.begin(), locks_.end(), address) != locks_.end()) {
            note(Act::lock_call, address);
        }
        const std::uint8_t* code = memory_at(address);
        bool locked = false;
        while (is_prefix(*code)) {
            locked = locked || *code == 0xf0;
            ++code;
        }
        const bool exchanges = (code[0] == 0x86 || code[0] == 0x87) && code[1] < 0xc0;
        if (locked || exchanges) {
            note(Act::locked_instruction, address);
        }
        const bool enters_kernel = (code[0] == 0x0f && (code[1] == 0x05 || code[1] == 0x34)) ||
                                   (code[0] == 0xcd && code[1] == 0x80);
        if (enters_kernel) {
            note(Act::system_call, address);
        }
    }

    /// Legacy prefixes and REX.
    [[nodiscard]] static bool is_prefix(std::uint8_t byte) {
        constexpr std::array<std::uint8_t, 11> kLegacy{
            0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
        return (byte & 0xf0U) == 0x40 ||
               std::find(kLegacy.begin(), kLegacy.end(), byte) != kLegacy.end();
    }

    void step(std::uint64_t start, std::uint64_t packets) {
        int signal = 0;
        do {
            judge(instruction_pointer());
            int status = 0;
            if (::ptrace(PTRACE_SINGLESTEP, thread_, nullptr, signal) != 0 ||
                ::waitpid(thread_, &status, __WALL) != thread_ || !WIFSTOPPED(status)) {
                trace_.error = errno;
                return;
            }
            signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
            ++trace_.instructions;
        } while (trace_.instructions % kStepsBetweenLooks != 0 || packets_so_far() - start < packets
        );
    }

    void watch(std::uint64_t start, std::uint64_t packets) {
        ::ptrace(PTRACE_SYSCALL, thread_, nullptr, nullptr);
        while (packets_so_far() - start < packets) {
            int status = 0;
            if (::waitpid(thread_, &status, __WALL | WNOHANG) != thread_) {
                const timespec look{.tv_sec = 0, .tv_nsec = 100'000};
                ::nanosleep(&look, nullptr);
                continue;
            }
            note_stop(status);
            const bool is_signal = WSTOPSIG(status) != kSystemCallStop && status >> 16 == 0;
            ::ptrace(PTRACE_SYSCALL, thread_, nullptr, is_signal ? WSTOPSIG(status) : 0);
        }
        if (!interrupt()) {
            trace_.error = errno;
        }
    }

    const std::vector<std::uintptr_t> heap_ = heap_functions();
    const std::vector<std::uintptr_t> locks_ = lock_functions();
    const pid_t process_ = ::getpid();  ///< The parent: this is made before the fork.
    pid_t thread_;
    const dataplane::Counter* counter_;
    Trace& trace_;
    bool in_system_call_ = false;
};

Trace trace(pid_t thread, const dataplane::Counter& counter, std::uint64_t packets, Mode mode) {
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    auto* shared = new (memory) Shared;
    Tracer tracer(thread, counter, shared->trace);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(kSecondsMax);  // Its death detaches it.
        while (!shared->allowed.load()) {
            ::usleep(100);
        }
        tracer.run(mode, packets);
        ::_exit(0);
    }
    ::prctl(PR_SET_PTRACER, child);
    shared->allowed.store(true);
    int status = 0;
    ::waitpid(child, &status, 0);
    Trace result = shared->trace;
    if (child < 0 || status != 0) {
        result.error = result.error != 0 ? result.error : ETIMEDOUT;
    }
    ::munmap(memory, sizeof(Shared));
    return result;
}

const char* text_of(Act act) {
    constexpr std::array<const char*, kActs> kTexts{
        "system call", "locked instruction", "call of the heap", "call of a lock"};
    return kTexts[static_cast<std::size_t>(act)];
}

}  // namespace

std::string Trace::describe() const {
    std::string text = std::to_string(packets) + " packets, " + std::to_string(instructions) +
                       " instructions" +
                       (error != 0 ? std::string(", ended by ") + std::strerror(error) : "");
    for (const Place& place : places) {
        if (place.times == 0) {
            break;
        }
        Dl_info info{};
        const bool known = ::dladdr(memory_at(place.address), &info) != 0;
        const std::string library = known && info.dli_fname != nullptr ? info.dli_fname : "?";
        const std::string function = known && info.dli_sname != nullptr ? info.dli_sname : "?";
        const auto offset = place.address - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
        text += "\n  " + std::to_string(place.times) + " x " + text_of(place.act) + " in " +
                function + ", " + std::filesystem::path(library).filename().string() + " + " +
                std::to_string(offset);
    }
    return text;
}

pid_t find_thread(const std::string& name) {
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::string found;
        std::getline(std::ifstream(task.path() / "comm"), found);
        if (found == name) {
            return std::stoi(task.path().filename().string());
        }
    }
    return 0;
}

Trace step(pid_t thread, const dataplane::Counter& counter, std::uint64_t packets) {
    return trace(thread, counter, packets, Mode::steps);
}

Trace watch_system_calls(pid_t thread, const dataplane::Counter& counter, std::uint64_t packets) {
    return trace(thread, counter, packets, Mode::system_calls);
}

}  // namespace culvert::testing
