// SPDX-License-Identifier: GPL-2.0-or-later
//
// Changes of nftables as one transaction that the kernel refuses when the ruleset is no longer the
// one that they were planned on (NFNL_BATCH_GENID). That is why they are not scripts for
// libnftables, which does not ask for it. In the network namespace of the calling thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "firewall/nft_json.hpp"
#include "firewall/opening.hpp"

namespace culvert::firewall {

/// The longest comment of a rule that nft writes.
constexpr std::size_t kNftCommentBytesMax = 127;

/// A rule to insert at the head of a chain, or to delete.
struct NftEdit {
    NftTable table;
    std::string chain;
    std::optional<std::uint64_t> handle;  ///< The rule to delete; none: insert.
    Selector selector;
    std::string comment;
};

/// All of `edits`, in order, or none. The error is errno: ERESTART when the ruleset's generation is
/// another one by now.
[[nodiscard]] tl::expected<void, int>
nft_commit(std::span<const NftEdit> edits, std::uint32_t generation);

}  // namespace culvert::firewall
