// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reassembly: what comes out is compared with the packet that was cut, byte by byte; hostile
// fragments never come out as part of anything; every buffer comes back. The clock is the test's.
#include "dataplane/reassembler.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <rte_ip_frag.h>
#include <rte_log.h>

#include "dataplane/fragment.hpp"
#include "tests/unit/dataplane/ip_packets.hpp"
#include "tests/unit/dataplane/mbuf_chain.hpp"

namespace culvert::dataplane {
namespace {

using culvert::testing::BufferBalanceTest;
using culvert::testing::Bytes;
using culvert::testing::bytes_of;
using culvert::testing::chain;
using culvert::testing::DryPool;
using culvert::testing::IpPacket;
using culvert::testing::packet_pool;
using culvert::testing::pattern;
using culvert::testing::put16;
using culvert::testing::share_pool;

constexpr std::uint64_t kHz = 1000000;
constexpr std::uint64_t kTimeout = kHz * kReassemblyMs / 1000;

class ReassemblerTest : public BufferBalanceTest {
protected:
    void SetUp() override {
        BufferBalanceTest::SetUp();
        // The library announces each table.
        rte_log_set_level(RTE_LOGTYPE_USER1, RTE_LOG_WARNING);
        reassembler_ = Reassembler::create(kHz, SOCKET_ID_ANY, packet_pool());
        ASSERT_TRUE(reassembler_.has_value());
    }
    void TearDown() override {
        EXPECT_EQ(added_, dropped_ + completed_ + reassembler_->held());
        reassembler_.reset();
        BufferBalanceTest::TearDown();
    }

    /// The bytes of the packet that `m` completes.
    std::optional<Bytes> add(rte_mbuf* m, std::size_t ip_offset = 14) {
        const std::uint32_t held = reassembler_->held();
        const Reassembler::Outcome outcome =
            reassembler_->add(m, static_cast<std::uint16_t>(ip_offset), now_);
        ++added_;
        dropped_ += outcome.dropped;
        last_dropped_ = outcome.dropped;
        if (outcome.packet == nullptr) {
            return std::nullopt;
        }
        completed_ += held + 1 - reassembler_->held() - outcome.dropped;
        for (const rte_mbuf* s = outcome.packet; s != nullptr; s = s->next) {
            EXPECT_EQ(s->tx_offload, 0U);
            EXPECT_EQ(s->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL), 0U);
        }
        Bytes bytes = bytes_of(outcome.packet);
        rte_pktmbuf_free(outcome.packet);
        return bytes;
    }
    std::optional<Bytes> add(const Bytes& bytes, std::size_t ip_offset = 14) {
        return add(chain(bytes), ip_offset);
    }
    /// Adds all; what the last one completes. None before may complete anything.
    std::optional<Bytes> add_all(const std::vector<Bytes>& fragments, std::size_t ip_offset = 14) {
        for (std::size_t i = 0; i + 1 < fragments.size(); ++i) {
            EXPECT_EQ(add(fragments[i], ip_offset), std::nullopt) << i;
        }
        return add(fragments.back(), ip_offset);
    }

