// SPDX-License-Identifier: GPL-2.0-or-later
//
// The last stages of transmit. See egress.hpp.

#include "dataplane/egress.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/bond.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kMacsBytes = 12;
constexpr std::uint32_t kVlanTagBytes = 4;
constexpr unsigned kTransmitTries =
    8;  // A device that takes nothing this often loses the rest of the burst.

}  // namespace

rte_mbuf*
retag(Context& context, rte_mbuf* packet, bool tagged, bool wanted, std::uint16_t vlan) noexcept {
    if (tagged == wanted) [[likely]] {
        return packet;
    }
    std::array<std::byte, kMacsBytes + kVlanTagBytes> header{};
    std::memcpy(header.data(), packet::head(packet).data(), kMacsBytes);
    header[12] = std::byte{0x81};
    header[14] = static_cast<std::byte>(vlan >> 8U);
    header[15] = static_cast<std::byte>(vlan & 0xffU);
    const std::uint32_t strip = tagged ? kMacsBytes + kVlanTagBytes : kMacsBytes;
    const std::uint32_t write = wanted ? kMacsBytes + kVlanTagBytes : kMacsBytes;
    if (!packet::pull(packet, strip)) {
        return nullptr;
    }
    rte_mbuf* made = packet::push(packet, write, context.pools.packets);
    if (made != nullptr) {
        std::memcpy(packet::head(made).data(), header.data(), write);
    }
    return made;
}

void flush_port(Context& context, std::uint16_t port) noexcept {
    TxQueue& queue = context.tx[port];
    std::array<std::uint32_t, kBurstMax> bytes{};
    for (std::size_t i = 0; i < queue.count; ++i) {
        bytes[i] = packet::length(queue.packets[i]);
    }
    Port& device = *context.snapshot->ports[port].device;
    std::size_t sent = 0;
    context.clock.lap(Stage::output);
    for (unsigned i = 0; i < kTransmitTries && sent < queue.count; ++i) {
        sent += device.transmit(
            context.worker, std::span(queue.packets).subspan(sent, queue.count - sent)
        );
    }
    context.clock.lap(Stage::transmit);
    std::uint64_t sent_bytes = 0;
    for (std::size_t i = 0; i < sent; ++i) {
        sent_bytes += bytes[i];
    }
    context.counters->ports[port].tx_packets.add(sent);
    context.counters->ports[port].tx_bytes.add(sent_bytes);
    for (std::size_t i = sent; i < queue.count; ++i) {
        context.drop(queue.packets[i], DropReason::tx_failed, port);
    }
    queue.count = 0;
}

void enqueue_burst(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept {
    TxQueue& queue = context.tx[port];
    while (!packets.empty()) {
        if (queue.count == 0) {
            context.tx_ports.push_back(port);
        }
        const std::size_t taken = std::min<std::size_t>(packets.size(), kBurstMax - queue.count);
        std::copy_n(packets.begin(), taken, queue.packets.begin() + queue.count);
        queue.count = static_cast<std::uint16_t>(queue.count + taken);
        packets = packets.subspan(taken);
        if (queue.count == kBurstMax) {
            flush_port(context, port);
        }
    }
}

void enqueue_burst_to(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept {
    if (context.snapshot->ports[port].is_bond()) [[unlikely]] {
        enqueue_by_bond(context, port, packets);
    } else {
        enqueue_burst(context, port, packets);
    }
}

void flush(Context& context) noexcept {
    context.clock.mark();
    for (const std::uint16_t port : context.tx_ports) {
        if (context.tx[port].count != 0) {
            flush_port(context, port);
        }
    }
    context.tx_ports.clear();
}

}  // namespace culvert::dataplane
