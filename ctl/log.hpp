// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's log: one sink (stderr or a file) shared by one spdlog logger per area. A line is
// `2026-01-31T12:00:00.123Z|level|area|message`, in UTC, written with one system call, so nothing
// is lost in a crash. Control characters in a message are escaped: a message is always one line.
// Does not rotate files: logrotate does, then asks for log_reopen (culvert-ctl log reopen, SIGHUP).
// Any control thread may call this; workers never do (they count).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <spdlog/logger.h>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// "debug", "info", "warning" or "error".
[[nodiscard]] std::string_view log_level_word(LogLevel level) noexcept;
[[nodiscard]] Result<LogLevel> parse_log_level(std::string_view word);

/// Directs every logger, those already handed out too, to `file` (appended to, created with mode
/// 0640) or to stderr when it is empty. On failure the log goes where it went before. Before the
/// first call it goes to stderr at level info.
[[nodiscard]] Result<void> log_start(LogLevel level, const std::string& file);

void log_set_level(LogLevel level);

/// Opens the log file by name again, after it was moved away; nothing to do for stderr. On failure
/// the log goes on into the old file.
[[nodiscard]] Result<void> log_reopen();

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
