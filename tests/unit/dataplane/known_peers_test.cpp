// SPDX-License-Identifier: GPL-2.0-or-later
//
// A packet of a peer that the worker has met is treated as if it had not: every bit of a tunnel
// packet's headers is turned, and what becomes of it is compared between a worker that knows the
// peer and one that does not.

#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

/// What became of one packet.
struct Outcome {
    std::vector<Frame> to_vif;
    std::vector<Frame> to_host;
    std::vector<std::uint64_t> drops;  ///< By reason, over all ports.
    std::uint64_t rx_packets = 0;      ///< Of the tunnel.
    std::uint64_t rx_bytes = 0;
    bool operator==(const Outcome&) const = default;
};

class KnownPeersTest : public TunnelPath {
protected:
    Outcome after(std::uint16_t tunnel_port, const Frame& frame) {
        const Outcome before = counted(tunnel_port);
        context->ask_limiter = {};
        context->icmp_limiter = {};
        receive(kUplink, {frame});
        Outcome now = counted(tunnel_port);
        for (std::size_t i = 0; i < now.drops.size(); ++i) {
            now.drops[i] -= before.drops[i];
        }
        now.rx_packets -= before.rx_packets;
        now.rx_bytes -= before.rx_bytes;
        now.to_vif = devices[kVif1]->take_sent();
        now.to_host = devices[kLocal]->take_sent();
        forget_pending();
        return now;
    }

    void forget_peers() { ++snapshot.version; }

    /// A packet of an unknown flow waits for a decision; each outcome is that of one packet alone.
    void forget_pending() {
        for (const Upcall& upcall : take_upcalls()) {
            if (upcall.kind == Upcall::Kind::miss) {
                context->pending.for_each(upcall.slot, [](const dataplane::HeldPacket& held) {
                    rte_pktmbuf_free(held.packet);
                });
                context->pending.erase(upcall.slot);
            }
        }
    }

    void compare_each_bit(std::uint16_t port, const Frame& frame, std::size_t octets) {
        for (std::size_t bit = 0; bit < octets * 8; ++bit) {
            for (const bool mend_checksum : {false, true}) {
                Frame turned = frame;
                turned[bit / 8] ^= std::byte{1} << (bit % 8);
                if (mend_checksum) {
                    tests::fix_ipv4_checksum(turned, 14);
                }
                forget_peers();
                const Outcome unknown = after(port, turned);
                forget_peers();
                static_cast<void>(after(port, frame));  // Now the peer is known.
                EXPECT_EQ(after(port, turned), unknown) << "bit " << bit;
            }
        }
    }

private:
    Outcome counted(std::uint16_t port) const {
        Outcome now;
        now.drops.resize(tunnels::kDropReasonCount);
        for (std::size_t reason = 0; reason < now.drops.size(); ++reason) {
            for (std::size_t at = 0; at < snapshot.ports.size(); ++at) {
                now.drops[reason] +=
                    dropped(static_cast<DropReason>(reason), static_cast<std::uint16_t>(at));
            }
        }
        now.rx_packets = counters->ports[port].rx_packets.read();
        now.rx_bytes = counters->ports[port].rx_bytes.read();
        return now;
    }
};

TEST_F(KnownPeersTest, EachBitOfBridgedTunnelPacketsCountsTheSame) {
    for (const std::string_view type : {"gre", "vxlan", "vxlan-gpe", "geneve"}) {
        SCOPED_TRACE(type);
        const std::uint16_t port = add({.type = type});
        admit_from(port);
        const Frame frame = wrap(port, inner_frame());
        compare_each_bit(port, frame, tunnel(port).header.length + std::size_t{18});
    }
}

TEST_F(KnownPeersTest, EachBitOfRoutedTunnelPacketsCountsTheSame) {
    const std::uint16_t port = add({.type = "lisp"});
    l3->hosts.insert(ip("10.0.0.1"), mac(1));
    insert_flow({.in_port = port, .destination = mac(1), .source = mac(0xee)}, forward(kVif1));
    const Frame frame = wrap(port, make_ip({}));
    compare_each_bit(port, frame, tunnel(port).header.length + std::size_t{20});
}

TEST_F(KnownPeersTest, PeersAreToldApartByAddressAndKey) {
    const std::uint16_t one = add({.key = 500});
    const std::uint16_t other_key = add({.key = 501});
    const std::uint16_t other_host = add({.key = 500, .remote = ip("172.20.0.77")});
    for (const std::uint16_t port : {one, other_key, other_host}) {
        admit_from(port);
    }
    for (int round = 0; round < 3; ++round) {
        for (const std::uint16_t port : {one, other_key, other_host}) {
            const Outcome outcome = after(port, wrap(port, inner_frame()));
            EXPECT_EQ(outcome.to_vif, std::vector<Frame>{inner_frame()});
            EXPECT_EQ(outcome.rx_packets, 1U);
        }
    }
}

TEST_F(KnownPeersTest, APeerIsForgottenWithItsSnapshot) {
    const std::uint16_t port = add({.key = 500});
    admit_from(port);
    const Frame frame = wrap(port, inner_frame());
    EXPECT_EQ(after(port, frame).to_vif.size(), 1U);
    EXPECT_EQ(after(port, frame).to_vif.size(), 1U);
    peers.clear();
    snapshot.peers = dataplane::PeerTable(peers);
    ++snapshot.version;
    const Outcome outcome = after(port, frame);
    EXPECT_TRUE(outcome.to_vif.empty());
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_peer, kUplink), 1U);
}

TEST_F(KnownPeersTest, ManyPeersTakeTurnsInTheSlots) {
    std::vector<std::uint16_t> ports;
    for (unsigned i = 0; i < 3 * dataplane::kKnownPeers; ++i) {
        TunnelSpec spec{.key = 1000 + i};
        ports.push_back(add(spec));
        admit_from(ports.back());
    }
    for (int round = 0; round < 2; ++round) {
        for (const std::uint16_t port : ports) {
            const Outcome outcome = after(port, wrap(port, inner_frame()));
            ASSERT_EQ(outcome.to_vif.size(), 1U);
            ASSERT_EQ(outcome.rx_packets, 1U);
        }
    }
}

/// A burst of packets of several flows and peers leaves in the order of each flow.
TEST_F(KnownPeersTest, ABurstKeepsTheOrderOfEachFlow) {
    const std::uint16_t port = add({});
    admit_from(port);
    insert_flow({.in_port = port, .destination = mac(2), .source = mac(9)}, forward(kVif2));
    std::vector<Frame> burst;
    std::vector<Frame> first;
    std::vector<Frame> second;
    for (std::uint16_t i = 0; i < 12; ++i) {
        const Frame packet = make_ip({.source_port = static_cast<std::uint16_t>(1000 + i)});
        const bool to_second = i % 3 == 1;
        const Frame inner = ethernet(mac(to_second ? 2 : 1), mac(9), packet);
        (to_second ? second : first).push_back(inner);
        burst.push_back(wrap(port, inner));
    }
    receive(kUplink, burst);
    EXPECT_EQ(devices[kVif1]->take_sent(), first);
    EXPECT_EQ(devices[kVif2]->take_sent(), second);
    EXPECT_EQ(counters->ports[port].rx_packets.read(), 12U);
}

}  // namespace

}  // namespace culvert::testing
