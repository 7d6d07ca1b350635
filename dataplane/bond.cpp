// SPDX-License-Identifier: GPL-2.0-or-later
//
// Members of a bond, in and out. See bond.hpp.

#include "dataplane/bond.hpp"

#include <utility>

#include <nmmintrin.h>

#include "dataplane/clock.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/gratuitous_arp.hpp"
#include "dataplane/rx.hpp"
#include "dataplane/tx.hpp"
#include "tunnels/endian.hpp"
#include "tunnels/inner.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint32_t kVlanTagBytes = 4;
constexpr std::uint16_t kSlowProtocols = 0x8809;  // IEEE 802.3 annex 57A.
constexpr std::uint64_t kSlowProtocolsGroup = 0x0180c2000002;

std::uint16_t load_be16(const std::byte* at) noexcept {
    return tunnels::load<tunnels::Be16>(at).host();
}

MacAddress load_mac(const std::byte* at) noexcept {
    MacAddress mac;
    std::memcpy(mac.bytes.data(), at, mac.bytes.size());
    return mac;
}

bool is_lacp(const std::byte* frame) noexcept {
    return load_be16(frame + 12) == kSlowProtocols &&
           load_mac(frame).to_u64() == kSlowProtocolsGroup;
}

void give_lacp(Context& context, std::uint16_t port, rte_mbuf* packet) noexcept {
    Upcall upcall;
    upcall.kind = Upcall::Kind::lacp;
    upcall.port = port;
    upcall.packet = packet;
    if (!context.lacp_limiter.take(clock_ms()) || !context.ask(upcall)) {
        context.drop(packet, DropReason::upcall_queue_full, port);
    }
}

/// The flow's share of the bond; the basis is mixed in so that it makes other flows meet.
std::size_t bucket_of(const BondView& bond, std::uint64_t hash) noexcept {
    const auto crc = static_cast<std::uint32_t>(_mm_crc32_u64(bond.basis, hash));
    static_assert(kBondBuckets == 256);
    return ((crc ^ bond.basis) * 0x9e3779b1U) >> 24U;
}

/// Makes what choosing a member reads contiguous; false: no buffer is free.
bool make_readable(Context& context, const BondView& bond, rte_mbuf*& packet) noexcept {
    return bond.hash != BondHash::flow || make_head_contiguous(context, packet);
}

std::size_t
choose_bucket(const BondView& bond, const rte_mbuf* packet, std::uint16_t vlan) noexcept {
    const auto frame = packet::head(packet);
    if (bond.hash == BondHash::none || frame.size() < kEthernetBytes) {
        return 0;
    }
    if (bond.hash == BondHash::source) {
        return bucket_of(bond, load_mac(frame.data() + 6).to_u64() | std::uint64_t{vlan} << 48U);
    }
    return bucket_of(bond, tunnels::inspect_inner(frame, tunnels::Payload::ethernet).hash);
}

/// Says that a host announced itself by this bond: an echo of that is no news of it.
void tell_announcement(Context& context, const rte_mbuf* packet, std::uint16_t vlan) noexcept {
    const auto frame = packet::head(packet);
    if (frame.empty() || frame[0] != std::byte{0xff} || !is_gratuitous_arp(frame) ||
        !context.ask_limiter.take(clock_ms())) {
        return;
    }
    Upcall upcall;
    upcall.kind = Upcall::Kind::announced;
    upcall.key.in_port = packet::ingress(packet);
    upcall.key.vlan = vlan;
    upcall.key.destination = load_mac(frame.data());
    upcall.key.source = load_mac(frame.data() + 6);
    // With the queue full the slow path is behind, and so will be the echo.
    static_cast<void>(context.ask(upcall));
}

/// The VLAN of a frame that has the tag the bond wants.
std::uint16_t vlan_of(const VlanView& view, const rte_mbuf* packet) noexcept {
    const auto frame = packet::head(packet);
    const bool tagged =
        frame.size() >= kEthernetBytes + kVlanTagBytes && load_be16(frame.data() + 12) == 0x8100;
    return tagged ? static_cast<std::uint16_t>(load_be16(frame.data() + 14) & 0xfffU)
                  : view.untagged_vlan;
}

