// SPDX-License-Identifier: GPL-2.0-or-later
//
// Each logger has a sink of its own, which knows its levels, in front of one set of outputs. They
// write each line with one write(2) to a descriptor opened with O_APPEND: lines of several threads
// never mix, and a log that logrotate truncates goes on at its start.
#include "ctl/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include <spdlog/sinks/sink.h>

#include "ctl/escape.hpp"
#include "ctl/log_pattern.hpp"
#include "ctl/syslog_sender.hpp"

namespace culvert::ctl {
namespace {

/// The areas of the daemon, so that their levels can be set before they have said anything.
constexpr std::array kAreas = {
    "bond",
    "config",
    "culvertd",
    "daemon",
    "esp",
    "firewall",
    "ike",
    "openflow",
    "ovsdb",
    "switch",
    "tunnel"};

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

constexpr std::size_t index_of(LogDestination destination) noexcept {
    return static_cast<std::size_t>(destination);
}

/// What the three destinations write to.
class Outputs {
public:
    Result<void> open_file(const std::string& path) {
        const int fd =
            ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (fd < 0) {
            const int error = errno;
            return tl::unexpected(
                "cannot open log file \"" + path + "\": " + std::strerror(error) +
                " (it must be a file that can be created or appended to)"
            );
        }
        const std::lock_guard lock(mutex_);
        close_descriptor();
        fd_ = fd;
        file_ = path;
        return {};
    }

    /// The name is kept.
    void close_file() {
        const std::lock_guard lock(mutex_);
        close_descriptor();
    }

    void forget_file() {
        const std::lock_guard lock(mutex_);
        close_descriptor();
        file_.clear();
    }

    std::string file() {
        const std::lock_guard lock(mutex_);
        return file_;
    }

    void set_pattern(LogDestination destination, const std::string& pattern) {
        const std::lock_guard lock(mutex_);
        patterns_.at(index_of(destination)) = pattern;
    }

    std::string pattern(LogDestination destination) {
        const std::lock_guard lock(mutex_);
        return patterns_.at(index_of(destination));
    }

    void set_program(const std::string& program) {
        const std::lock_guard lock(mutex_);
        program_ = program;
    }

    void set_subprogram(const std::string& subprogram) {
        const std::lock_guard lock(mutex_);
        subprogram_ = subprogram;
    }

    Result<void> set_syslog(const std::string& method) {
        const std::lock_guard lock(mutex_);
        return assign(syslog_, method);
    }

    Result<void> set_target(const std::string& target) {
        const std::lock_guard lock(mutex_);
        return assign(target_, "udp:" + target);
    }

    void set_facility(int facility) {
        const std::lock_guard lock(mutex_);
        facility_ = facility;
    }

    /// To every destination for which `wanted` says so. Throws when one cannot be written to, after
    /// all of them were tried: the logger says so on stderr, at most once a second.
    template <class Wanted>
    void write(const spdlog::details::log_msg& message, const Wanted& wanted) {
        const std::string text = escape_controls({message.payload.data(), message.payload.size()});
        const std::lock_guard lock(mutex_);
        LogLine line;
        line.time = message.time;
        line.level = message.level;
        line.area = {message.logger_name.data(), message.logger_name.size()};
        line.message = text;
        line.number = ++number_;
        line.program = program_;
        line.subprogram = subprogram_;
        line.facility = static_cast<unsigned>(facility_) / 8;
        int error = 0;
        if (wanted(LogDestination::console)) {
            error = write_line(STDERR_FILENO, LogDestination::console, line);
        }
        if (wanted(LogDestination::file) && fd_ >= 0) {
            const int failed = write_line(fd_, LogDestination::file, line);
            error = failed != 0 ? failed : error;
        }
        if (wanted(LogDestination::syslog)) {
            send_to_syslog(line);
        }
        if (error != 0) {
            spdlog::throw_spdlog_ex("cannot write to the log", error);
        }
    }

private:
    Result<void> assign(std::unique_ptr<SyslogSender>& sender, const std::string& method) {
        auto opened = SyslogSender::open(method, program_);
        if (!opened) {
            return tl::unexpected(opened.error());
        }
        sender = std::move(*opened);
        return {};
    }

    void send_to_syslog(const LogLine& line) {
        if (syslog_ == nullptr && !assign(syslog_, "libc")) {
            return;
        }
        const std::string text = format_log_line(patterns_[index_of(LogDestination::syslog)], line);
        const int priority = facility_ | syslog_severity(line.level);
        syslog_->send(priority, text);
        if (target_ != nullptr) {
            target_->send(priority, text);
        }
    }

    /// Zero, or an errno.
    int write_line(int fd, LogDestination destination, const LogLine& line) {
        const std::string text = format_log_line(patterns_[index_of(destination)], line) + "\n";
        std::string_view rest = text;
        while (!rest.empty()) {
            const ssize_t written = ::write(fd, rest.data(), rest.size());
            if (written > 0) {
                rest.remove_prefix(static_cast<std::size_t>(written));
            } else if (written == 0 || errno != EINTR) {
                return written == 0 ? EIO : errno;
            }
        }
        return 0;
    }

    void close_descriptor() noexcept {
        if (fd_ >= 0) {
            ::close(fd_);
        }
        fd_ = -1;
    }

    std::mutex mutex_;
    int fd_ = -1;
    std::string file_;
    std::array<std::string, kLogDestinations> patterns_ = {
        std::string(kCulvertPattern), std::string(kCulvertPattern), std::string(kCulvertPattern)};
    std::string program_ = "culvertd";
    std::string subprogram_;
    std::unique_ptr<SyslogSender> syslog_;
    std::unique_ptr<SyslogSender> target_;
    int facility_ = LOG_DAEMON;
    std::uint64_t number_ = 0;
};

/// One area's way to the outputs.
class AreaSink final : public spdlog::sinks::sink {
public:
    explicit AreaSink(Outputs& outputs) : outputs_(outputs) {}

