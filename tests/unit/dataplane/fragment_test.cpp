// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fragmentation, judged by reading the fragments as flat bytes: headers, lengths, offsets,
// checksums and contents, and that no buffer is lost, whatever the outcome.
#include "dataplane/fragment.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/dataplane/ip_packets.hpp"
#include "tests/unit/dataplane/mbuf_chain.hpp"

namespace culvert::dataplane {
namespace {

using culvert::testing::BufferBalanceTest;
using culvert::testing::Bytes;
using culvert::testing::bytes_of;
using culvert::testing::chain;
using culvert::testing::DryPool;
using culvert::testing::get16;
using culvert::testing::IpPacket;
using culvert::testing::packet_pool;
using culvert::testing::pattern;
using culvert::testing::plain_sum;
using culvert::testing::put16;
using culvert::testing::share_pool;
using culvert::testing::SmallPool;

class FragmentPacket : public BufferBalanceTest {
protected:
    /// The fragments' bytes; nullopt when it was refused. Takes `m`.
    static std::optional<std::vector<Bytes>>
    cut(rte_mbuf* m,
        const FragmentRequest& request,
        rte_mempool* headers = packet_pool(),
        rte_mempool* shares = share_pool()) {
        const Bytes before = bytes_of(m);
        FragmentList fragments;
        if (!fragment_packet(m, request, headers, shares, fragments)) {
            EXPECT_EQ(bytes_of(m), before);
            EXPECT_EQ(fragments.count, 0U);
            rte_pktmbuf_free(m);
            return std::nullopt;
        }
        std::vector<Bytes> result;
        for (rte_mbuf* fragment : fragments.span()) {
            result.push_back(bytes_of(fragment));
            EXPECT_EQ(fragment->tx_offload, 0U);
            rte_pktmbuf_free(fragment);
        }
        return result;
    }
    static FragmentRequest request(const IpPacket& packet, std::uint16_t mtu) {
        return {
            .ip_offset = static_cast<std::uint16_t>(packet.ip_offset()),
            .mtu = mtu,
            .identification = packet.identification,
            .ignore_df = false};
    }
};

/// What is wrong with these as the fragments of `packet`; empty when nothing is.
std::string defect(const std::vector<Bytes>& fragments, const IpPacket& packet, std::size_t mtu) {
    const std::size_t ip = packet.ip_offset();
    std::size_t offset = 0;
    for (std::size_t i = 0; i < fragments.size(); ++i) {
        const Bytes& bytes = fragments[i];
        const std::size_t header_bytes = packet.v6 ? 48 : bytes.at(ip) % 16 * 4;
        const std::size_t payload_bytes = bytes.size() - ip - header_bytes;
        const bool more = i + 1 != fragments.size();
        if (bytes.size() - ip > mtu) {
            return "too long";
        }
        IpPacket expected = packet;
        if (i != 0) {
            expected.options.resize(header_bytes - (packet.v6 ? 48 : 20));
            std::copy_n(
                bytes.begin() + static_cast<std::ptrdiff_t>(ip + 20),
                expected.options.size(),
                expected.options.begin()
            );
        }
        if (offset + payload_bytes > packet.payload.size()) {
            return "longer than the packet";
        }
        if (bytes != expected.piece(offset, payload_bytes, more)) {
            return "fragment " + std::to_string(i) + " differs";
        }
        if (more && (payload_bytes % 8 != 0 || bytes.size() - ip + 8 + 40 <= mtu)) {
            return "fragment " + std::to_string(i) + " is not as long as it can be";
        }
        offset += payload_bytes;
    }
    return offset == packet.payload.size() ? "" : "shorter than the packet";
}

TEST_F(FragmentPacket, CutsPacketsOfEverySizeAndSegmentation) {
    std::mt19937 random(11);
    for (unsigned round = 0; round < 300; ++round) {
        IpPacket packet;
        packet.v6 = random() % 2 == 0;
        packet.tagged = random() % 2 == 0;
        packet.tos = static_cast<std::uint8_t>(random());
        packet.identification = static_cast<std::uint32_t>(packet.v6 ? random() : random() % 65536);
        const std::size_t largest = round % 10 == 0 ? 65495 : 9000;
        packet.payload = pattern(1300 + random() % (largest - 1299), round);
        const auto mtu = static_cast<std::uint16_t>(1280 + random() % 300);
        std::vector<std::size_t> lengths{packet.ip_offset() + 40 + random() % 100};
        for (unsigned i = random() % 8; i != 0; --i) {
            lengths.push_back(random() % 3 == 0 ? 0 : random() % 2000);
        }
        rte_mbuf* m = chain(packet.whole(), lengths);
        const auto fragments = cut(m, request(packet, mtu));
        ASSERT_TRUE(fragments.has_value()) << round;
        ASSERT_EQ(defect(*fragments, packet, mtu), "") << round;
        const bool fits = packet.whole().size() - packet.ip_offset() <= mtu;
        ASSERT_EQ(fragments->size() == 1, fits);
    }
}

TEST_F(FragmentPacket, HandsBackWhatFits) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .df = true, .payload = pattern(1460)};
        const Bytes whole = packet.whole();
        const auto fragments = cut(chain(whole), request(packet, 1500));
        ASSERT_TRUE(fragments.has_value());
        EXPECT_EQ(*fragments, std::vector<Bytes>{whole});
    }
}

