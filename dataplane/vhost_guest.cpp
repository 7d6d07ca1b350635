// SPDX-License-Identifier: GPL-2.0-or-later
//
// See vhost_guest.hpp. DPDK's vhost library writes virtio_net_hdr from ol_flags whatever the guest
// negotiated, so that it is on us to ask only for what the guest takes.

#include "dataplane/vhost_guest.hpp"

#include <algorithm>
#include <string>

#include <rte_eth_vhost.h>
#include <rte_ethdev.h>
#include <rte_vhost.h>

#include "dataplane/virtio_header.hpp"

namespace culvert::dataplane {

namespace {

// Feature bits of virtio-net, from the driver's side: what the guest takes.
constexpr unsigned kGuestChecksum = 1;
constexpr unsigned kGuestTso4 = 7;
constexpr unsigned kGuestTso6 = 8;
constexpr std::uint64_t kWanted = std::uint64_t{1} << kGuestChecksum |
                                  std::uint64_t{1} << kGuestTso4 | std::uint64_t{1} << kGuestTso6;

constexpr std::uint32_t kIpv6HeaderBytes = 40;
constexpr std::uint32_t kL2BytesMax = 127;  // Widths of the fields of an mbuf.
constexpr std::uint32_t kL3BytesMax = 511;
constexpr std::uint8_t kTcpChecksumOffset = 16;

constexpr std::uint64_t kRequestFlags =
    RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6;

int on_link_event(
    std::uint16_t /*port*/, rte_eth_event_type /*event*/, void* guest, void* /*parameter*/
) {
    static_cast<VhostGuest*>(guest)->refresh();
    return 0;
}

}  // namespace

VhostGuest::VhostGuest(std::uint16_t port) : port_(port) {
    static_cast<void>(
        rte_eth_dev_callback_register(port_, RTE_ETH_EVENT_INTR_LSC, on_link_event, this)
    );
    refresh();
}

VhostGuest::~VhostGuest() {
    // -EAGAIN: it runs at this moment.
    while (rte_eth_dev_callback_unregister(port_, RTE_ETH_EVENT_INTR_LSC, on_link_event, this) ==
           -EAGAIN) {
    }
}

void VhostGuest::refresh() noexcept {
    std::uint64_t features = 0;
    rte_eth_link link{};
    const bool is_there =
        rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
    const int device = is_there ? rte_eth_vhost_get_vid_from_port_id(port_) : -1;
    const bool takes = device >= 0 && rte_vhost_get_negotiated_features(device, &features) == 0 &&
                       (features & kWanted) == kWanted;
    takes_offloads_.store(takes, std::memory_order_relaxed);
}

bool VhostGuest::ask(rte_mbuf*& packet, rte_mempool* pool) noexcept {
    const Offload offload = packet::offload(packet);
    const auto headers = find_pending_headers(packet);
    if (!headers || offload.gso_type == GsoType::udp_l4) {
        return false;
    }
    const std::uint32_t l3_bytes = std::uint32_t{offload.checksum_start} - headers->l3_start;
    if (headers->l3_start > kL2BytesMax || l3_bytes > kL3BytesMax ||
        (!headers->is_v4 && l3_bytes != kIpv6HeaderBytes)) {
        return false;
    }
    // The library writes the pseudo-header's sum.
    const std::uint32_t written = std::max<std::uint32_t>(
        offload.header_bytes, std::uint32_t{offload.checksum_start} + offload.checksum_offset + 2U
    );
    rte_mbuf* made = packet::make_writable(packet, written, pool);
    if (made == nullptr) {
        return false;
    }
    packet = made;
    std::uint64_t flags = headers->is_v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    flags |= offload.checksum_offset == kTcpChecksumOffset ? RTE_MBUF_F_TX_TCP_CKSUM
                                                           : RTE_MBUF_F_TX_UDP_CKSUM;
    packet::clear_offload(packet);
    // All lengths at once: the bit fields' own types are narrower than any arithmetic.
    const bool is_super_frame = offload.gso_type != GsoType::none;
    packet->tx_offload = rte_mbuf_tx_offload(
        headers->l3_start,
        l3_bytes,
        is_super_frame ? std::uint64_t{offload.header_bytes} - offload.checksum_start : 0,
        offload.gso_bytes,
        0,
        0,
        0
    );
    flags |= is_super_frame ? RTE_MBUF_F_TX_TCP_SEG : 0;
    packet->ol_flags |= flags;
    return true;
}

void VhostGuest::unask(rte_mbuf* packet, const Offload& offload) noexcept {
    packet->ol_flags &= ~kRequestFlags;
    packet::set_offload(packet, offload);
}

std::string with_vhost_offloads(const std::string& devargs) {
    const bool is_vhost = devargs.starts_with("net_vhost") || devargs.starts_with("eth_vhost");
    return !is_vhost || devargs.find(",tso=") != std::string::npos ? devargs : devargs + ",tso=1";
}

}  // namespace culvert::dataplane
