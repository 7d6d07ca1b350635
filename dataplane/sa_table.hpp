// SPDX-License-Identifier: GPL-2.0-or-later
//
// The inbound SA of a received ESP packet, by SPI and destination address (RFC 4303 section 3.4.2).
// Built by the control thread, read by workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/security_association.hpp"

namespace culvert::dataplane {

class SaTable {
public:
    SaTable() = default;
    /// `host_spis`: SAs of the host's kernel that are no tunnel's, whose packets are the host's.
    SaTable(
        const std::vector<std::shared_ptr<InboundSa>>& associations,
        std::vector<std::uint32_t> host_spis,
        bool may_grow
    );

    [[nodiscard]] bool empty() const noexcept { return slots_.empty() && !may_grow_; }
    [[nodiscard]] InboundSa*
    find(std::uint32_t spi, const tunnels::IpAddress& destination) const noexcept;
    /// Whether packets from `remote` may be ESP packets of a tunnel.
    [[nodiscard]] bool knows(const tunnels::IpAddress& remote) const noexcept;
    /// Whether the key of an unknown SPI may be about to arrive (from an IKE daemon, whose peer may
    /// use it before we have heard of it): its packets wait a moment.
    [[nodiscard]] bool may_arrive(std::uint32_t spi) const noexcept;

private:
    struct Slot {
        std::uint32_t spi = 0;  ///< 0: empty.
        std::shared_ptr<InboundSa> association;
    };
    std::vector<Slot> slots_;                  ///< Open addressing, at most half full.
    std::vector<std::uint32_t> host_spis_;     ///< Sorted.
    std::vector<tunnels::IpAddress> remotes_;  ///< Sorted.
    bool may_grow_ = false;
};

}  // namespace culvert::dataplane
