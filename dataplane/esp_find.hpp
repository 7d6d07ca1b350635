// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tells ESP packets of tunnels from all others, by their headers, before any is opened: the SA, the
// host's firewall, and what is to wait for a key. Worker threads only.
#pragma once

#include <cstdint>
#include <utility>

#include "dataplane/context.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"

namespace culvert::dataplane {

/// An ESP packet for a tunnel.
struct FoundEsp {
    rte_mbuf* packet = nullptr;
    InboundSa* association = nullptr;
    std::uint32_t spi = 0;
    std::uint32_t sequence = 0;   ///< The low half.
    std::uint32_t esp_bytes = 0;  ///< SPI to ICV.
    std::uint16_t esp_offset = 0;
    std::uint16_t ip_offset = 0;
    std::uint8_t tos = 0;
    DropReason reason = DropReason::none;
};

/// What an ESP packet is to us.
enum class EspKind : std::uint8_t { other, ours, dropped, waits };

/// Finds the SA of `found.packet`, which is for this host and whose headers are `outer`, and judges
/// what can be judged before it is opened; sets the rest of `found`.
[[nodiscard]] EspKind classify_esp(
    Context& context, std::uint16_t in_port, const tunnels::Outer& outer, FoundEsp& found
) noexcept;

/// Remembers the headers of an untagged packet that classify_esp() found to be ours, when packets
/// like it are treated alike.
void learn_esp(
    Context& context, std::uint16_t in_port, const tunnels::Outer& outer, const FoundEsp& found
) noexcept;

/// Whether a plain frame, whose headers are all there, may be ESP, by the two fields that say so
/// when IP has no options.
[[nodiscard]] bool looks_like_esp(const SaTable& table, const std::byte* frame) noexcept;

/// What classify_esp() would find of a packet whose headers are known.
inline void recognise(const KnownEspPacket& known, rte_mbuf* packet, FoundEsp& found) noexcept {
    const auto head = packet::head(std::as_const(packet));
    found.packet = packet;
    found.association = known.association;
    found.sequence =
        tunnels::load<tunnels::Be32>(head.data() + known.esp_offset + sizeof(tunnels::Be32)).host();
    found.esp_bytes = static_cast<std::uint32_t>(head.size()) - known.esp_offset;
    found.esp_offset = known.esp_offset;
    found.ip_offset = known.match.ip_offset;
    found.tos = tunnels::outer_tos(known.match, head);
    found.reason = DropReason::none;
}

}  // namespace culvert::dataplane
