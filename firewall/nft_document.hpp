// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ruleset as libnftables lists it in JSON, table by table where it has to be: for the flags of
// a table libnftables 1.0.6 writes a value that it has freed, so a table with flags must never be
// listed as a table. One thread at a time.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "firewall/nft_context.hpp"
#include "firewall/nft_netlink.hpp"

namespace culvert::firewall {

/// Of `tables`, those that are switched on. One sentence when it cannot be listed.
[[nodiscard]] tl::expected<nlohmann::json, std::string>
nft_document(const NftContext& context, std::span<const NftKernelTable> tables);

}  // namespace culvert::firewall
