// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a line of the log looks, as a pattern in the syntax of ovs-appctl(8), vlog/set PATTERN.
// Pure but for the clock's time zone and the host's name. Control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <spdlog/common.h>

namespace culvert::ctl {

struct LogLine {
    std::chrono::system_clock::time_point time;
    spdlog::level::level_enum level = spdlog::level::info;
    std::string_view area;
    std::string_view message;
    std::uint64_t number = 0;     ///< Counts the messages of the process.
    std::string_view program;     ///< "culvertd" or "ovs-vswitchd".
    std::string_view subprogram;  ///< "monitor" in the monitor; else empty.
    unsigned facility = 3;        ///< Of syslog: daemon.
};

/// `2026-01-31T12:00:00.123Z|level|area|message`.
inline constexpr std::string_view kCulvertPattern = "%D{%Y-%m-%dT%H:%M:%S.###Z}|%l|%c|%m";
/// `2026-01-31T12:00:00.123Z|00001|area|INFO|message`, of OVS's files; and of its console and
/// syslog.
inline constexpr std::string_view kOvsFilePattern = "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m";
inline constexpr std::string_view kOvsConsolePattern = "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m";
inline constexpr std::string_view kOvsSyslogPattern = "ovs|%05N|%c%T|%p|%m";

/// OVS's name of the level: "EMER", "ERR", "WARN", "INFO", "DBG" or "OFF".
[[nodiscard]] std::string_view ovs_level_name(spdlog::level::level_enum level) noexcept;

/// The severity of syslog(3) that stands for the level.
[[nodiscard]] int syslog_severity(spdlog::level::level_enum level) noexcept;

/// The line, without an end of line. Conversions: %A program, %B priority of RFC 5424, %c area,
/// %d{FORMAT} local time and %D{FORMAT} UTC (strftime(3), "###" is milliseconds), %E host name, %l
/// Culvert's level word, %m message, %n end of line, %N number, %p OVS's level name, %P process,
/// %t subprogram, %T the same in parentheses, %%; a width may stand before the letter ("%05N",
/// "%-8c"). An unknown conversion is printed as it stands.
[[nodiscard]] std::string format_log_line(std::string_view pattern, const LogLine& line);

}  // namespace culvert::ctl
