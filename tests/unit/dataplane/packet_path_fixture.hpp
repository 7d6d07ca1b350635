// SPDX-License-Identifier: GPL-2.0-or-later
//
// A worker's context with fake ports, for tests of the packet path without threads. Bridge 0 is the
// underlay (ports 0 and 1, a local port 2), bridge 1 the overlay (ports 3 and 4, tunnels 5 and 6).
// The test plays the slow path.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/egress.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/tx.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"
#include "tests/unit/dataplane/fake_port.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::testing {

using dataplane::DropReason;
using dataplane::FlowAction;
using dataplane::FlowKey;
using dataplane::FlowVerdict;
using dataplane::VlanView;
using tunnels::IpAddress;
using tunnels::MacAddress;

using Frame = std::vector<std::byte>;

inline MacAddress mac(unsigned last) {
    return {{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(last)}};
}

/// What an access port of a VLAN is.
inline VlanView access(std::uint16_t tag) {
    auto carried = std::make_shared<std::bitset<4096>>();
    carried->set(tag);
    return {.untagged_vlan = tag, .accept_tagged = false, .carried = carried};
}

/// An Ethernet frame with a counting payload; `vlan` -1 for no tag.
inline Frame make_frame(
    const MacAddress& destination, const MacAddress& source, int vlan = -1, std::size_t payload = 60
) {
    Frame frame;
    const auto append = [&](const auto& bytes) {
        for (const std::uint8_t byte : bytes) {
            frame.push_back(std::byte{byte});
        }
    };
    append(destination.bytes);
    append(source.bytes);
    if (vlan >= 0) {
        append(std::vector<std::uint8_t>{
            0x81,
            0x00,
            static_cast<std::uint8_t>(vlan >> 8),
            static_cast<std::uint8_t>(vlan & 0xff)});
    }
    append(std::vector<std::uint8_t>{0x88, 0xb5});  // IEEE 802 local experimental.
    for (std::size_t i = 0; i < payload; ++i) {
        frame.push_back(static_cast<std::byte>(i & 0xffU));
    }
    return frame;
}

class PacketPath : public ::testing::Test {
protected:
    static constexpr std::uint16_t kUplink = 0;
    static constexpr std::uint16_t kUplink2 = 1;
    static constexpr std::uint16_t kLocal = 2;
    static constexpr std::uint16_t kVif1 = 3;
    static constexpr std::uint16_t kVif2 = 4;
    static constexpr std::uint16_t kVxlan = 5;
    static constexpr std::uint16_t kGre = 6;

    PacketPath()
        : flows(2048), counters(std::make_unique<dataplane::WorkerCounters>()),
          upcalls(std::make_unique<dataplane::UpcallQueue>()),
          context(std::make_unique<dataplane::Context>()) {
        free_before = rte_mempool_avail_count(packet_pool());
        shares_before = rte_mempool_avail_count(share_pool());
        for (unsigned i = 0; i < 5; ++i) {
            devices.push_back(std::make_shared<FakePort>());
        }
        build_snapshot();
        context->snapshot = &snapshot;
        context->flows = &flows;
        context->pools = {packet_pool(), share_pool()};
        context->counters = counters.get();
        context->upcalls = upcalls.get();
        context->tx.resize(dataplane::kPortsMax);
    }