    std::optional<Reassembler> reassembler_;
    std::uint64_t now_ = 1000;
    std::uint32_t added_ = 0;
    std::uint32_t dropped_ = 0;
    std::uint32_t completed_ = 0;
    std::uint32_t last_dropped_ = 0;
};

TEST_F(ReassemblerTest, PutsPacketsTogetherInAnyOrder) {
    std::mt19937 random(5);
    for (unsigned round = 0; round < 400; ++round) {
        IpPacket packet;
        packet.v6 = random() % 2 == 0;
        packet.tagged = random() % 2 == 0;
        packet.protocol = random() % 2 == 0 ? 17 : 47;
        packet.tos = static_cast<std::uint8_t>(random());
        packet.identification = static_cast<std::uint32_t>(packet.v6 ? random() : random() % 65536);
        if (!packet.v6) {
            packet.options.assign(random() % 3 * 4, 1);
        }
        packet.payload = pattern(200 + random() % 9000, round);
        const std::size_t step = (packet.payload.size() / (1 + random() % 7) + 7) / 8 * 8;
        auto fragments = packet.pieces(std::max<std::size_t>(step, 8));
        if (fragments.size() < 2 || fragments.size() > RTE_LIBRTE_IP_FRAG_MAX_FRAG) {
            continue;
        }
        std::shuffle(fragments.begin(), fragments.end(), random);
        ASSERT_EQ(add_all(fragments, packet.ip_offset()), packet.whole()) << round;
        ASSERT_EQ(last_dropped_, 0U);
        ASSERT_EQ(reassembler_->held(), 0U);
    }
    EXPECT_GT(completed_, 400U);
}

TEST_F(ReassemblerTest, UndoesWhatFragmentPacketDid) {
    std::mt19937 random(6);
    for (unsigned round = 0; round < 200; ++round) {
        IpPacket packet;
        packet.v6 = random() % 2 == 0;
        packet.payload = pattern(1600 + random() % 7000, round);
        FragmentList fragments;
        const FragmentRequest request{
            .ip_offset = 14,
            .mtu = static_cast<std::uint16_t>(1400 + random() % 200),
            .identification = packet.identification};
        ASSERT_TRUE(fragment_packet(
            chain(packet.whole(), {200, random() % 3000}),
            request,
            packet_pool(),
            share_pool(),
            fragments
        ));
        std::optional<Bytes> whole;
        for (rte_mbuf* fragment : fragments.span()) {
            ASSERT_EQ(whole, std::nullopt);
            whole = add(fragment);
        }
        ASSERT_EQ(whole, packet.whole()) << round;
    }
}

TEST_F(ReassemblerTest, KeepsPacketsApart) {
    std::vector<IpPacket> packets;
    for (unsigned i = 0; i < 6; ++i) {
        IpPacket packet{.v6 = i >= 3, .payload = pattern(100, i)};
        packet.identification = 7 + i % 3 / 2;
        packet.protocol = i == 1 ? 47 : 17;
        packets.push_back(packet);
    }
    // RFC 8200 has no protocol in what identifies an IPv6 packet.
    packets[4].identification = 99;
    for (const IpPacket& packet : packets) {
        EXPECT_EQ(add(packet.piece(0, 48, true)), std::nullopt);
    }
    for (const IpPacket& packet : packets) {
        EXPECT_EQ(add(packet.piece(48, 52, false)), packet.whole());
    }
}

TEST_F(ReassemblerTest, TrimsThePaddingOfEachFragment) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .payload = pattern(30)};
        for (Bytes bytes : packet.pieces(8)) {
            bytes.insert(bytes.end(), 20, 0xee);
            const auto whole = add(chain(bytes, {bytes.size() - 21, 3}));
            EXPECT_TRUE(!whole || *whole == packet.whole());
        }
        EXPECT_EQ(reassembler_->held(), 0U);
    }
    EXPECT_EQ(completed_, 8U);
}

TEST_F(ReassemblerTest, TakesHeadersInPiecesAndSharedOnes) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .payload = pattern(3000)};
        const auto fragments = packet.pieces(1000);
        for (const std::size_t split : {1, 14, 20, 33, 60}) {
            EXPECT_EQ(add(chain(fragments[2], {split, 5})), std::nullopt);
            EXPECT_EQ(add(chain(fragments[1], {split, 7, 0, 9})), std::nullopt);
            rte_mbuf* original = chain(fragments[0], {split});
            rte_mbuf* second = packet::share(original, share_pool());
            EXPECT_EQ(add(second), packet.whole());
            EXPECT_EQ(bytes_of(original), fragments[0]) << "shared bytes were written";
            rte_pktmbuf_free(original);
        }
    }
}

TEST_F(ReassemblerTest, WithoutABufferAFragmentIsDropped) {
    const DryPool dry;
    auto starved = Reassembler::create(kHz, SOCKET_ID_ANY, dry.get());
    ASSERT_TRUE(starved.has_value());
    IpPacket packet{.payload = pattern(64)};
    rte_mbuf* original = chain(packet.piece(0, 32, true));
    const auto outcome = starved->add(packet::share(original, share_pool()), 14, now_);
    EXPECT_EQ(outcome.packet, nullptr);
    EXPECT_EQ(outcome.dropped, 1U);
    rte_pktmbuf_free(original);
}

TEST_F(ReassemblerTest, ReturnsWhatIsNoFragment) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .payload = pattern(30)};
        EXPECT_EQ(add(packet.whole()), packet.whole());
    }
}

TEST_F(ReassemblerTest, TakesTheFragmentHeaderFromAnAtomicFragment) {
    IpPacket packet{.v6 = true, .tagged = true, .payload = pattern(30)};
    EXPECT_EQ(add(packet.piece(0, 30, false), 18), packet.whole());
    packet.payload.clear();
    EXPECT_EQ(add(packet.piece(0, 0, false), 18), std::nullopt);
    EXPECT_EQ(last_dropped_, 1U);
}

