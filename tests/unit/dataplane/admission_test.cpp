// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's firewall on tunnel packets, through process_burst: what is asked, how often, and what
// becomes of packets that are not let in.

#include "dataplane/admission.hpp"

#include "dataplane/fragment.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::AdmissionQuestion;
using dataplane::Admitted;

/// Notes what it is asked.
class FakeAdmission final : public dataplane::Admission {
public:
    [[nodiscard]] Admitted judge(const AdmissionQuestion& question) const noexcept override {
        questions.push_back(question);
        const bool refused = question.source == refused_source ||
                             question.source_port == refused_port.value_or(0x10000U);
        return {.yes = !refused, .holds_for_peer = !refused_port.has_value()};
    }

    IpAddress refused_source;
    std::optional<unsigned> refused_port;  ///< With one, answers hold for flows.
    mutable std::vector<AdmissionQuestion> questions;
};

class AdmissionTest : public TunnelPath {
protected:
    AdmissionTest() { snapshot.admission = firewall; }

    std::size_t arrive(const Frame& frame) {
        receive(kUplink, {frame});
        return devices[kVif1]->take_sent().size();
    }

    /// The packet with another UDP source port; without UDP checksum.
    static Frame from_port(Frame frame, unsigned port) {
        set_word(frame, 14 + 20, port);
        return frame;
    }

    std::shared_ptr<FakeAdmission> firewall = std::make_shared<FakeAdmission>();
};

TEST_F(AdmissionTest, IsAskedForTheOuterHeaders) {
    const std::uint16_t vxlan = add({});
    const std::uint16_t gre6 = add({.type = "gre", .v6 = true});
    admit_from(vxlan);
    admit_from(gre6);
    EXPECT_EQ(arrive(from_port(wrap(vxlan, inner_frame()), 40001)), 1U);
    EXPECT_EQ(arrive(wrap(gre6, inner_frame())), 1U);
    ASSERT_EQ(firewall->questions.size(), 2U);
    const AdmissionQuestion of_vxlan{
        .source = remote_ip,
        .destination = local_ip,
        .source_port = 40001,
        .destination_port = 4789,
        .bridge = 0,
        .protocol = 17};
    const AdmissionQuestion of_gre{
        .source = remote_ip6, .destination = local_ip6, .bridge = 0, .protocol = 47};
    EXPECT_EQ(firewall->questions[0], of_vxlan);
    EXPECT_EQ(firewall->questions[1], of_gre);
}

TEST_F(AdmissionTest, WhatItRefusesIsDroppedAndCountedOnTheTunnel) {
    const std::uint16_t port = add({});
    const std::uint16_t other = add({.remote = ip("172.20.0.77")});
    admit_from(port);
    admit_from(other);
    firewall->refused_source = remote_ip;
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(arrive(wrap(port, inner_frame())), 0U);
        EXPECT_EQ(arrive(wrap(other, inner_frame())), 1U);
    }
    EXPECT_EQ(dropped(DropReason::firewall, port), 3U);
    EXPECT_EQ(dropped_in_all(), 3U);
    EXPECT_EQ(counters->ports[port].rx_packets.read(), 0U);
    EXPECT_EQ(firewall->questions.size(), 2U) << "once for each peer";
}

TEST_F(AdmissionTest, IsNotAskedAboutUnknownPeers) {
    const std::uint16_t port = add({});
    TunnelSpec other = specs[port];
    other.outer.remote = ip("172.20.0.78");
    EXPECT_EQ(arrive(wrap(other, inner_frame(), {})), 0U);
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_peer, kUplink), 1U);
    EXPECT_TRUE(firewall->questions.empty());
}

TEST_F(AdmissionTest, IsAskedOncePerPeerWhateverTheSourcePort) {
    const std::uint16_t port = add({});
    admit_from(port);
    for (const unsigned source_port : {40001U, 40002U, 40003U}) {
        EXPECT_EQ(arrive(from_port(wrap(port, inner_frame()), source_port)), 1U);
        // Packets in segments are not among those that are recognised by their headers.
        receive_packet(kUplink, make_chain(from_port(wrap(port, inner_frame()), source_port), 100));
        EXPECT_EQ(devices[kVif1]->take_sent().size(), 1U);
    }
    EXPECT_EQ(firewall->questions.size(), 1U);
}

