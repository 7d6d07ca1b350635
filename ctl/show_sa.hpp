// SPDX-License-Identifier: GPL-2.0-or-later
//
// Security associations as culvert-ctl shows them; no key is in any of it. Control thread only.
#pragma once

#include <string>
#include <vector>

#include "ctl/commands.hpp"
#include "ctl/sa_database.hpp"
#include "ctl/table.hpp"

namespace culvert::ctl {

[[nodiscard]] Result<std::string>
list_associations(const CommandContext& context, Arguments arguments);
/// Of a tunnel, of an SPI, or all.
[[nodiscard]] Result<std::string>
show_associations(const CommandContext& context, Arguments arguments);

/// The rows of `sa list`.
[[nodiscard]] Table association_table(const std::vector<SaStatus>& associations);
/// One of `sa show`.
[[nodiscard]] nlohmann::ordered_json association_json(const SaStatus& association);
/// "in use", "accepted", "waits", "expiring" or "not used".
[[nodiscard]] std::string state_word(const SaStatus& association);

}  // namespace culvert::ctl