TEST_F(ReassemblerTest, DropsAPacketWithADuplicate) {
    for (const bool v6 : {false, true}) {
        for (const std::size_t twice : {0, 1, 2}) {
            IpPacket packet{.v6 = v6, .payload = pattern(96)};
            auto fragments = packet.pieces(32);
            std::swap(fragments[0], fragments[twice]);
            EXPECT_EQ(add(fragments[0]), std::nullopt);
            for (const Bytes& fragment : fragments) {
                EXPECT_EQ(add(fragment), std::nullopt);
            }
            now_ += kTimeout + 1;
            dropped_ += reassembler_->expire(now_);
            EXPECT_EQ(reassembler_->held(), 0U);
        }
    }
}

TEST_F(ReassemblerTest, DropsOverlaps) {
    struct Piece {
        std::size_t offset, bytes;
        bool more;
    };
    const std::vector<std::vector<Piece>> sets{
        {{0, 32, true}, {24, 40, true}, {64, 32, false}},
        {{0, 64, true}, {32, 16, true}, {80, 16, false}},
        {{0, 32, true}, {16, 16, true}, {32, 16, true}, {64, 16, false}},
        {{0, 8, true}, {16, 8, true}, {16, 8, true}, {24, 8, false}},
        {{8, 8, true}, {8, 8, true}, {16, 8, false}},
        {{0, 96, true}, {40, 8, false}},
    };
    for (const bool v6 : {false, true}) {
        for (const auto& set : sets) {
            IpPacket packet{.v6 = v6, .payload = pattern(96)};
            for (const Piece& piece : set) {
                EXPECT_EQ(add(packet.piece(piece.offset, piece.bytes, piece.more)), std::nullopt);
            }
            now_ += kTimeout + 1;
            dropped_ += reassembler_->expire(now_);
        }
    }
    EXPECT_EQ(dropped_, added_);
}

TEST_F(ReassemblerTest, DropsAPacketOfTooManyFragments) {
    constexpr std::size_t kMost = RTE_LIBRTE_IP_FRAG_MAX_FRAG;
    IpPacket packet{.payload = pattern(8 * kMost)};
    EXPECT_EQ(add_all(packet.pieces(8)), packet.whole());
    packet.payload = pattern(8 * (kMost + 1));
    EXPECT_EQ(add_all(packet.pieces(8)), std::nullopt);
    // Fragments of one byte cannot have others behind them.
    for (std::size_t i = 0; i < 100; ++i) {
        EXPECT_EQ(add(packet.piece(8, 1, true)), std::nullopt);
        EXPECT_EQ(last_dropped_, 1U);
        EXPECT_LE(reassembler_->held(), kMost);
    }
}

TEST_F(ReassemblerTest, DropsWhatCannotBeAFragmentOfAnything) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .payload = pattern(66000)};
        const auto refused = [&](const Bytes& bytes, const char* what) {
            EXPECT_EQ(add(bytes), std::nullopt) << what;
            EXPECT_EQ(last_dropped_, 1U) << what;
            EXPECT_EQ(reassembler_->held(), 0U) << what;
        };
        refused(packet.piece(8, 0, false), "no payload");
        refused(packet.piece(8, 0, true), "no payload");
        refused(packet.piece(0, 12, true), "ends within a unit");
        refused(packet.piece(65528, 64, false), "ends behind 65535");
        Bytes bytes = packet.piece(8, 16, false);
        put16(bytes, v6 ? 18 : 16, v6 ? 7 : 19);
        refused(bytes, "shorter than its headers");
        bytes = packet.piece(8, 16, false);
        bytes.pop_back();
        refused(bytes, "cut off");
        bytes = packet.piece(8, 16, false);
        bytes[14] = 0x50;
        refused(bytes, "not IP");
        for (std::size_t size = 1; size < (v6 ? 62U : 34U); ++size) {
            refused(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)), "cut");
        }
    }
    IpPacket packet{.payload = pattern(64)};
    Bytes bytes = packet.piece(8, 16, false);
    bytes[24] ^= 1;
    EXPECT_EQ(add(bytes), std::nullopt) << "checksum";
    EXPECT_EQ(last_dropped_, 1U);
    EXPECT_EQ(add(packet.piece(8, 16, false), 128), std::nullopt) << "offset";
}

TEST_F(ReassemblerTest, AHopByHopHeaderInFrontIsNotFollowed) {
    IpPacket packet{.v6 = true, .payload = pattern(64)};
    Bytes bytes = packet.piece(0, 32, true);
    bytes[20] = 0;
    EXPECT_EQ(add(bytes), bytes);
}

