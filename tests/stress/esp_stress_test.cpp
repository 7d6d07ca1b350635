// SPDX-License-Identifier: GPL-2.0-or-later
//
// One pair of SAs that several workers seal and open by at the same time, while snapshots come and
// go, meant for ThreadSanitizer: no number is given out twice, and each packet is accepted exactly
// once, however often and by whichever worker it is received.

#include <algorithm>
#include <set>
#include <vector>

#include "tests/unit/dataplane/worker_fixture.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::testing {

namespace {

using dataplane::SaParameters;
using tunnels::DropReason;
using tunnels::EspAlgorithm;
using tunnels::IpAddress;

constexpr std::uint16_t kWorkers = 3;
constexpr std::uint16_t kTunnel = 2 * kWorkers;
constexpr std::uint32_t kPerRound = 64;  // Of each worker.
constexpr std::uint32_t kRounds = 20;
// Nothing may be late: what is accepted once must not depend on how threads are scheduled.
constexpr std::uint32_t kWindow = 4096;
static_assert(kRounds * kPerRound * kWorkers < kWindow);
constexpr std::size_t kSequenceAt = 14 + 20 + 4;

class EspStress : public WorkerThreads {
protected:
    EspStress() {
        SaParameters parameters;
        parameters.id = 1;
        parameters.spi = 0x1234;
        parameters.source = here;
        parameters.destination = there;
        const tunnels::Secret key(std::vector<std::byte>(20, std::byte{5}));
        out =
            std::make_shared<dataplane::OutboundSa>(parameters, EspAlgorithm::aes_gcm_128, key, 1);
        out->allow_below(1U << 30U);
        in = std::make_shared<dataplane::InboundSa>(
            parameters, EspAlgorithm::aes_gcm_128, key, kWindow
        );
        for (std::uint16_t port = 0; port < kTunnel; ++port) {
            devices[port] = std::make_shared<FakePort>();
        }
    }

    /// The tunnel leads to this host itself: what is sealed may be received.
    void publish_next() {
        auto snapshot = make_snapshot(++version, devices);
        const std::uint8_t protocol = *tunnels::find_protocol("vxlan");
        dataplane::TunnelView tunnel;
        tunnel.header = tunnels::build_template(
            protocol,
            {.destination = numbered_mac(0xaa), .source = numbered_mac(0xbb)},
            {.local = here, .remote = there},
            {.key = 7}
        );
        tunnel.resolved = true;
        tunnel.out_port = kWorkers;
        tunnel.underlay_mtu = 1400;
        tunnel.wire_mtu = 1500;
        auto policy = std::make_shared<dataplane::EspPolicy>();
        policy->out = out;
        policy->accepts = {in->parameters().id};
        tunnel.esp = policy;
        snapshot->tunnels.push_back(tunnel);
        snapshot->ports.resize(kTunnel + 1U);
        snapshot->ports[kTunnel].bridge = 0;
        snapshot->ports[kTunnel].tunnel = 0;
        snapshot->bridges[0].local_mac = numbered_mac(0xaa);
        snapshot->bridges[0].terminates_tunnels = true;
        snapshot->listeners.push_back({tunnels::kIpProtocolUdp, protocol, 4789});
        snapshot->peers = dataplane::PeerTable(
            {{{.remote = here, .key = 7, .udp_port = 4789, .protocol = protocol}, kTunnel}}
        );
        snapshot->local_addresses = {there};
        snapshot->associations = dataplane::SaTable({in}, {});
        workers->publish(std::move(snapshot));
    }
    void insert(std::uint16_t from, unsigned source, std::uint16_t to) {
        ASSERT_TRUE(flows
                        .insert(
                            {.in_port = from,
                             .destination = numbered_mac(1),
                             .source = numbered_mac(source)},
                            forward_to(to),
                            0,
                            0
                        )
                        .ok);
    }
    [[nodiscard]] std::uint64_t dropped(DropReason reason) const {
        std::uint64_t sum = 0;
        for (unsigned worker = 0; worker < kWorkers; ++worker) {
            for (const auto& counter :
                 workers->counters(worker).drops[static_cast<std::size_t>(reason)]) {
                sum += counter.read();
            }
        }
        return sum;
    }
    [[nodiscard]] rte_mbuf* make_received(const std::vector<std::byte>& frame) const {
        rte_mbuf* packet = rte_pktmbuf_alloc(packets.get());
        if (packet != nullptr) {
            std::memcpy(
                rte_pktmbuf_append(packet, static_cast<std::uint16_t>(frame.size())),
                frame.data(),
                frame.size()
            );
        }
        return packet;
    }
    /// All workers have frames of their own to seal; what they send.
    std::vector<std::vector<std::byte>> seal_round() {
        for (std::uint32_t i = 0; i < kPerRound; ++i) {
            for (std::uint16_t worker = 0; worker < kWorkers; ++worker) {
                devices[worker]->give(make_packet(1, 100U + worker, given++));
            }
        }
        publish_next();
        std::vector<std::vector<std::byte>> sent;
        EXPECT_TRUE(wait_until([&] {
            for (auto& frame : devices[kWorkers]->take_sent()) {
                sent.push_back(std::move(frame));
            }
            return sent.size() == std::size_t{kPerRound} * kWorkers;
        }));
        return sent;
    }
    void note_delivered() {
        for (const auto& frame : devices[0]->take_sent()) {
            delivered.push_back(number_of(frame));
        }
    }