TEST_F(FragmentPacket, AnEmptySegmentAtTheEndMakesNoFragment) {
    IpPacket packet{.payload = pattern(std::size_t{64} * 1256)};
    packet.payload.resize(std::size_t{48} * 1256);
    const Bytes whole = packet.whole();
    rte_mbuf* m = chain(whole);
    rte_mbuf* empty = rte_pktmbuf_alloc(packet_pool());
    ASSERT_EQ(rte_pktmbuf_chain(m, empty), 0);
    const auto fragments = cut(m, request(packet, 1276));
    ASSERT_TRUE(fragments.has_value());
    EXPECT_EQ(fragments->size(), 48U);
    EXPECT_EQ(defect(*fragments, packet, 1276), "");
}

TEST_F(FragmentPacket, LeavesOutTheEthernetPadding) {
    IpPacket packet{.payload = pattern(2000)};
    Bytes padded = packet.whole();
    padded.insert(padded.end(), 7, 0xee);
    const auto fragments = cut(chain(padded), request(packet, 1500));
    ASSERT_TRUE(fragments.has_value());
    EXPECT_EQ(defect(*fragments, packet, 1500), "");
}

TEST_F(FragmentPacket, SharesThePayloadOfASharedPacket) {
    IpPacket packet{.payload = pattern(6000)};
    rte_mbuf* m = chain(packet.whole(), {60});
    rte_mbuf* second = packet::share(m, share_pool());
    const Bytes before = bytes_of(second);
    for (rte_mbuf* each : {m, second}) {
        FragmentList fragments;
        ASSERT_TRUE(
            fragment_packet(each, request(packet, 1500), packet_pool(), share_pool(), fragments)
        );
        std::vector<Bytes> bytes;
        for (rte_mbuf* fragment : fragments.span()) {
            EXPECT_TRUE(RTE_MBUF_DIRECT(fragment));
            EXPECT_FALSE(RTE_MBUF_DIRECT(fragment->next));
            bytes.push_back(bytes_of(fragment));
            rte_pktmbuf_free(fragment);
        }
        EXPECT_EQ(defect(bytes, packet, 1500), "");
        if (each == m) {
            EXPECT_EQ(bytes_of(second), before);
        }
    }
}

TEST_F(FragmentPacket, RefusesDfUnlessTold) {
    IpPacket packet{.df = true, .identification = 0, .payload = pattern(3000)};
    const Bytes whole = packet.whole();
    EXPECT_EQ(cut(chain(whole), request(packet, 1500)), std::nullopt);
    FragmentRequest told = request(packet, 1500);
    told.ignore_df = true;
    told.identification = 0xabcdef;
    const auto fragments = cut(chain(whole), told);
    ASSERT_TRUE(fragments.has_value());
    packet.df = false;
    packet.identification = 0xcdef;
    EXPECT_EQ(defect(*fragments, packet, 1500), "");
}

TEST_F(FragmentPacket, RepeatsOnlyTheOptionsWithTheCopiedFlag) {
    // A record route (not copied), a no-op, a router alert (copied), and the end.
    IpPacket packet{
        .options = {7, 7, 4, 1, 2, 3, 4, 1, 0x94, 4, 0, 0, 0, 0, 0, 0}, .payload = pattern(3000)};
    const auto fragments = cut(chain(packet.whole()), request(packet, 1500));
    ASSERT_TRUE(fragments.has_value());
    ASSERT_EQ(fragments->size(), 3U);
    EXPECT_EQ(defect(*fragments, packet, 1500), "");
    EXPECT_EQ((*fragments)[0][14], 0x49);
    for (const std::size_t later : {1, 2}) {
        const Bytes& bytes = (*fragments)[later];
        EXPECT_EQ(bytes[14], 0x46);
        EXPECT_EQ(Bytes(bytes.begin() + 34, bytes.begin() + 38), (Bytes{0x94, 4, 0, 0}));
    }
}

TEST_F(FragmentPacket, MalformedOptionsAreNotCopied) {
    for (const Bytes& options :
         {Bytes{0x94, 1, 0, 0}, Bytes{0x94, 9, 0, 0}, Bytes{1, 1, 1, 0x94}}) {
        IpPacket packet{.options = options, .payload = pattern(3000)};
        const auto fragments = cut(chain(packet.whole()), request(packet, 1500));
        ASSERT_TRUE(fragments.has_value());
        EXPECT_EQ((*fragments)[1][14], 0x45);
        EXPECT_EQ(defect(*fragments, packet, 1500), "");
    }
}