/// Calls `send(member, packets)` with the packets in their order, as many at once as go by one
/// member. `vlan_of_packet` says the VLAN of each.
template <class VlanOf, class Send>
void share_out(
    Context& context,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    const VlanOf& vlan_of_packet,
    const Send& send
) noexcept {
    const BondView& bond = context.snapshot->bonds[context.snapshot->ports[port].bond];
    BurstArray run;
    std::size_t count = 0;
    std::uint16_t member = kPortNone;
    for (rte_mbuf* packet : packets) {
        if (!make_readable(context, bond, packet)) {
            context.drop(packet, DropReason::no_buffer, port);
            continue;
        }
        const std::uint16_t vlan = vlan_of_packet(std::as_const(packet));
        if (bond.reflects) {
            tell_announcement(context, packet, vlan);
        }
        const std::size_t bucket = choose_bucket(bond, packet, vlan);
        const std::uint16_t chosen = bond.members[bucket];
        if (chosen == kPortNone) {
            context.drop(packet, DropReason::bond_no_member, port);
            continue;
        }
        if (bond.load) {
            bond.load->add(context.worker, bucket, packet::length(packet));
        }
        if ((chosen != member || count == run.size()) && count != 0) {
            send(member, std::span(run).first(count));
            count = 0;
        }
        member = chosen;
        run[count++] = packet;
    }
    if (count != 0) {
        send(member, std::span(run).first(count));
    }
}

}  // namespace

std::span<rte_mbuf* const> admit_by_member(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> burst, BurstArray& room
) noexcept {
    const PortView& view = context.snapshot->ports[port];
    if (view.bond_role != BondRole::member) {
        for (rte_mbuf* packet : burst) {
            context.drop(packet, DropReason::port_unassigned, port);
        }
        return {};
    }
    if (view.admits == MemberAdmits::everything && !view.takes_lacp) {
        return burst;
    }
    std::size_t count = 0;
    for (rte_mbuf* packet : burst) {
        const auto* frame = rte_pktmbuf_mtod(packet, const std::byte*);
        const bool whole = packet->data_len >= kEthernetBytes;
        if (view.takes_lacp && whole && is_lacp(frame)) {
            give_lacp(context, port, packet);
            continue;
        }
        const bool group = whole && (frame[0] & std::byte{1}) != std::byte{0};
        if (view.admits == MemberAdmits::nothing ||
            (view.admits == MemberAdmits::unicast && group)) {
            context.drop(packet, view.refusal, port);
            continue;
        }
        room[count++] = packet;
    }
    return std::span(room).first(count);
}

void output_by_bond(
    Context& context,
    std::uint16_t port,
    std::span<rte_mbuf* const> packets,
    bool tagged,
    std::uint16_t vlan
) noexcept {
    share_out(
        context,
        port,
        packets,
        [vlan](const rte_mbuf*) noexcept { return vlan; },
        [&](std::uint16_t member, std::span<rte_mbuf* const> run) noexcept {
            output_burst(context, member, run, tagged, vlan);
        }
    );
}

void enqueue_by_bond(
    Context& context, std::uint16_t port, std::span<rte_mbuf* const> packets
) noexcept {
    const VlanView& vlan = context.snapshot->ports[port].vlan;
    share_out(
        context,
        port,
        packets,
        [&vlan](const rte_mbuf* packet) noexcept { return vlan_of(vlan, packet); },
        [&](std::uint16_t member, std::span<rte_mbuf* const> run) noexcept {
            if (!context.snapshot->ports[member].sends()) {
                for (rte_mbuf* packet : run) {
                    context.drop(packet, DropReason::port_down, member);
                }
                return;
            }
            enqueue_burst(context, member, run);
        }
    );
}

}  // namespace culvert::dataplane
