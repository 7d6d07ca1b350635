// SPDX-License-Identifier: GPL-2.0-or-later
//
// The inbound SA of a received ESP packet, by SPI and destination address (RFC 4303 section 3.4.2),
// and what is known of packets that have none here. Built by the control thread, read by workers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/security_association.hpp"

namespace culvert::dataplane {

class SaTable {
public:
    /// What beside the SAs themselves is known of ESP packets.
    struct Surroundings {
        /// The other ends of encrypted tunnels, of those too that have no SA yet.
        std::vector<tunnels::IpAddress> remotes{};
        /// SAs of the host's kernel that are no tunnel's, whose packets are the host's.
        std::vector<std::uint32_t> host_spis{};
        bool may_grow = false;  ///< An IKE daemon may bring more.
    };

    SaTable() = default;
    SaTable(const std::vector<std::shared_ptr<InboundSa>>& associations, Surroundings surroundings);

    [[nodiscard]] bool empty() const noexcept {
        return slots_.empty() && surroundings_.remotes.empty() && !surroundings_.may_grow;
    }
    [[nodiscard]] InboundSa*
    find(std::uint32_t spi, const tunnels::IpAddress& destination) const noexcept;
    /// Whether ESP in UDP (RFC 3948) may come to a port: 4500, or one that an SA has.
    [[nodiscard]] bool has_udp_port(std::uint16_t port) const noexcept;
    /// Whether packets from `remote` may be ESP packets of a tunnel.
    [[nodiscard]] bool knows(const tunnels::IpAddress& remote) const noexcept;
    /// Whether an SPI that find() does not find is one of the host's.
    [[nodiscard]] bool is_of_host(std::uint32_t spi) const noexcept;
    /// Whether the key of an unknown SPI may be about to arrive (from an IKE daemon, whose peer may
    /// use it before we have heard of it): its packets wait a moment.
    [[nodiscard]] bool may_arrive(std::uint32_t spi) const noexcept {
        return surroundings_.may_grow && !is_of_host(spi);
    }

private:
    struct Slot {
        std::uint32_t spi = 0;  ///< 0: empty.
        std::shared_ptr<InboundSa> association;
    };
    std::vector<Slot> slots_;    ///< Open addressing, at most half full.
    unsigned shift_ = 0;         ///< From a hash to a slot.
    Surroundings surroundings_;  ///< Its lists sorted.
    std::vector<std::uint16_t> udp_ports_;
};

}  // namespace culvert::dataplane