TEST_F(FragmentPacket, CutsAFragmentIntoSmallerOnes) {
    IpPacket packet{.payload = pattern(12000)};
    const auto fragments = cut(chain(packet.piece(4000, 4000, true)), request(packet, 1500));
    ASSERT_TRUE(fragments.has_value());
    ASSERT_EQ(fragments->size(), 3U);
    EXPECT_EQ((*fragments)[0], packet.piece(4000, 1480, true));
    EXPECT_EQ((*fragments)[1], packet.piece(5480, 1480, true));
    EXPECT_EQ((*fragments)[2], packet.piece(6960, 1040, true));
}

TEST_F(FragmentPacket, RefusesAFragmentThatEndsBehind65535Bytes) {
    IpPacket packet{.payload = pattern(65520 + 3000)};
    EXPECT_EQ(cut(chain(packet.piece(65520, 3000, false)), request(packet, 1500)), std::nullopt);
}

TEST_F(FragmentPacket, RefusesWhatItCannotCut) {
    IpPacket v4{.payload = pattern(3000)};
    IpPacket v6{.v6 = true, .payload = pattern(3000)};
    EXPECT_EQ(cut(chain(v4.whole()), request(v4, 67)), std::nullopt);
    EXPECT_EQ(cut(chain(v6.whole()), request(v6, 1279)), std::nullopt);
    for (const std::uint8_t next : Bytes{0, 43, 44, 60}) {
        v6.protocol = next;
        EXPECT_EQ(cut(chain(v6.whole()), request(v6, 1500)), std::nullopt) << int{next};
    }
    // 65 fragments of 48 bytes are one too many.
    IpPacket many{.payload = pattern(std::size_t{64} * 48)};
    EXPECT_EQ(cut(chain(many.whole()), request(many, 68))->size(), kFragmentsMax);
    many.payload.push_back(0);
    EXPECT_EQ(cut(chain(many.whole()), request(many, 68)), std::nullopt);
    // Headers that are not contiguous.
    EXPECT_EQ(cut(chain(v4.whole(), {33}), request(v4, 1500)), std::nullopt);
    EXPECT_EQ(cut(chain(v4.whole(), {14}), request(v4, 1500)), std::nullopt);
}

TEST_F(FragmentPacket, RefusesMalformedHeaders) {
    IpPacket packet{.payload = pattern(3000)};
    const auto damaged = [&](std::size_t at, std::uint32_t value) {
        Bytes bytes = packet.whole();
        put16(bytes, at, value);
        return cut(chain(bytes), request(packet, 1500));
    };
    EXPECT_EQ(damaged(14, 0x4400), std::nullopt) << "IHL 4";
    EXPECT_EQ(damaged(14, 0x5500), std::nullopt) << "version 5";
    EXPECT_EQ(damaged(16, 3021), std::nullopt) << "longer than the frame";
    EXPECT_EQ(damaged(16, 19), std::nullopt) << "shorter than the header";
}

TEST_F(FragmentPacket, KeepsThePacketWhenABufferIsMissing) {
    IpPacket packet{.payload = pattern(6000)};
    const DryPool dry;
    const SmallPool three(3);
    EXPECT_EQ(cut(chain(packet.whole()), request(packet, 1500), dry.get()), std::nullopt);
    EXPECT_EQ(cut(chain(packet.whole()), request(packet, 1500), three.get()), std::nullopt);
    EXPECT_EQ(
        cut(chain(packet.whole()), request(packet, 1500), packet_pool(), dry.get()), std::nullopt
    );
    EXPECT_EQ(
        cut(chain(packet.whole()), request(packet, 1500), packet_pool(), three.get()), std::nullopt
    );
}

std::optional<std::uint8_t> protocol_of(const Bytes& bytes, std::size_t ip_offset) {
    return fragmented_protocol(std::as_bytes(std::span(bytes)), ip_offset);
}

TEST(FragmentedProtocol, IsThatOfTheUpperLayer) {
    for (const bool v6 : {false, true}) {
        IpPacket packet{.v6 = v6, .tagged = true, .protocol = 47, .payload = pattern(64)};
        EXPECT_EQ(protocol_of(packet.whole(), 18), std::nullopt);
        EXPECT_EQ(protocol_of(packet.piece(0, 16, true), 18), 47);
        EXPECT_EQ(protocol_of(packet.piece(16, 48, false), 18), 47);
        Bytes cut_off = packet.piece(16, 48, false);
        const std::size_t headers_bytes = cut_off.size() - 48;
        cut_off.resize(headers_bytes);
        EXPECT_EQ(protocol_of(cut_off, 18), 47);
        for (std::size_t size = 0; size < headers_bytes; ++size) {
            EXPECT_EQ(
                protocol_of(
                    Bytes(cut_off.begin(), cut_off.begin() + static_cast<std::ptrdiff_t>(size)), 18
                ),
                std::nullopt
            );
        }
    }
}

}  // namespace
}  // namespace culvert::dataplane
