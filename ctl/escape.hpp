// SPDX-License-Identifier: GPL-2.0-or-later
//
// Makes text from outside safe for one line of a log or a terminal: control characters (newline,
// escape, delete, ...) become \xNN. Bytes over 0x7f pass, so that UTF-8 stays readable.
// Pure: any thread may call it.
#pragma once

#include <string>
#include <string_view>

namespace culvert::ctl {

[[nodiscard]] inline std::string escape_controls(std::string_view text) {
    constexpr std::string_view kHexDigits = "0123456789abcdef";
    std::string escaped;
    escaped.reserve(text.size());
    for (const char byte : text) {
        const auto value = static_cast<unsigned char>(byte);
        if (value >= 0x20 && value != 0x7f) {
            escaped.push_back(byte);
        } else {
            escaped += "\\x";
            escaped.push_back(kHexDigits[value >> 4U]);
            escaped.push_back(kHexDigits[value & 0xfU]);
        }
    }
    return escaped;
}

}  // namespace culvert::ctl
