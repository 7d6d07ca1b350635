// SPDX-License-Identifier: GPL-2.0-or-later
//
// The written form of a row's identity.
#pragma once

#include <optional>
#include <string_view>

#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl::ovsdb {

/// 8-4-4-4-12 hexadecimal digits; capitals become small. Nothing when it is anything else.
[[nodiscard]] std::optional<Uuid> parse_uuid_text(std::string_view text);

}  // namespace culvert::ctl::ovsdb
