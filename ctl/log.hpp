// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's log: one spdlog logger per area, and three destinations shared by all of them:
// console (stderr), syslog and a file, each with a level per area and a pattern of its own. At
// first only the console has one. A line is `2026-01-31T12:00:00.123Z|level|area|message`, in UTC,
// unless a pattern says otherwise, and is written with one system call, so nothing is lost in a
// crash. Control characters in a message are escaped: a message is always one line. Does not rotate
// files: logrotate does, then asks for log_reopen (culvert-ctl log reopen, vlog/reopen, SIGHUP).
// Any control thread may call this; workers never do (they count).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <spdlog/logger.h>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// "debug", "info", "warning" or "error".
[[nodiscard]] std::string_view log_level_word(LogLevel level) noexcept;
[[nodiscard]] Result<LogLevel> parse_log_level(std::string_view word);

/// Directs every logger, those already handed out too, to `file` alone (appended to, created with
/// mode 0640) or to stderr when it is empty. On failure the log goes where it went before. Before
/// the first call it goes to stderr at level info.
[[nodiscard]] Result<void> log_start(LogLevel level, const std::string& file);

/// For every area, in the log file when there is one and else on the console.
void log_set_level(LogLevel level);

/// Opens the log file by name again, after it was moved away; nothing to do for stderr. On failure
/// the log goes on into the old file.
[[nodiscard]] Result<void> log_reopen();

enum class LogDestination : std::uint8_t { console, syslog, file };
inline constexpr std::size_t kLogDestinations = 3;
/// By destination.
using LogLevels = std::array<spdlog::level::level_enum, kLogDestinations>;

/// In the part of another program: its name, and patterns as it has them (log_pattern.hpp).
void log_set_program(const std::string& program);
/// What %t and %T print: the part of the program that this process is.
void log_set_subprogram(const std::string& subprogram);
void log_set_pattern(LogDestination destination, const std::string& pattern);
[[nodiscard]] std::string log_pattern(LogDestination destination);

/// Opens `path` as the log file beside the other destinations.
[[nodiscard]] Result<void> log_open_file(const std::string& path);
/// log_reopen opens it again.
void log_close_file();
/// Empty: there is none.
[[nodiscard]] std::string log_file();

/// Every area there is, sorted.
[[nodiscard]] std::vector<std::string> log_areas();
[[nodiscard]] LogLevels log_levels(const std::string& area);
/// An empty area stands for all of them, and those to come. An unknown one changes nothing.
void log_set_levels(
    const std::string& area, LogDestination destination, spdlog::level::level_enum level
);

/// As SyslogSender::open. Without a call the C library's syslog(3) is used, from the first message
/// on.
[[nodiscard]] Result<void> log_set_syslog(const std::string& method);
/// "IP:PORT" gets what goes to syslog too, over UDP.
[[nodiscard]] Result<void> log_add_syslog_target(const std::string& target);
[[nodiscard]] Result<void> log_set_facility(std::string_view name);

/// The reason for which the process ends: an error in the log, and on stderr when the console's
/// level would keep it from there.
void log_fatal(const std::string& area, const std::string& sentence);

/// The logger of `area` ("config", "switch", ...), made at first use; valid until the process ends.
/// Usage: logger("config").info("read {} bridges", count).
[[nodiscard]] spdlog::logger& logger(std::string_view area);

/// Lets at most `messages_max` messages pass in each period; the next message after the period, or
/// flush(), is preceded by one line "suppressed N messages like this". For what a peer or a device
/// can provoke at will. Not thread-safe: the control thread owns it.
class LogLimiter {
public:
    using Clock = std::chrono::steady_clock;

    /// `target` outlives the limiter, as every logger() does.
    LogLimiter(spdlog::logger& target, unsigned messages_max, Clock::duration period) noexcept
        : target_(target), messages_max_(messages_max), period_(period) {}

    template <class... Values>
    void
    log(Clock::time_point now,
        spdlog::level::level_enum level,
        spdlog::format_string_t<Values...> text,
        Values&&... values) {
        if (admit(now, level)) {
            target_.log(level, text, std::forward<Values>(values)...);
        }
    }

    /// Reports what was suppressed if the period is over; call it from a periodic timer, so that
    /// the count is not kept back when no further message comes.
    void flush(Clock::time_point now);

private:
    [[nodiscard]] bool admit(Clock::time_point now, spdlog::level::level_enum level);

    spdlog::logger& target_;
    unsigned messages_max_;
    Clock::duration period_;
    Clock::time_point period_start_{};
    unsigned passed_ = 0;
    std::uint64_t suppressed_ = 0;
    spdlog::level::level_enum suppressed_level_ = spdlog::level::trace;
};

}  // namespace culvert::ctl