TEST_F(ReassemblerTest, AWholeOf65535BytesIsTheLongest) {
    IpPacket packet{.payload = pattern(65515)};
    EXPECT_EQ(add_all(packet.pieces(9360)), packet.whole());
    // The header of the first fragment is longer than the one with which the last one fits.
    IpPacket longer = packet;
    longer.options.assign(4, 1);
    auto fragments = packet.pieces(9360);
    fragments[0] = longer.piece(0, 9360, true);
    EXPECT_EQ(add_all(fragments), std::nullopt);
    EXPECT_EQ(last_dropped_, fragments.size());
    packet.v6 = true;
    packet.payload = pattern(65535);
    EXPECT_EQ(add_all(packet.pieces(9368)), packet.whole());
}

TEST_F(ReassemblerTest, MergesTheCongestionMark) {
    for (const bool v6 : {false, true}) {
        const auto merged = [&](std::uint8_t first, std::uint8_t second) {
            IpPacket packet{.v6 = v6, .payload = pattern(64)};
            packet.tos = second;
            EXPECT_EQ(add(packet.piece(32, 32, false)), std::nullopt);
            packet.tos = first;
            return add(packet.piece(0, 32, true));
        };
        IpPacket expected{.v6 = v6, .payload = pattern(64)};
        expected.tos = 0xb3;
        EXPECT_EQ(merged(0xb2, 0xb3), expected.whole());
        EXPECT_EQ(merged(0xb3, 0xb1), expected.whole());
        expected.tos = 0xb2;
        EXPECT_EQ(merged(0xb2, 0xb1), expected.whole());
        EXPECT_EQ(merged(0xb0, 0xb3), std::nullopt);
        EXPECT_EQ(last_dropped_, 2U);
        EXPECT_EQ(merged(0xb3, 0xb0), std::nullopt);
    }
}

TEST_F(ReassemblerTest, ExpiresWhatIsNeverComplete) {
    for (unsigned i = 0; i < 100; ++i) {
        IpPacket packet{.v6 = i % 2 == 0, .identification = i, .payload = pattern(96)};
        packet.protocol = i % 3 == 0 ? 47 : 17;
        EXPECT_EQ(add(packet.piece(0, 32, true)), std::nullopt);
        EXPECT_EQ(add(packet.piece(32, 32, true)), std::nullopt);
    }
    now_ += kTimeout;
    EXPECT_EQ(reassembler_->expire(now_), 0U);
    now_ += 1;
    const std::uint32_t expired = reassembler_->expire(now_);
    EXPECT_EQ(expired, 200U);
    dropped_ += expired;
    EXPECT_EQ(reassembler_->held(), 0U);
    // The rest of an expired packet is not its beginning again.
    IpPacket packet{.payload = pattern(96)};
    EXPECT_EQ(add(packet.piece(64, 32, false)), std::nullopt);
    now_ += kTimeout + 1;
    EXPECT_EQ(add(packet.piece(0, 64, true)), std::nullopt);
    EXPECT_EQ(last_dropped_, 1U) << "the stale fragment";
    EXPECT_EQ(add(packet.piece(64, 32, false)), packet.whole());
}

TEST_F(ReassemblerTest, ABoundedNumberWaits) {
    std::uint32_t most = 0;
    for (unsigned i = 0; i < 3000; ++i) {
        IpPacket packet{.v6 = true, .identification = i / 6, .payload = pattern(96)};
        EXPECT_EQ(add(packet.piece(8, 8, true)), std::nullopt);
        most = std::max(most, reassembler_->held());
    }
    EXPECT_EQ(most, kReassemblyHeldMax);
    EXPECT_EQ(last_dropped_, 1U);
    now_ += kTimeout + 1;
    dropped_ += reassembler_->expire(now_);
    for (unsigned i = 0; i < 3000; ++i) {
        IpPacket packet{.v6 = true, .identification = i, .payload = pattern(96)};
        EXPECT_EQ(add(packet.piece(8, 8, true)), std::nullopt);
        EXPECT_LE(reassembler_->held(), kReassemblyEntries);
    }
}

TEST_F(ReassemblerTest, RandomFragmentsNeverMakeAWrongPacket) {
    std::mt19937 random(8);
    unsigned wholes = 0;
    for (unsigned round = 0; round < 20000; ++round) {
        IpPacket packet{.v6 = random() % 2 == 0, .payload = pattern(64)};
        packet.identification = static_cast<std::uint32_t>(random() % 4);
        const std::size_t offset = random() % 8 * 8;
        const std::size_t bytes = std::min<std::size_t>(64 - offset, 8 + random() % 4 * 8);
        const auto whole = add(packet.piece(offset, bytes, offset + bytes != 64));
        if (whole) {
            ++wholes;
            ASSERT_EQ(*whole, packet.whole());
        }
        now_ += random() % 2000;
    }
    EXPECT_GT(wholes, 20U);
}

}  // namespace
}  // namespace culvert::dataplane
