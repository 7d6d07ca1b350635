// SPDX-License-Identifier: GPL-2.0-or-later
//
// Looks over the shoulder of a worker thread while it works, by ptrace from a forked process:
// either instruction by instruction, or letting it run and stopping it at system calls only. An
// instruction is judged before it is executed, by its bytes, so that nothing escapes: not what is
// inline, and not what DPDK or the C library does. Main thread only.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "dataplane/counters.hpp"

namespace culvert::testing {

/// What a thread should not do for a packet.
enum class Act : std::uint8_t {
    system_call,
    locked_instruction,  ///< With a lock prefix, or an exchange with memory, which needs none.
    heap_call,
    lock_call,
};
inline constexpr std::size_t kActs = 4;

struct Trace {
    struct Place {
        std::uintptr_t address = 0;
        Act act = Act::system_call;
        std::uint64_t times = 0;
    };
    static constexpr std::size_t kPlacesMax = 32;

    std::uint64_t packets = 0;
    std::uint64_t instructions = 0;
    std::array<std::uint64_t, kActs> acts{};
    std::array<Place, kPlacesMax> places{};  ///< Of acts; those behind the last one are empty.
    int error = 0;                           ///< What ptrace() failed with; 0: it did not.

    [[nodiscard]] std::uint64_t count(Act act) const { return acts[static_cast<std::size_t>(act)]; }
    /// One line for each place, with library and function.
    [[nodiscard]] std::string describe() const;
};

/// The thread of this process with this name; 0 when there is none.
[[nodiscard]] pid_t find_thread(const std::string& name);

/// Executes `thread` in single steps until `counter`, which is its own, has grown by `packets`.
[[nodiscard]] Trace step(pid_t thread, const dataplane::Counter& counter, std::uint64_t packets);

/// The same at full speed; only system calls are seen.
[[nodiscard]] Trace
watch_system_calls(pid_t thread, const dataplane::Counter& counter, std::uint64_t packets);

}  // namespace culvert::testing
