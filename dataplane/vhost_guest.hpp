// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guest of a net_vhost device: what it has negotiated (virtio 1.2 section 5.1.3), which changes
// whenever another guest comes, and pending work in the words in which DPDK passes it to that
// guest. takes_offloads() and ask(): any worker; the rest: control thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "dataplane/packet.hpp"

namespace culvert::dataplane {

class VhostGuest {
public:
    /// `port` is DPDK's number of the device, which outlives this.
    explicit VhostGuest(std::uint16_t port);
    ~VhostGuest();
    VhostGuest(const VhostGuest&) = delete;
    VhostGuest& operator=(const VhostGuest&) = delete;

    /// The guest takes packets with pending checksums and TCP super-frames.
    [[nodiscard]] bool takes_offloads() const noexcept {
        return takes_offloads_.load(std::memory_order_relaxed);
    }

    /// Turns what is pending in a packet into a request to the guest, in ol_flags and the lengths
    /// beside them; may replace the packet's head. False, and the packet as it was, when no such
    /// request says it (UDP super-frames, L4 behind IPv6 extension headers or inside a tunnel) or
    /// no buffer is free. Precondition: something is pending.
    [[nodiscard]] static bool ask(rte_mbuf*& packet, rte_mempool* pool) noexcept;
    /// Takes the request back: `offload` is pending again.
    static void unask(rte_mbuf* packet, const Offload& offload) noexcept;

    /// A guest came or went. Called by the device's own thread, too.
    void refresh() noexcept;

private:
    std::uint16_t port_;
    std::atomic<bool> takes_offloads_ = false;
};

/// `devargs` with what a vhost device needs to let its guest send super-frames, unless they say
/// something about that.
[[nodiscard]] std::string with_vhost_offloads(const std::string& devargs);

}  // namespace culvert::dataplane
