// SPDX-License-Identifier: GPL-2.0-or-later
//
// See vlog.hpp.
#include "ctl/vlog.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "ctl/log_pattern.hpp"
#include "ctl/sentence.hpp"

namespace culvert::ctl {
namespace {

constexpr std::array<std::string_view, kLogDestinations> kDestinationWords = {
    "console", "syslog", "file"};
constexpr std::array kEveryDestination = {
    LogDestination::console, LogDestination::syslog, LogDestination::file};

struct LevelWord {
    std::string_view word;
    spdlog::level::level_enum level;
};
constexpr std::array<LevelWord, 6> kLevelWords = {{
    {"off", spdlog::level::off},
    {"emer", spdlog::level::critical},
    {"err", spdlog::level::err},
    {"warn", spdlog::level::warn},
    {"info", spdlog::level::info},
    {"dbg", spdlog::level::debug},
}};

std::string lower(std::string_view text) {
    std::string lowered(text);
    std::transform(lowered.begin(), lowered.end(), lowered.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return lowered;
}

std::optional<LogDestination> find_destination(std::string_view word) {
    const auto* found = std::find(kDestinationWords.begin(), kDestinationWords.end(), lower(word));
    if (found == kDestinationWords.end()) {
        return std::nullopt;
    }
    return static_cast<LogDestination>(found - kDestinationWords.begin());
}

std::optional<spdlog::level::level_enum> find_level(std::string_view word) {
    const std::string lowered = lower(word);
    const auto* found =
        std::find_if(kLevelWords.begin(), kLevelWords.end(), [&](const LevelWord& entry) {
            return entry.word == lowered;
        });
    return found == kLevelWords.end() ? std::nullopt : std::optional(found->level);
}

std::vector<std::string_view> split(std::string_view text) {
    static constexpr std::string_view kSeparators = " ,:";
    std::vector<std::string_view> words;
    while (true) {
        text.remove_prefix(std::min(text.find_first_not_of(kSeparators), text.size()));
        if (text.empty()) {
            return words;
        }
        const std::size_t end = std::min(text.find_first_of(kSeparators), text.size());
        words.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
}

tl::unexpected<std::string> unknown_word(std::string_view word) {
    std::string areas;
    for (const std::string& area : log_areas()) {
        areas += ", " + area;
    }
    return tl::unexpected(
        "no destination, level, or module " + quote(word) +
        " (destinations are console, syslog, file; levels off, emer, err, warn, info, dbg; modules "
        "ANY" +
        areas + ")"
    );
}

Result<void> set_pattern(std::string_view rest) {
    const std::size_t colon = rest.find(':');
    const std::string_view word = rest.substr(0, colon);
    const std::string pattern(colon == rest.npos ? "" : rest.substr(colon + 1));
    if (lower(word) == "any") {
        for (const LogDestination destination : kEveryDestination) {
            log_set_pattern(destination, pattern);
        }
        return {};
    }
    const auto destination = find_destination(word);
    if (!destination) {
        return tl::unexpected(
            "unknown destination " + quote(word) + " (valid: console, syslog, file, ANY)"
        );
    }
    log_set_pattern(*destination, pattern);
    return {};
}

Result<std::string> set(const Arguments& arguments) {
    if (arguments.empty()) {
        set_vlog_to_debug();
    }
    for (const std::string& argument : arguments) {
        if (auto applied = apply_vlog(argument, VlogModules::known); !applied) {
            return tl::unexpected(applied.error());
        }
    }
    return std::string();
}

Result<std::string> list(const Arguments& /*arguments*/) {
    std::string text = "                 console    syslog    file\n"
                       "                 -------    ------    ------\n";
    for (const std::string& area : log_areas()) {
        const LogLevels levels = log_levels(area);
        text += fmt::format(
            "{:<16}  {:>4}       {:>4}       {:>4}\n",
            area,
            ovs_level_name(levels[0]),
            ovs_level_name(levels[1]),
            ovs_level_name(levels[2])
        );
    }
    return text;
}

Result<std::string> list_patterns(const Arguments& /*arguments*/) {
    return fmt::format(
        "         prefix                            format\n"
        "         ------                            ------\n"
        "SYSLOG   {:<34}{}\nCONSOLE  {:<34}{}\nFILE     {:<34}{}\n",
        "none",
        log_pattern(LogDestination::syslog),
        "none",
        log_pattern(LogDestination::console),
        "none",
        log_pattern(LogDestination::file)
    );
}

Result<std::string> reopen(const Arguments& /*arguments*/) {
    if (log_file().empty()) {
        return tl::unexpected(
            std::string("logging to file not configured (start with --log-file[=FILE])")
        );
    }
    if (auto reopened = log_reopen(); !reopened) {
        return tl::unexpected(reopened.error());
    }
    return std::string();
}

Result<std::string> close(const Arguments& /*arguments*/) {
    log_close_file();
    return std::string();
}

}  // namespace

Result<VlogSpec> parse_vlog(std::string_view text) {
    const std::vector<std::string> areas = log_areas();
    VlogSpec spec;
    std::string_view unknown;
    bool has_level = false;
    bool has_area = false;
    for (const std::string_view word : split(text)) {
        if (const auto destination = find_destination(word)) {
            if (!spec.destinations.empty()) {
                return tl::unexpected("cannot specify multiple destinations, as in " + quote(text));
            }
            spec.destinations = {*destination};
        } else if (const auto level = find_level(word)) {
            if (has_level) {
                return tl::unexpected("cannot specify multiple levels, as in " + quote(text));
            }
            has_level = true;
            spec.level = *level;
        } else if (lower(word) == "any") {
            continue;
        } else if (has_area || !unknown.empty()) {
            return unknown_word(unknown.empty() ? word : unknown);
        } else if (std::find(areas.begin(), areas.end(), word) != areas.end()) {
            has_area = true;
            spec.area = word;
        } else {
            unknown = word;
        }
    }
    if (!unknown.empty()) {
        if (!has_level && spec.destinations.empty()) {
            return unknown_word(unknown);
        }
        spec.foreign = true;
        spec.area = unknown;
    }
    if (spec.destinations.empty()) {
        spec.destinations.assign(kEveryDestination.begin(), kEveryDestination.end());
    }
    return spec;
}

Result<void> apply_vlog(std::string_view text, VlogModules modules) {
    static constexpr std::string_view kPattern = "pattern:";
    static constexpr std::string_view kFacility = "facility:";
    if (lower(text.substr(0, kPattern.size())) == kPattern) {
        return set_pattern(text.substr(kPattern.size()));
    }
    if (lower(text.substr(0, kFacility.size())) == kFacility) {
        return log_set_facility(text.substr(kFacility.size()));
    }
    const auto spec = parse_vlog(text);
    if (!spec) {
        return tl::unexpected(spec.error());
    }
    if (spec->foreign) {
        if (modules == VlogModules::known) {
            return unknown_word(spec->area);
        }
        return {};
    }
    for (const LogDestination destination : spec->destinations) {
        log_set_levels(spec->area, destination, spec->level);
    }
    return {};
}

void set_vlog_to_debug() {
    for (const LogDestination destination : kEveryDestination) {
        log_set_levels("", destination, spdlog::level::debug);
    }
}

std::map<std::string, Command> make_vlog_commands() {
    std::map<std::string, Command> commands;
    commands["vlog/set"] = {
        "{spec | PATTERN:destination:pattern}", 0, std::numeric_limits<unsigned>::max(), set};
    commands["vlog/list"] = {"", 0, 0, list};
    commands["vlog/list-pattern"] = {"", 0, 0, list_patterns};
    commands["vlog/reopen"] = {"", 0, 0, reopen};
    commands["vlog/close"] = {"", 0, 0, close};
    return commands;
}

}  // namespace culvert::ctl
