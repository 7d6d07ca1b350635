// SPDX-License-Identifier: GPL-2.0-or-later
//
// Numbers, truth values and addresses in texts. See ovsdb_options.hpp.
#include "ctl/ovsdb_options.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <system_error>

namespace culvert::ctl {

bool equals_without_case(std::string_view text, std::string_view lower_case) {
    return std::equal(
        text.begin(),
        text.end(),
        lower_case.begin(),
        lower_case.end(),
        [](char c, char lower) {
            return (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) == lower;
        }
    );
}

const std::string* find_option(const OvsdbOptions& options, const std::string& key) {
    const auto found = options.find(key);
    return found == options.end() ? nullptr : &found->second;
}

std::optional<std::int64_t> whole_number(const std::string& text, int base) {
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(text.c_str(), &end, base);
    if (errno != 0 || end == text.c_str() || end != text.c_str() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::int64_t leading_number(const std::string& text) {
    return std::strtoll(text.c_str(), nullptr, 10);
}

std::uint64_t leading_unsigned(const std::string& text, int base) {
    return std::strtoull(text.c_str(), nullptr, base);
}

std::int64_t
integer_option(const OvsdbOptions& options, const std::string& key, std::int64_t otherwise) {
    const std::string* text = find_option(options, key);
    const std::optional<std::int64_t> value =
        text == nullptr ? std::nullopt : whole_number(*text, 10);
    if (!value || *value < std::numeric_limits<std::int32_t>::min() ||
        *value > std::numeric_limits<std::int32_t>::max()) {
        return otherwise;
    }
    return *value;
}

bool boolean_option(const OvsdbOptions& options, const std::string& key, bool otherwise) {
    const std::string* text = find_option(options, key);
    if (text == nullptr) {
        return otherwise;
    }
    return equals_without_case(*text, otherwise ? "false" : "true") != otherwise;
}

std::optional<tunnels::MacAddress> parse_ovsdb_mac(const std::string& text) {
    tunnels::MacAddress mac;
    const char* at = text.data();
    const char* const end = text.data() + text.size();
    for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
        if (i != 0) {
            if (at == end || *at != ':') {
                return std::nullopt;
            }
            ++at;
        }
        const char* const limit = std::min(end, at + 2);
        const auto [next, failure] = std::from_chars(at, limit, mac.bytes[i], 16);
        if (failure != std::errc{}) {
            return std::nullopt;
        }
        at = next;
    }
    return at == end ? std::optional(mac) : std::nullopt;
}

}  // namespace culvert::ctl
