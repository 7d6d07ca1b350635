// SPDX-License-Identifier: GPL-2.0-or-later
//
// A text that must not be shown, as a pre-shared key: wiped at its end, compared in constant time,
// and never formatted. A value; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

class PrivateText {
public:
    PrivateText() = default;
    explicit PrivateText(std::string_view text) : text_(text) {}
    PrivateText(const PrivateText&) = default;
    PrivateText& operator=(const PrivateText& other) {
        if (this != &other) {
            wipe();
            text_ = other.text_;
        }
        return *this;
    }
    PrivateText(PrivateText&& other) noexcept {
        std::swap(text_, other.text_);
        other.wipe();
    }
    PrivateText& operator=(PrivateText&& other) noexcept {
        std::swap(text_, other.text_);
        return *this;
    }
    ~PrivateText() { wipe(); }

    [[nodiscard]] bool empty() const { return text_.empty(); }
    /// For whoever needs it in clear.
    [[nodiscard]] std::string_view reveal() const { return text_; }
    bool operator==(const PrivateText& other) const {
        return text_.size() == other.text_.size() &&
               tunnels::equal_in_constant_time(
                   std::as_bytes(std::span(text_)), std::as_bytes(std::span(other.text_))
               );
    }

private:
    /// All that it has room for: a short text that was moved away is still there.
    void wipe() {
        text_.resize(text_.capacity());
        tunnels::wipe(std::as_writable_bytes(std::span(text_)));
        text_.clear();
    }

    std::string text_;
};

}  // namespace culvert::ctl
