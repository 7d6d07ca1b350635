// SPDX-License-Identifier: GPL-2.0-or-later
//
// An OpenFlow connection, bytes in and bytes out: the version is agreed on, what is asked is
// answered in that version, changes but the default flow's are refused, and garbage ends it.
#include "ctl/openflow/session.hpp"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/openflow/match.hpp"
#include "ctl/openflow/protocols.hpp"

namespace culvert::ctl::openflow {

namespace {

class TestBridge final : public Bridge, public DefaultTables {
public:
    [[nodiscard]] std::string name() const override { return "br0"; }
    [[nodiscard]] std::uint64_t datapath_id() const override { return 0x0200000000aa; }
    [[nodiscard]] std::vector<PortFacts> ports() const override {
        std::vector<PortFacts> facts;
        for (unsigned port = 1; port <= port_count; ++port) {
            facts.emplace_back();
            facts.back().ofport = static_cast<std::uint16_t>(port);
            facts.back().name = "p" + std::to_string(port);
            facts.back().rx_packets = port;
        }
        return facts;
    }
    [[nodiscard]] FlowTables& tables() override { return *this; }
    [[nodiscard]] FlowFacts normal_flow() const override { return {7, cookie(), 11, 1100}; }

    unsigned port_count = 2;
};

Bytes hello(std::uint8_t version, std::optional<Versions> bitmap = {}) {
    Bytes out;
    Writer writer(out, version, kHello, 9);
    if (bitmap) {
        writer.u16(1).u16(8).u32(*bitmap);
    }
    writer.end();
    return out;
}

Bytes message(std::uint8_t version, std::uint8_t type, View body = {}) {
    Bytes out;
    Writer writer(out, version, type, 0x1234);
    writer.bytes(body);
    writer.end();
    return out;
}

std::vector<Bytes> split(View bytes) {
    std::vector<Bytes> messages;
    while (bytes.size() >= kHeaderBytes) {
        const std::size_t length = read_header(bytes).length;
        if (length < kHeaderBytes || length > bytes.size()) {
            ADD_FAILURE() << "an answer is malformed";
            break;
        }
        messages.emplace_back(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        bytes = bytes.subspan(length);
    }
    EXPECT_TRUE(bytes.empty());
    return messages;
}

class OpenflowSession : public ::testing::TestWithParam<std::uint8_t> {
protected:
    std::vector<Bytes> ask(View request) {
        session.feed(request);
        Bytes all;
        for (Bytes out; session.answer(out); out.clear()) {
            all.insert(all.end(), out.begin(), out.end());
        }
        return split(all);
    }
    void agree(std::uint8_t version) { EXPECT_TRUE(ask(hello(version)).empty()); }
    [[nodiscard]] static std::uint16_t type_of_error(const Bytes& error) {
        return read_at<std::uint16_t>(error, kHeaderBytes);
    }
    [[nodiscard]] static std::uint16_t code_of_error(const Bytes& error) {
        return read_at<std::uint16_t>(error, kHeaderBytes + 2);
    }
    /// A flow-mod with a match of everything; of `out_port` the 16 bits that every version has.
    static Bytes flow_mod(
        std::uint8_t version,
        FlowChange::Command command,
        std::uint16_t priority,
        std::uint16_t out_port
    ) {
        Bytes body;
        Writer writer(body);
        const auto code = static_cast<std::uint8_t>(command);
        if (version == kOf10) {
            write_any_match(writer, version);
            writer.u64(5).u16(code).u16(0).u16(0).u16(priority).u32(0xffffffff).u16(0xffff).u16(0);
            writer.u16(0).u16(8).u16(out_port).u16(0);
        } else {
            writer.u64(5).u64(0).u8(0).u8(code).u16(0).u16(0).u16(priority).u32(0xffffffff);
            writer.u32(0xffffffff).u32(0xffffffff).u16(0).fill(2);
            write_any_match(writer, version);
            writer.u16(4).u16(24).fill(4).u16(0).u16(16).u32(0xffff0000U | out_port).fill(8);
        }
        return message(version, kFlowMod, body);
    }
    static Bytes statistics(std::uint8_t version, std::uint16_t type, View body = {}) {
        Bytes out;
        Writer writer(out, version, version == kOf10 ? 16 : 18, 3);
        writer.u16(type).u16(0).fill(version == kOf10 ? 0 : 4).bytes(body);
        writer.end();
        return out;
    }
    static Bytes all_flows(std::uint8_t version) {
        Bytes body;
        Writer writer(body);
        if (version == kOf10) {
            write_any_match(writer, version);
            writer.u8(255).u8(0).u16(0xffff);
        } else {
            writer.u8(255).fill(3).u32(0xffffffff).u32(0xffffffff).fill(4).u64(0).u64(0);
            write_any_match(writer, version);
        }
        return body;
    }

    TestBridge bridge;
    Session session{bridge, kAllVersions, false};
};

TEST_F(OpenflowSession, GreetsWithItsVersions) {
    const Bytes greeting = session.greeting();
    EXPECT_EQ(read_header(greeting).version, kOf15);
    EXPECT_EQ(read_header(greeting).type, kHello);
    EXPECT_EQ(read_at<std::uint32_t>(greeting, 12), kAllVersions);
}

TEST(OpenflowProtocols, NameVersions) {
    using Words = std::vector<std::string>;
    EXPECT_EQ(versions_of(Words{}), kAllVersions);
    EXPECT_EQ(versions_of(Words{"OpenFlow11"}), 1U << kOf11);
    EXPECT_EQ(versions_of(Words{"OpenFlow10", "OpenFlow15"}), 1U << kOf10 | 1U << kOf15);
    EXPECT_EQ(versions_of(Words{"OpenFlow99"}), 0U);
}

TEST_F(OpenflowSession, AgreesOnTheHighestVersionOfABitmap) {
    EXPECT_TRUE(ask(hello(kOf15, 1U << kOf11 | 1U << kOf13)).empty());
    const auto answers = ask(message(kOf13, kEchoRequest));
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(read_header(answers[0]).version, kOf13);
}

TEST_F(OpenflowSession, RefusesVersionsThatNobodyAllows) {
    Session only_11(bridge, 1U << kOf11, false);
    only_11.feed(hello(kOf10));
    Bytes out;
    ASSERT_TRUE(only_11.answer(out));
    EXPECT_EQ(read_header(out).type, kError);
    EXPECT_EQ(type_of_error(out), 0);
    EXPECT_TRUE(only_11.closed());
    EXPECT_THAT(only_11.take_refusal().value_or(""), ::testing::HasSubstr("br0"));
}

TEST_F(OpenflowSession, EndsAtWhatIsNotOpenflow) {
    const std::string garbage = "GET / HTTP/1.1\r\n\r\n";
    EXPECT_TRUE(ask(std::as_bytes(std::span(garbage))).empty());
    EXPECT_TRUE(session.closed());
}

TEST_F(OpenflowSession, EndsAtAMessageShorterThanItsHeader) {
    agree(kOf10);
    Bytes bad = message(kOf10, kEchoRequest);
    bad[3] = std::byte{7};
    EXPECT_TRUE(ask(bad).empty());
    EXPECT_TRUE(session.closed());
}

TEST_F(OpenflowSession, WaitsForTheRestOfAMessage) {
    agree(kOf10);
    EXPECT_FALSE(session.pending());
    const Bytes echo = message(kOf10, kEchoRequest);
    EXPECT_TRUE(ask(View(echo).first(5)).empty());
    EXPECT_TRUE(session.pending());
    EXPECT_EQ(ask(View(echo).subspan(5)).size(), 1U);
    EXPECT_FALSE(session.pending());
}

TEST_F(OpenflowSession, SnoopAnswersEchoesAlone) {
    Session snoop(bridge, kAllVersions, true);
    snoop.feed(hello(kOf10));
    snoop.feed(message(kOf10, kFeaturesRequest));
    Bytes out;
    EXPECT_FALSE(snoop.answer(out));
    snoop.feed(message(kOf10, kEchoRequest));
    EXPECT_TRUE(snoop.answer(out));
}

TEST_F(OpenflowSession, ASlaveChangesNoFlows) {
    agree(kOf13);
    Bytes role;
    Writer(role).u32(3).fill(4).u64(1);
    const auto answers = ask(message(kOf13, kRoleRequest, role));
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(read_header(answers[0]).type, kRoleReply);
    EXPECT_EQ(read_at<std::uint32_t>(answers[0], 8), 3U);
    const auto refused = ask(flow_mod(kOf13, FlowChange::Command::add, 0, kNormal16));
    ASSERT_EQ(refused.size(), 1U);
    EXPECT_EQ(code_of_error(refused[0]), 10);
}

TEST_F(OpenflowSession, NiciraExtensionsThatChangeNothingAreTaken) {
    agree(kOf10);
    const auto nicira = [](std::uint32_t subtype, std::uint32_t value) {
        Bytes body;
        Writer(body).u32(0x2320).u32(subtype).u32(value).fill(4);
        return message(kOf10, kExperimenter, body);
    };
    EXPECT_TRUE(ask(nicira(15, 0x01000000)).empty());
    EXPECT_TRUE(ask(nicira(12, 0)).empty());
    const auto nxm = ask(nicira(12, 2));
    ASSERT_EQ(nxm.size(), 1U);
    EXPECT_EQ(read_header(nxm[0]).type, kError);
    const auto unknown = ask(nicira(99, 0));
    ASSERT_EQ(unknown.size(), 1U);
    EXPECT_EQ(code_of_error(unknown[0]), 4);
}

TEST_F(OpenflowSession, ManyPortsComeInSeveralMessages) {
    bridge.port_count = 3000;
    agree(kOf13);
    const auto answers = ask(statistics(kOf13, 13));
    ASSERT_GT(answers.size(), 1U);
    std::size_t ports = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        EXPECT_EQ(read_at<std::uint16_t>(answers[i], 10), i + 1 < answers.size() ? 1 : 0);
        ports += (answers[i].size() - 16) / 64;
    }
    EXPECT_EQ(ports, 3000U);
}

TEST_P(OpenflowSession, FeaturesNameTheDatapath) {
    agree(GetParam());
    const auto answers = ask(message(GetParam(), kFeaturesRequest));
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(read_header(answers[0]).version, GetParam());
    EXPECT_EQ(read_header(answers[0]).xid, 0x1234U);
    EXPECT_EQ(read_at<std::uint64_t>(answers[0], 8), 0x0200000000aaU);
    const std::size_t ports = GetParam() == kOf10 ? 2 * 48 : GetParam() < kOf13 ? 2 * 64 : 0;
    EXPECT_EQ(answers[0].size(), 32 + ports);
}

TEST_P(OpenflowSession, BarriersAndEchoesAreAnsweredInOrder) {
    const std::uint8_t version = GetParam();
    agree(version);
    Bytes both = message(version, version == kOf10 ? 18 : 20);
    const Bytes echo = message(version, kEchoRequest, std::as_bytes(std::span("ping", 4)));
    both.insert(both.end(), echo.begin(), echo.end());
    const auto answers = ask(both);
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(read_header(answers[0]).type, version == kOf10 ? 19 : 21);
    EXPECT_EQ(read_header(answers[1]).type, kEchoReply);
    EXPECT_EQ(answers[1].size(), echo.size());
}

TEST_P(OpenflowSession, TheDefaultFlowCanBeDeletedAndAdded) {
    agree(GetParam());
    EXPECT_TRUE(ask(flow_mod(GetParam(), FlowChange::Command::remove, 0, kNormal16)).empty());
    EXPECT_TRUE(ask(flow_mod(GetParam(), FlowChange::Command::add, 0, kNormal16)).empty());
    EXPECT_EQ(bridge.normal_flow().cookie, 5U);
}

TEST_P(OpenflowSession, OtherFlowsAreRefused) {
    const bool is_10 = GetParam() == kOf10;
    agree(GetParam());
    using Command = FlowChange::Command;
    for (const Bytes& request :
         {flow_mod(GetParam(), Command::add, 100, kNormal16),
          flow_mod(GetParam(), Command::modify, 0, 0xfffb)}) {
        const auto answers = ask(request);
        ASSERT_EQ(answers.size(), 1U);
        EXPECT_EQ(read_header(answers[0]).type, kError);
        EXPECT_EQ(type_of_error(answers[0]), is_10 ? 3 : 5);
        EXPECT_EQ(code_of_error(answers[0]), is_10 ? 2 : 4);
        EXPECT_THAT(session.take_refusal().value_or(""), ::testing::HasSubstr("NORMAL"));
    }
}

TEST_P(OpenflowSession, StatisticsHaveTheDefaultFlow) {
    agree(GetParam());
    const auto answers = ask(statistics(GetParam(), 1, all_flows(GetParam())));
    ASSERT_EQ(answers.size(), 1U);
    const std::size_t at = GetParam() == kOf10 ? 12 : 16;
    EXPECT_EQ(read_at<std::uint16_t>(answers[0], at), answers[0].size() - at);
    const std::size_t counters = GetParam() == kOf10 ? 72 : 32;
    if (GetParam() < kOf15) {
        EXPECT_EQ(read_at<std::uint64_t>(answers[0], at + counters), 11U);
        EXPECT_EQ(read_at<std::uint64_t>(answers[0], at + counters + 8), 1100U);
    }
    const auto aggregate = ask(statistics(GetParam(), 2, all_flows(GetParam())));
    ASSERT_EQ(aggregate.size(), 1U);
    EXPECT_GT(aggregate[0].size(), at + 16);
}

TEST_P(OpenflowSession, UnknownStatisticsAreRefused) {
    agree(GetParam());
    const auto answers = ask(statistics(GetParam(), 0x4444));
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_EQ(type_of_error(answers[0]), 1);
    EXPECT_EQ(code_of_error(answers[0]), 2);
}

TEST_P(OpenflowSession, PortsHaveTheirCounters) {
    const std::uint8_t version = GetParam();
    agree(version);
    Bytes second;
    if (version == kOf10) {
        Writer(second).u16(2).fill(6);
    } else {
        Writer(second).u32(2).fill(4);
    }
    const auto answers = ask(statistics(version, 4, second));
    ASSERT_EQ(answers.size(), 1U);
    const std::size_t counter = version == kOf10 ? 20 : version < kOf14 ? 24 : 32;
    EXPECT_EQ(read_at<std::uint64_t>(answers[0], counter), 2U);
}

INSTANTIATE_TEST_SUITE_P(
    EveryVersion,
    OpenflowSession,
    ::testing::Values(kOf10, kOf11, kOf12, kOf13, kOf14, kOf15),
    [](const auto& version) { return "Wire" + std::to_string(version.param); }
);

}  // namespace

}  // namespace culvert::ctl::openflow
