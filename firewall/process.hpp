// SPDX-License-Identifier: GPL-2.0-or-later
//
// A process of this host, told apart from a later one with the same number by its start time: what
// a claim names, so that the claims of dead processes can be removed. A process in another PID
// namespace counts as gone. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace culvert::firewall {

struct Process {
    std::uint64_t pid = 0;
    std::uint64_t start_ticks = 0;
    bool operator==(const Process&) const = default;
};

/// The calling process; nothing where /proc is not mounted.
[[nodiscard]] std::optional<Process> this_process();
/// A zombie holds nothing any more and counts as gone.
[[nodiscard]] bool is_running(const Process& process);
/// "pid_1234_start_5678".
[[nodiscard]] std::string to_string(const Process& process);
[[nodiscard]] std::optional<Process> parse_process(std::string_view text);

}  // namespace culvert::firewall