    const IpAddress here = *IpAddress::parse("192.0.2.1");
    const IpAddress there = *IpAddress::parse("192.0.2.2");
    std::shared_ptr<dataplane::OutboundSa> out;
    std::shared_ptr<dataplane::InboundSa> in;
    Devices devices;
    std::uint64_t version = 0;
    std::uint32_t given = 0;
    std::vector<std::uint32_t> delivered;
};

TEST_F(EspStress, EachNumberIsSentOnceAndEachPacketAcceptedOnce) {
    start(kWorkers, 50);
    for (std::uint16_t worker = 0; worker < kWorkers; ++worker) {
        insert(worker, 100U + worker, kTunnel);
        insert(kTunnel, 100U + worker, 0);
    }
    std::set<std::uint32_t> numbers;
    std::uint64_t received = 0;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
        const auto sent = seal_round();
        for (const auto& frame : sent) {
            std::uint32_t number = 0;
            std::memcpy(&number, frame.data() + kSequenceAt, sizeof number);
            EXPECT_TRUE(numbers.insert(number).second) << "a number was sent twice";
        }
        // Each worker receives every packet, and all at the same time.
        for (const auto& frame : sent) {
            for (std::uint16_t worker = 0; worker < kWorkers; ++worker) {
                rte_mbuf* packet = make_received(frame);
                ASSERT_NE(packet, nullptr);
                devices[kWorkers + worker]->give(packet);
                ++received;
            }
        }
        publish_next();
        ASSERT_TRUE(wait_until([&] {
            note_delivered();
            return delivered.size() + dropped(DropReason::esp_replay) == received;
        })) << delivered.size()
            << " and " << dropped(DropReason::esp_replay) << " of " << received;
    }
    EXPECT_EQ(delivered.size(), given);
    std::sort(delivered.begin(), delivered.end());
    EXPECT_EQ(std::unique(delivered.begin(), delivered.end()), delivered.end());
    EXPECT_EQ(in->packets.load(), given);
    EXPECT_EQ(out->packets.load(), given);
    EXPECT_EQ(out->next(), given + 1U);
    EXPECT_EQ(in->highest(), given);
    EXPECT_EQ(in->refusals.replayed.load(), received - given);
    EXPECT_EQ(in->refusals.not_authentic.load(), 0U);
}

}  // namespace

}  // namespace culvert::testing