TEST_F(AdmissionTest, IsAskedOncePerFlowWhereTheAnswerHoldsForTheFlow) {
    const std::uint16_t port = add({});
    admit_from(port);
    firewall->refused_port = 40002;
    for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(arrive(from_port(wrap(port, inner_frame()), 40001)), 1U);
        EXPECT_EQ(arrive(from_port(wrap(port, inner_frame()), 40002)), 0U);
    }
    EXPECT_EQ(dropped(DropReason::firewall, port), 3U);
    EXPECT_EQ(firewall->questions.size(), 2U);
}

TEST_F(AdmissionTest, IsAskedAgainWithANewSnapshot) {
    const std::uint16_t port = add({});
    admit_from(port);
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 1U);
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 1U);
    firewall->refused_source = remote_ip;
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 1U) << "what was said holds";
    ++snapshot.version;
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 0U);
    firewall->refused_source = {};
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 0U);
    ++snapshot.version;
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 1U);
    EXPECT_EQ(firewall->questions.size(), 3U);
    snapshot.admission = nullptr;
    ++snapshot.version;
    EXPECT_EQ(arrive(wrap(port, inner_frame())), 1U);
    EXPECT_EQ(firewall->questions.size(), 3U);
}

TEST_F(AdmissionTest, APacketThatIsNotLetInChangesNoSequenceNumber) {
    TunnelSpec spec{.type = "gre"};
    spec.header.sequence = true;
    spec.receive.drop_late = true;
    const std::uint16_t port = add(spec);
    admit_from(port);
    firewall->refused_source = remote_ip;
    EXPECT_EQ(arrive(wrap(port, inner_frame(), {.sequence = 1000})), 0U);
    EXPECT_EQ(dropped(DropReason::firewall, port), 1U);
    firewall->refused_source = {};
    ++snapshot.version;
    EXPECT_EQ(arrive(wrap(port, inner_frame(), {.sequence = 5})), 1U);
}

TEST_F(AdmissionTest, FragmentsAreJudgedAsTheWholeThatTheyAre) {
    create_reassembler();
    const std::uint16_t port = add({.type = "gre"});
    admit_from(port);
    const Frame frame = wrap(port, inner_frame({.bytes = 900}));
    const auto pieces = [&] {
        constexpr std::size_t kStep = 400;
        constexpr std::size_t kPayload = 14 + 20;
        std::vector<Frame> all;
        for (std::size_t at = kPayload; at < frame.size(); at += kStep) {
            const std::size_t bytes = std::min(kStep, frame.size() - at);
            Frame piece = slice(frame, 0, kPayload);
            const Frame part = slice(frame, at, bytes);
            piece.insert(piece.end(), part.begin(), part.end());
            set_word(piece, 16, static_cast<unsigned>(20 + bytes));
            const bool more = at + bytes < frame.size();
            set_word(piece, 20, static_cast<unsigned>((at - kPayload) / 8) | (more ? 0x2000U : 0U));
            fix_ipv4_checksum(piece, 14);
            all.push_back(piece);
        }
        return all;
    }();
    receive(kUplink, pieces);
    EXPECT_EQ(devices[kVif1]->take_sent().size(), 1U);
    EXPECT_EQ(firewall->questions.size(), 1U);
    firewall->refused_source = remote_ip;
    ++snapshot.version;
    receive(kUplink, pieces);
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::firewall, port), 1U);
    EXPECT_EQ(dropped_in_all(), 1U);
}

TEST_F(AdmissionTest, MoreQuestionsThanAreKeptAreAskedAgain) {
    firewall->refused_port = 1;
    const std::uint16_t port = add({});
    admit_from(port);
    constexpr unsigned kFlows = 2 * dataplane::kAdmissionsKept;
    for (int round = 0; round < 2; ++round) {
        for (unsigned i = 0; i < kFlows; ++i) {
            EXPECT_EQ(arrive(from_port(wrap(port, inner_frame()), 30000 + i)), 1U);
        }
    }
    EXPECT_GT(firewall->questions.size(), kFlows);
    EXPECT_EQ(dropped_in_all(), 0U);
}

}  // namespace

}  // namespace culvert::testing
