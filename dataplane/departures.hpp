// SPDX-License-Identifier: GPL-2.0-or-later
//
// The way out of a tunnel's packets to its underlay, the only one there is: here they are sealed
// when the tunnel is encrypted, and cut where they are longer than the wire takes. Worker threads
// only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/context.hpp"
#include "dataplane/esp_seal.hpp"

namespace culvert::dataplane {

/// Sends packets of the resolved tunnel of port `port` that have all its headers and nothing left
/// undone, at most kBurstMax, in their order: to the next hop's port, or to all while that port is
/// not known. `fit`: none is longer than the tunnel's underlay_mtu. Takes the packets; those that
/// cannot be sealed are added to `unsealed`.
void leave(
    Context& context,
    const TunnelView& tunnel,
    std::uint16_t port,
    std::span<rte_mbuf*> packets,
    bool fit,
    Unsealed& unsealed
) noexcept;

/// Packets of one tunnel that leave together, counted; at the end of its life at the latest.
class Departures {
public:
    Departures(Context& context, const TunnelView& tunnel, std::uint16_t port) noexcept
        : context_(context), tunnel_(tunnel), port_(port) {}
    ~Departures() { flush(); }
    Departures(const Departures&) = delete;
    Departures& operator=(const Departures&) = delete;

    void add(rte_mbuf* packet, bool fits) noexcept {
        packets_[count_++] = packet;
        bytes_ += packet::length(packet) - tunnel_.header.length;
        fit_ = fit_ && fits;
        if (count_ == packets_.size()) {
            flush();
        }
    }
    void flush() noexcept;

private:
    Context& context_;
    const TunnelView& tunnel_;
    std::uint16_t port_;
    bool fit_ = true;
    std::size_t count_ = 0;
    std::uint64_t bytes_ = 0;
    std::array<rte_mbuf*, kBurstMax> packets_;
};

}  // namespace culvert::dataplane
