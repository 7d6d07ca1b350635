// SPDX-License-Identifier: GPL-2.0-or-later
//
// Geneve options (RFC 8926 section 3.5) as configuration writes them: "CLASS:TYPE:DATA". Pure; any
// thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "ctl/tunnel_config.hpp"

namespace culvert::ctl {

inline constexpr std::size_t kGeneveOptionHeaderBytes = 4;
inline constexpr std::size_t kGeneveOptionDataBytesMax = 44;
inline constexpr std::string_view kGeneveOptionRule =
    "\"CLASS:TYPE:DATA\" such as \"0x0102:0x80:00000001\", CLASS 0-0xffff, TYPE 0-0xff, DATA "
    "0-44 bytes in hexadecimal digits, a multiple of 4 bytes";

/// Nothing when `text` has another form; the length of the data is for the caller to check.
[[nodiscard]] std::optional<GeneveOption> parse_geneve_option(std::string_view text);

}  // namespace culvert::ctl