    ~PacketPath() override {
        for (auto& device : devices) {
            static_cast<void>(device->take_sent());
        }
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), free_before) << "a packet buffer leaked";
        EXPECT_EQ(rte_mempool_avail_count(share_pool()), shares_before)
            << "an indirect buffer leaked";
    }

    void build_snapshot() {
        snapshot.version = 1;
        snapshot.bridges.resize(2);
        snapshot.bridges[0].members = {kUplink, kUplink2, kLocal};
        snapshot.bridges[0].terminates_tunnels = true;
        snapshot.bridges[0].local_mac = mac(0xfe);
        snapshot.bridges[1].members = {kVif1, kVif2, kVxlan, kGre};
        snapshot.ports.resize(7);
        for (std::uint16_t i = 0; i < 5; ++i) {
            auto& port = snapshot.ports[i];
            port.device = devices[i];
            port.bridge = i < 3 ? 0 : 1;
            port.mtu = i < 3 ? 1600 : 1500;
            port.up = true;
            port.generation = 1;
        }
        add_tunnel(kVxlan, "vxlan", 100, 4789);
        add_tunnel(kGre, "gre", 7, 0);
        snapshot.local_addresses = {local_ip};
    }

    void add_tunnel(
        std::uint16_t index, std::string_view type, std::uint32_t key, std::uint16_t udp_port
    ) {
        const std::uint8_t protocol = *tunnels::find_protocol(type);
        auto& port = snapshot.ports[index];
        port.bridge = 1;
        port.generation = 1;
        port.tunnel = static_cast<std::uint16_t>(snapshot.tunnels.size());
        dataplane::TunnelView tunnel;
        tunnel.header = tunnels::build_template(
            protocol,
            {.destination = mac(0xaa), .source = mac(0xfe)},
            {.local = local_ip, .remote = remote_ip, .udp_destination = udp_port},
            {.key = key}
        );
        tunnel.resolved = true;
        tunnel.out_port = kUplink;
        tunnel.underlay_mtu = 1600;
        snapshot.tunnels.push_back(tunnel);
        snapshot.listeners.push_back(
            {tunnels::kProtocols[protocol].outer.ip_protocol, protocol, udp_port}
        );
        peers.push_back(
            {{.remote = remote_ip, .key = key, .udp_port = udp_port, .protocol = protocol}, index}
        );
        snapshot.peers = dataplane::PeerTable(peers);
    }

    static rte_mbuf* make_packet(const Frame& frame) {
        rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
        char* data = rte_pktmbuf_append(packet, static_cast<std::uint16_t>(frame.size()));
        std::memcpy(data, frame.data(), frame.size());
        return packet;
    }

    /// The frame as the remote host would send it to us through a tunnel.
    Frame encapsulate(
        const Frame& inner,
        std::string_view type,
        std::uint32_t key,
        const IpAddress& from,
        std::uint16_t udp_port
    ) const {
        const auto header = tunnels::build_template(
            *tunnels::find_protocol(type),
            {.destination = mac(0xfe), .source = mac(0xaa)},
            {.local = from, .remote = local_ip, .udp_destination = udp_port},
            {.key = key}
        );
        Frame frame(header.bytes.begin(), header.bytes.begin() + header.length);
        frame.insert(frame.end(), inner.begin(), inner.end());
        tunnels::patch_outer(
            header,
            std::span(frame).first(header.length),
            {.frame_bytes = frame.size(), .entropy = 1, .tos = outer_tos}
        );
        return frame;
    }

    void receive(std::uint16_t port, const std::vector<Frame>& frames) {
        std::vector<rte_mbuf*> burst;
        for (const Frame& frame : frames) {
            burst.push_back(make_packet(frame));
        }
        dataplane::process_burst(*context, port, burst);
        dataplane::flush(*context);
    }

    void insert_flow(const FlowKey& key, const FlowAction& action) {
        ASSERT_TRUE(flows.insert(key, action, snapshot.ports[key.in_port].generation, 0).ok);
    }

    static FlowAction forward(std::uint16_t port) {
        return {.verdict = FlowVerdict::forward, .reason = DropReason::none, .out_port = port};
    }
    static FlowAction flood() {
        return {.verdict = FlowVerdict::flood, .reason = DropReason::none};
    }

    /// Answers every waiting miss with `action`.
    unsigned answer_misses(const FlowAction& action) {
        unsigned answered = 0;
        dataplane::Upcall upcall;
        while (upcalls->pop(upcall)) {
            dataplane::Decision decision;
            decision.slot = upcall.slot;
            decision.action = action;
            insert_flow(upcall.key, action);
            dataplane::apply_decision(*context, decision);
            ++answered;
        }
        dataplane::flush(*context);
        return answered;
    }

    [[nodiscard]] std::uint64_t dropped(DropReason reason, std::uint16_t port) const {
        return counters->drops[static_cast<std::size_t>(reason)][port].read();
    }
    [[nodiscard]] std::uint64_t dropped_in_all() const {
        std::uint64_t sum = 0;
        for (const auto& row : counters->drops) {
            for (std::size_t port = 0; port < snapshot.ports.size(); ++port) {
                sum += row[port].read();
            }
        }
        return sum;
    }

    std::uint8_t outer_tos = 0;  ///< Of what encapsulate() makes.
    const IpAddress local_ip = *IpAddress::parse("172.20.0.1");
    const IpAddress remote_ip = *IpAddress::parse("172.20.0.2");
    std::vector<std::shared_ptr<FakePort>> devices;
    std::vector<dataplane::PeerTable::Peer> peers;
    dataplane::Snapshot snapshot;
    dataplane::FlowCache flows;
    std::unique_ptr<dataplane::WorkerCounters> counters;
    std::unique_ptr<dataplane::UpcallQueue> upcalls;
    std::unique_ptr<dataplane::Context> context;
    unsigned free_before = 0;
    unsigned shares_before = 0;
};

}  // namespace culvert::testing
