// SPDX-License-Identifier: GPL-2.0-or-later
//
// Processes by /proc/PID/stat (proc(5)). Any thread.
#include "firewall/process.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <system_error>

#include <unistd.h>

namespace culvert::firewall {

namespace {

constexpr std::string_view kPid = "pid_";
constexpr std::string_view kStart = "_start_";

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

// The start time is field 22. The command name in field 2 may itself hold blanks and parentheses,
// so fields are counted from the last ')'.
std::optional<std::uint64_t> start_ticks_of(std::uint64_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string stat(std::istreambuf_iterator<char>(file), {});
    std::size_t position = stat.rfind(')');
    if (position == std::string::npos || position + 2 >= stat.size()) {
        return std::nullopt;
    }
    position += 2;
    const char state = stat[position];
    if (state == 'Z' || state == 'X') {
        return std::nullopt;
    }
    for (unsigned field = 3; field < 22; ++field) {
        position = stat.find(' ', position);
        if (position == std::string::npos) {
            return std::nullopt;
        }
        ++position;
    }
    return parse_number(std::string_view(stat).substr(position, stat.find(' ', position) - position)
    );
}

}  // namespace

std::optional<Process> this_process() {
    const auto pid = static_cast<std::uint64_t>(getpid());
    const auto start_ticks = start_ticks_of(pid);
    return start_ticks ? std::optional(Process{pid, *start_ticks}) : std::nullopt;
}

bool is_running(const Process& process) {
    return start_ticks_of(process.pid) == process.start_ticks;
}

std::string to_string(const Process& process) {
    return std::string(kPid) + std::to_string(process.pid) + std::string(kStart) +
           std::to_string(process.start_ticks);
}

std::optional<Process> parse_process(std::string_view text) {
    const std::size_t separator = text.find(kStart);
    if (!text.starts_with(kPid) || separator == std::string_view::npos) {
        return std::nullopt;
    }
    const auto pid = parse_number(text.substr(kPid.size(), separator - kPid.size()));
    const auto start_ticks = parse_number(text.substr(separator + kStart.size()));
    return pid && start_ticks ? std::optional(Process{*pid, *start_ticks}) : std::nullopt;
}

}  // namespace culvert::firewall
