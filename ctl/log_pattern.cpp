// SPDX-License-Identifier: GPL-2.0-or-later
//
// See log_pattern.hpp.
#include "ctl/log_pattern.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>

#include <fmt/format.h>
#include <syslog.h>
#include <unistd.h>

namespace culvert::ctl {
namespace {

/// A longer width is somebody's mistake.
constexpr std::size_t kWidthMax = 255;

struct LevelNames {
    std::string_view ovs;
    std::string_view own;
    int severity;
};

const LevelNames& names_of(spdlog::level::level_enum level) noexcept {
    static constexpr std::array<LevelNames, 7> kNames = {{
        {"DBG", "debug", LOG_DEBUG},  // spdlog's "trace", which nothing uses.
        {"DBG", "debug", LOG_DEBUG},
        {"INFO", "info", LOG_NOTICE},
        {"WARN", "warning", LOG_WARNING},
        {"ERR", "error", LOG_ERR},
        {"EMER", "error", LOG_ALERT},
        {"OFF", "error", LOG_ALERT},
    }};
    return kNames.at(std::min<std::size_t>(static_cast<std::size_t>(level), kNames.size() - 1));
}

std::string format_time(std::string format, const LogLine& line, bool utc) {
    const auto since_epoch = line.time.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch - seconds).count();
    if (const std::size_t at = format.find("###"); at != std::string::npos) {
        format.replace(at, 3, fmt::format("{:03}", milliseconds));
    }
    const std::time_t stamp = seconds.count();
    std::tm parts{};
    if (utc) {
        gmtime_r(&stamp, &parts);
    } else {
        localtime_r(&stamp, &parts);
    }
    std::array<char, 256> text{};
    return {text.data(), std::strftime(text.data(), text.size(), format.c_str(), &parts)};
}

std::string host_name() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// Reads a pattern from its front.
class Conversion {
public:
    explicit Conversion(std::string_view& rest) {
        const std::string_view all = rest;
        rest.remove_prefix(1);
        left_ = take(rest, '-');
        zero_ = take(rest, '0');
        while (!rest.empty() && std::isdigit(static_cast<unsigned char>(rest[0])) != 0) {
            width_ = std::min(kWidthMax, width_ * 10 + static_cast<std::size_t>(rest[0] - '0'));
            rest.remove_prefix(1);
        }
        if (!rest.empty()) {
            letter_ = rest[0];
            rest.remove_prefix(1);
        }
        const std::size_t end = rest.find('}');
        if ((letter_ == 'd' || letter_ == 'D') && rest.starts_with('{') && end != rest.npos) {
            format_ = rest.substr(1, end - 1);
            rest.remove_prefix(end + 1);
        }
        text_ = all.substr(0, all.size() - rest.size());
    }

    [[nodiscard]] std::string print(const LogLine& line) const {
        std::string text = value(line);
        if (text.size() < width_) {
            const std::size_t missing = width_ - text.size();
            text.insert(left_ ? text.size() : 0, missing, zero_ && !left_ ? '0' : ' ');
        }
        return text;
    }

private:
    static bool take(std::string_view& rest, char c) {
        const bool there = rest.starts_with(c);
        rest.remove_prefix(there ? 1 : 0);
        return there;
    }

    [[nodiscard]] std::string value(const LogLine& line) const {
        switch (letter_) {
        case 'A':
            return std::string(line.program);
        case 'B':
            return std::to_string(
                line.facility * 8 + static_cast<unsigned>(syslog_severity(line.level))
            );
        case 'c':
            return std::string(line.area);
        case 'd':
        case 'D':
            return format_time(
                format_.empty() ? "%Y-%m-%d %H:%M:%S.###" : format_, line, letter_ == 'D'
            );
        case 'E':
            return host_name();
        case 'l':
            return std::string(names_of(line.level).own);
        case 'm':
            return std::string(line.message);
        case 'n':
            return "\n";
        case 'N':
            return std::to_string(line.number);
        case 'p':
            return std::string(ovs_level_name(line.level));
        case 'P':
            return std::to_string(getpid());
        case 't':
            return std::string(line.subprogram);
        case 'T':
            return line.subprogram.empty() ? "" : fmt::format("({})", line.subprogram);
        case '%':
            return "%";
        default:
            return std::string(text_);
        }
    }

    bool left_ = false;
    bool zero_ = false;
    std::size_t width_ = 0;
    char letter_ = 0;
    std::string format_;
    std::string_view text_;
};

}  // namespace

std::string_view ovs_level_name(spdlog::level::level_enum level) noexcept {
    return names_of(level).ovs;
}

int syslog_severity(spdlog::level::level_enum level) noexcept {
    return names_of(level).severity;
}

std::string format_log_line(std::string_view pattern, const LogLine& line) {
    std::string text;
    while (!pattern.empty()) {
        const std::size_t plain = std::min(pattern.find('%'), pattern.size());
        text += pattern.substr(0, plain);
        pattern.remove_prefix(plain);
        if (!pattern.empty()) {
            text += Conversion(pattern).print(line);
        }
    }
    return text;
}

}  // namespace culvert::ctl
