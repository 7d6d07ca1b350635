// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sink writes each line with one write(2) to a descriptor opened with O_APPEND: lines of
// several threads never mix, and a log that logrotate truncates goes on at its start.
#include "ctl/log.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <unistd.h>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include "ctl/escape.hpp"

namespace culvert::ctl {
namespace {

struct LevelWord {
    LogLevel level;
    std::string_view word;
    spdlog::level::level_enum spdlog_level;
};

constexpr std::array<LevelWord, 4> kLevelWords = {{
    {LogLevel::debug, "debug", spdlog::level::debug},
    {LogLevel::info, "info", spdlog::level::info},
    {LogLevel::warning, "warning", spdlog::level::warn},
    {LogLevel::error, "error", spdlog::level::err},
}};

const LevelWord& find_level(LogLevel level) {
    return kLevelWords.at(static_cast<std::size_t>(level));
}

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
public:
    LineSink() {
        set_formatter(std::make_unique<spdlog::pattern_formatter>(
            "%Y-%m-%dT%H:%M:%S.%eZ|%l|%n|%v", spdlog::pattern_time_type::utc, "\n"
        ));
    }
    ~LineSink() override { close_file(); }
    LineSink(const LineSink&) = delete;
    LineSink& operator=(const LineSink&) = delete;

    Result<void> direct_to(const std::string& file) {
        int fd = STDERR_FILENO;
        if (!file.empty()) {
            fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
            if (fd < 0) {
                const int error = errno;
                return tl::unexpected(
                    "cannot open log file \"" + file + "\": " + std::strerror(error) +
                    " (it must be a file that can be created or appended to)"
                );
            }
        }
        const std::lock_guard lock(mutex_);
        close_file();
        fd_ = fd;
        file_ = file;
        return {};
    }

    std::string file() {
        const std::lock_guard lock(mutex_);
        return file_;
    }

protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        const std::string payload =
            escape_controls({message.payload.data(), message.payload.size()});
        spdlog::details::log_msg escaped = message;
        escaped.payload = payload;
        spdlog::memory_buf_t line;
        formatter_->format(escaped, line);
        std::string_view rest(line.data(), line.size());
        while (!rest.empty()) {
            const ssize_t written = ::write(fd_, rest.data(), rest.size());
            if (written > 0) {
                rest.remove_prefix(static_cast<std::size_t>(written));
            } else if (written == 0 || errno != EINTR) {
                // The logger reports this on stderr, at most once a second.
                spdlog::throw_spdlog_ex("cannot write to the log", errno);
            }
        }
    }

    void flush_() override {}

private:
    void close_file() noexcept {
        if (fd_ != STDERR_FILENO) {
            ::close(fd_);
        }
    }

    int fd_ = STDERR_FILENO;
    std::string file_;
};

struct LogState {
    std::shared_ptr<LineSink> sink = std::make_shared<LineSink>();
    std::mutex mutex;
    spdlog::level::level_enum level = spdlog::level::info;
    std::map<std::string, spdlog::logger, std::less<>> loggers;
};

/// Never destroyed: objects of static lifetime may log while the process ends.
LogState& state() {
    static LogState& instance = *new LogState();
    return instance;
}

}  // namespace

std::string_view log_level_word(LogLevel level) noexcept {
    return find_level(level).word;
}

Result<LogLevel> parse_log_level(std::string_view word) {
    for (const LevelWord& entry : kLevelWords) {
        if (entry.word == word) {
            return entry.level;
        }
    }
    return tl::unexpected(
        "log level \"" + std::string(word) + "\" is not one of debug, info, warning, error"
    );
}

Result<void> log_start(LogLevel level, const std::string& file) {
    log_set_level(level);
    return state().sink->direct_to(file);
}

void log_set_level(LogLevel level) {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    log.level = find_level(level).spdlog_level;
    for (auto& [area, target] : log.loggers) {
        target.set_level(log.level);
    }
}

Result<void> log_reopen() {
    LineSink& sink = *state().sink;
    return sink.direct_to(sink.file());
}

spdlog::logger& logger(std::string_view area) {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    auto found = log.loggers.find(area);
    if (found == log.loggers.end()) {
        const std::string name(area);
        found = log.loggers.try_emplace(name, name, log.sink).first;
        found->second.set_level(log.level);
    }
    return found->second;
}

bool LogLimiter::admit(Clock::time_point now, spdlog::level::level_enum level) {
    if (!target_.should_log(level)) {
        return false;
    }
    flush(now);
    if (passed_ == 0) {
        period_start_ = now;
    }
    if (passed_ < messages_max_) {
        ++passed_;
        return true;
    }
    ++suppressed_;
    suppressed_level_ = std::max(suppressed_level_, level);
    return false;
}

void LogLimiter::flush(Clock::time_point now) {
    if (passed_ == 0 || now - period_start_ < period_) {
        return;
    }
    if (suppressed_ != 0) {
        target_.log(suppressed_level_, "suppressed {} messages like this", suppressed_);
    }
    passed_ = 0;
    suppressed_ = 0;
    suppressed_level_ = spdlog::level::trace;
}

}  // namespace culvert::ctl
