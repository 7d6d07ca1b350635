// SPDX-License-Identifier: GPL-2.0-or-later
//
// What values of a configuration file may be, and the mistake that is reported. One thread at a
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace culvert::ctl {

/// The first mistake found in a file.
class FirstError {
public:
    explicit FirstError(std::string_view file) : file_(file) {}

    void report(std::uint32_t line, std::string_view subject, std::string_view text);
    [[nodiscard]] bool found() const noexcept { return !text_.empty(); }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] const std::string& file() const noexcept { return file_; }

private:
    std::string file_;
    std::string text_;
};

/// Both ends belong to the range.
struct Range {
    std::uint64_t min;
    std::uint64_t max;
    [[nodiscard]] std::string text() const {
        return std::to_string(min) + "-" + std::to_string(max);
    }
};

inline constexpr std::size_t kDeviceNameBytesMax = 15;  ///< IFNAMSIZ - 1.
inline constexpr std::size_t kNameBytesMax = 63;

/// A word that may stand in place of a number or an address; `chosen` says that it does.
struct Alternative {
    std::string_view word;
    bool* chosen;
};

}  // namespace culvert::ctl
