// SPDX-License-Identifier: GPL-2.0-or-later
//
// Error sentences stay on one line and stay short whatever the input holds, because they end up in
// logs and in answers on the control socket. Pure functions; any thread.
#include "ctl/sentence.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace culvert::ctl {

namespace {

constexpr std::size_t kQuotedBytesMax = 80;
constexpr std::size_t kListedMax = 16;

/// The number of single-character insertions, deletions and replacements between two words,
/// kept one row of the table at a time.
std::size_t edit_distance(std::string_view from, std::string_view to) {
    std::vector<std::size_t> row(to.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < to.size(); ++j) {
            const std::size_t replaced = diagonal + (from[i] == to[j] ? 0U : 1U);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
        }
    }
    return row[to.size()];
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::string quote(std::string_view text) {
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string quoted = "\"";
    std::size_t end = text.size();
    if (end > kQuotedBytesMax) {
        end = kQuotedBytesMax;
        // A UTF-8 sequence is kept whole: its continuation bytes are 10xxxxxx.
        while (end > 0 && (static_cast<std::uint8_t>(text[end]) & 0xc0U) == 0x80U) {
            --end;
        }
    }
    for (const char c : text.substr(0, end)) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (c == '"' || c == '\\') {
            quoted += '\\';
            quoted += c;
        } else if (byte < 0x20 || byte == 0x7f) {
            quoted += "\\x";
            quoted += kHex[byte >> 4U];
            quoted += kHex[byte & 0xfU];
        } else {
            quoted += c;
        }
    }
    return quoted + (end < text.size() ? "...\"" : "\"");
}

bool is_printable(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<std::uint8_t>(c) < 0x20 || c == 0x7f;
    });
}

std::string join(std::span<const std::string_view> words) {
    std::string text;
    for (const std::string_view word : words) {
        if (!text.empty()) {
            text += ", ";
        }
        text += word;
    }
    return text;
}

std::string listing(std::span<const std::string_view> words) {
    const std::size_t shown = std::min(words.size(), kListedMax);
    std::string text;
    for (const std::string_view word : words.first(shown)) {
        text += (text.empty() ? "" : ", ") + quote(word);
    }
    if (shown < words.size()) {
        text += " and " + std::to_string(words.size() - shown) + " more";
    }
    return text;
}

std::string_view nearest(std::string_view text, std::span<const std::string_view> words) {
    std::string_view best;
    // Half of the word may be wrong; beyond that a suggestion misleads.
    std::size_t limit = text.size() / 2 + 1;
    if (text.size() > kQuotedBytesMax) {
        return best;
    }
    std::string lowered(text);
    std::transform(lowered.begin(), lowered.end(), lowered.begin(), lower);
    for (const std::string_view word : words) {
        const std::size_t distance = edit_distance(lowered, word);
        if (distance < limit) {
            limit = distance;
            best = word;
        }
    }
    return best;
}

std::string place(const Origin& origin) {
    return origin.file.empty() ? std::string{} : origin.file + ":" + std::to_string(origin.line);
}

std::string item(std::string_view title, std::string_view name) {
    std::string text(title);
    if (!name.empty()) {
        text += " " + quote(name);
    }
    return text;
}

std::string sentence(const Origin& origin, std::string_view subject, std::string_view text) {
    std::string result = place(origin);
    for (const std::string_view part : {subject, text}) {
        if (!part.empty()) {
            result += result.empty() ? "" : ": ";
            result += part;
        }
    }
    return result;
}

}  // namespace culvert::ctl