    void log(const spdlog::details::log_msg& message) override {
        outputs_.write(message, [&](LogDestination destination) {
            const auto least = levels_.at(index_of(destination)).load(std::memory_order_relaxed);
            return message.level >= least && least != spdlog::level::off;
        });
    }
    void flush() override {}
    void set_pattern(const std::string& /*pattern*/) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter> /*formatter*/) override {}

    void set(LogDestination destination, spdlog::level::level_enum level) {
        levels_.at(index_of(destination)).store(level, std::memory_order_relaxed);
    }

    [[nodiscard]] LogLevels levels() const {
        LogLevels levels{};
        std::transform(levels_.begin(), levels_.end(), levels.begin(), [](const auto& level) {
            return level.load(std::memory_order_relaxed);
        });
        return levels;
    }

private:
    Outputs& outputs_;
    std::array<std::atomic<spdlog::level::level_enum>, kLogDestinations> levels_{};
};

struct Area {
    Area(const std::string& name, Outputs& outputs)
        : sink(std::make_shared<AreaSink>(outputs)), logger(name, sink) {}

    void set(const LogLevels& levels) {
        for (std::size_t i = 0; i < levels.size(); ++i) {
            sink->set(static_cast<LogDestination>(i), levels[i]);
        }
        logger.set_level(*std::min_element(levels.begin(), levels.end()));
    }

    std::shared_ptr<AreaSink> sink;
    spdlog::logger logger;
};

struct LogState {
    LogState() {
        for (const char* name : kAreas) {
            find(name);
        }
    }

    Area& find(const std::string& name) {
        const auto [area, made] = areas.try_emplace(name, name, outputs);
        if (made) {
            area->second.set(levels);
        }
        return area->second;
    }

    void set(LogDestination destination, spdlog::level::level_enum level) {
        levels.at(index_of(destination)) = level;
        for (auto& [name, area] : areas) {
            LogLevels changed = area.sink->levels();
            changed.at(index_of(destination)) = level;
            area.set(changed);
        }
    }

    Outputs outputs;
    std::mutex mutex;  ///< Of what follows.
    LogLevels levels = {spdlog::level::info, spdlog::level::off, spdlog::level::off};
    std::map<std::string, Area, std::less<>> areas;
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
    LogState& log = state();
    if (file.empty()) {
        log.outputs.forget_file();
    } else if (auto opened = log.outputs.open_file(file); !opened) {
        return opened;
    }
    const std::lock_guard lock(log.mutex);
    const auto least = find_level(level).spdlog_level;
    log.set(LogDestination::console, file.empty() ? least : spdlog::level::off);
    log.set(LogDestination::syslog, spdlog::level::off);
    log.set(LogDestination::file, file.empty() ? spdlog::level::off : least);
    return {};
}

void log_set_level(LogLevel level) {
    LogState& log = state();
    const auto main = log.outputs.file().empty() ? LogDestination::console : LogDestination::file;
    const std::lock_guard lock(log.mutex);
    log.set(main, find_level(level).spdlog_level);
}

Result<void> log_reopen() {
    Outputs& outputs = state().outputs;
    const std::string file = outputs.file();
    return file.empty() ? Result<void>() : outputs.open_file(file);
}

void log_set_program(const std::string& program) {
    state().outputs.set_program(program);
}

void log_set_subprogram(const std::string& subprogram) {
    state().outputs.set_subprogram(subprogram);
}

void log_set_pattern(LogDestination destination, const std::string& pattern) {
    state().outputs.set_pattern(destination, pattern);
}

std::string log_pattern(LogDestination destination) {
    return state().outputs.pattern(destination);
}

Result<void> log_open_file(const std::string& path) {
    return state().outputs.open_file(path);
}

void log_close_file() {
    state().outputs.close_file();
}

std::string log_file() {
    return state().outputs.file();
}

std::vector<std::string> log_areas() {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    std::vector<std::string> names;
    for (const auto& [name, area] : log.areas) {
        names.push_back(name);
    }
    return names;
}

LogLevels log_levels(const std::string& area) {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    const auto found = log.areas.find(area);
    return found == log.areas.end() ? log.levels : found->second.sink->levels();
}

void log_set_levels(
    const std::string& area, LogDestination destination, spdlog::level::level_enum level
) {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    if (area.empty()) {
        log.set(destination, level);
    } else if (const auto found = log.areas.find(area); found != log.areas.end()) {
        LogLevels levels = found->second.sink->levels();
        levels.at(index_of(destination)) = level;
        found->second.set(levels);
    }
}

Result<void> log_set_syslog(const std::string& method) {
    return state().outputs.set_syslog(method);
}

Result<void> log_add_syslog_target(const std::string& target) {
    return state().outputs.set_target(target);
}

Result<void> log_set_facility(std::string_view name) {
    const auto facility = parse_facility(name);
    if (!facility) {
        return tl::unexpected(facility.error());
    }
    state().outputs.set_facility(*facility);
    return {};
}

void log_fatal(const std::string& area, const std::string& sentence) {
    logger(area).error("{}", sentence);
    const LogLevels levels = log_levels(area);
    if (levels[index_of(LogDestination::console)] > spdlog::level::err) {
        std::cerr << area << ": " << sentence << '\n';
    }
}

spdlog::logger& logger(std::string_view area) {
    LogState& log = state();
    const std::lock_guard lock(log.mutex);
    const auto found = log.areas.find(area);
    return found != log.areas.end() ? found->second.logger : log.find(std::string(area)).logger;
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
