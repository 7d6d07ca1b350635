// SPDX-License-Identifier: GPL-2.0-or-later
//
// How Open vSwitch reads the texts in columns like `options` and `other_config`: what it cannot
// read counts as absent or as 0, seldom as a mistake. Pure; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tunnels/address.hpp"

namespace culvert::ctl {

using OvsdbOptions = std::map<std::string, std::string>;

/// Null when the key is absent.
[[nodiscard]] const std::string* find_option(const OvsdbOptions& options, const std::string& key);

/// A decimal number that is the whole text and fits 32 bits with a sign, else `otherwise`.
[[nodiscard]] std::int64_t
integer_option(const OvsdbOptions& options, const std::string& key, std::int64_t otherwise);

/// With `otherwise` false only "true" is true, with `otherwise` true only "false" is false; case
/// does not matter.
[[nodiscard]] bool
boolean_option(const OvsdbOptions& options, const std::string& key, bool otherwise);

[[nodiscard]] bool equals_without_case(std::string_view text, std::string_view lower_case);

/// The number that is the whole text; `base` 0 knows "0x" and a leading 0.
[[nodiscard]] std::optional<std::int64_t> whole_number(const std::string& text, int base);

/// The decimal number that the text begins with; 0 without one.
[[nodiscard]] std::int64_t leading_number(const std::string& text);

/// The same without sign (a minus counts from 2^64 down); `base` 0 knows "0x" and a leading 0.
[[nodiscard]] std::uint64_t leading_unsigned(const std::string& text, int base);

/// Six hexadecimal numbers of one or two digits, separated by colons.
[[nodiscard]] std::optional<tunnels::MacAddress> parse_ovsdb_mac(const std::string& text);

}  // namespace culvert::ctl
