// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path: the stages of one burst, in order, in one function. Start reading here.
#pragma once

#include <cstddef>
#include <span>

#include "dataplane/context.hpp"

namespace culvert::dataplane {

/// Carries packets that `port` received to their verdicts: forwarded, held for the slow path, or
/// dropped and counted. Takes every packet. Worker threads only; what is to leave is queued until
/// flush().
void process_burst(Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst) noexcept;

/// Goes on with packets that another worker received and handed over for their inner flow
/// (spread.hpp). Takes every packet.
void process_spread(Context& context, std::span<rte_mbuf* const> burst) noexcept;

/// Applies what the slow path decided.
void apply_decision(Context& context, const Decision& decision) noexcept;

/// Ends the wait of packets whose key has arrived, or will not: `changed` says that the snapshot is
/// a new one. Returns how many have ended.
std::size_t process_waiting(Context& context, bool changed) noexcept;

}  // namespace culvert::dataplane
