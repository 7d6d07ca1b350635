// SPDX-License-Identifier: GPL-2.0-or-later
//
// Gathering packets of a burst into super-frames: what was cut from a super-frame becomes it again,
// byte for byte, and nothing that differs from its predecessor goes with it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/bundle.hpp"
#include "tests/unit/dataplane/segment_burst.hpp"

namespace culvert::dataplane {
namespace {

using testing::Burst;
using testing::Bytes;
using testing::kGsoBytes;
using testing::OffloadFrame;
using testing::packet_bytes;
using testing::pattern;
using testing::plain_frame;
using testing::put16;

constexpr std::size_t kIpId = 4;
constexpr std::size_t kIpChecksum = 10;
constexpr std::size_t kTcpFlags = 13;

/// Bytes behind the virtio header, as a system call would read them.
Bytes flatten(Bundle& bundle, std::span<rte_mbuf* const> burst) {
    std::array<iovec, kBundleVectorsMax> vectors{};
    const std::size_t count = write_vectors(bundle, burst, vectors);
    EXPECT_LE(count, vector_count(bundle, burst));
    Bytes bytes;
    for (const iovec& vector : std::span(vectors).subspan(1, count - 1)) {
        const auto* data = static_cast<const std::uint8_t*>(vector.iov_base);
        bytes.insert(bytes.end(), data, data + vector.iov_len);
    }
    return bytes;
}

std::size_t gathered(const Burst& burst, bool trains = true) {
    Bundle bundle;
    gather(burst.packets, trains, bundle);
    return bundle.packets;
}

/// Makes both checksums of a TCP packet right again.
void repair(Bytes& bytes, const OffloadFrame& frame) {
    const std::size_t ip = frame.ip_offset();
    if (!frame.v6) {
        put16(bytes, ip + kIpChecksum, 0);
        put16(bytes, ip + kIpChecksum, ~testing::plain_sum(bytes, ip, ip + 20, 0) & 0xffffU);
    }
    const std::size_t l4 = frame.l4_offset();
    put16(bytes, frame.checksum_field(), 0);
    const std::uint32_t sum =
        testing::plain_sum(bytes, l4, bytes.size(), frame.pseudo_sum(bytes, bytes.size() - l4));
    put16(bytes, frame.checksum_field(), ~sum & 0xffffU);
}

TEST(Bundle, MakesTheSuperFrameThatTheSegmentsWereCutFrom) {
    const testing::LeakCheck leaks;
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            for (const std::size_t bytes : {200U, 201U, 950U, 1000U}) {
                for (const std::size_t tags : {0U, 1U, 2U}) {
                    OffloadFrame frame = plain_frame(v6, udp, bytes);
                    frame.tags.assign(tags, 0x8100);
                    frame.flags = testing::kAck | testing::kPush;
                    frame.tcp_options = udp ? 0 : 12;
                    const Burst burst(frame);
                    Bundle bundle;
                    gather(burst.packets, true, bundle);
                    EXPECT_EQ(bundle.packets, burst.packets.size());
                    EXPECT_EQ(bundle.is_train, udp);
                    EXPECT_EQ(flatten(bundle, burst.packets), frame.build());
                    EXPECT_EQ(bundle.virtio.flags, kVirtioNeedsChecksum);
                    EXPECT_EQ(
                        bundle.virtio.gso_type,
                        udp  ? kVirtioGsoUdpL4
                        : v6 ? kVirtioGsoTcp6
                             : kVirtioGsoTcp4
                    );
                    EXPECT_EQ(bundle.virtio.gso_bytes, kGsoBytes);
                    EXPECT_EQ(bundle.virtio.checksum_start, frame.l4_offset());
                    EXPECT_EQ(bundle.virtio.checksum_offset, udp ? 6 : 16);
                    EXPECT_EQ(bundle.virtio.header_bytes, frame.header_bytes());
                }
            }
        }
    }
}

TEST(Bundle, RoundTripsRandomSuperFramesThroughChainsOfAnyShape) {
    std::mt19937 random(7);
    for (int i = 0; i < 300; ++i) {
        OffloadFrame frame = testing::random_frame(random, 100 + random() % 1500);
        frame.extensions.clear();
        frame.extension_types.clear();
        frame.ip_options = 0;
        frame.flags = random() % 2 == 0 ? testing::kAck : testing::kAck | testing::kPush;
        const Burst burst(frame, static_cast<std::uint16_t>(60 + random() % 200));
        Bundle bundle;
        gather(burst.packets, true, bundle);
        ASSERT_EQ(bundle.packets, burst.packets.size());
        if (bundle.packets > 1) {
            ASSERT_EQ(flatten(bundle, burst.packets), frame.build());
        }
    }
}

TEST(Bundle, LeavesNoSegmentWhoseHeaderDiffersInAnyBit) {
    for (const bool v6 : {false, true}) {
        OffloadFrame frame = plain_frame(v6, false, 300);
        frame.tcp_options = 12;
        for (std::size_t at = 0; at < frame.header_bytes(); ++at) {
            for (unsigned bit = 0; bit < 8; ++bit) {
                Burst burst(frame);
                ASSERT_EQ(burst.packets.size(), 3U);
                Bytes bytes = packet_bytes(burst.packets[1]);
                bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << bit));
                repair(bytes, frame);
                burst.replace(1, bytes);
                const std::size_t in_ip = at - frame.ip_offset();
                const std::size_t in_tcp = at - frame.l4_offset();
                const bool checksum = (!v6 && in_ip / 2 == kIpChecksum / 2) || in_tcp / 2 == 8;
                const bool atomic_id = !v6 && in_ip / 2 == kIpId / 2;
                const bool push = in_tcp == kTcpFlags && 1U << bit == testing::kPush;
                const std::size_t expected = checksum || atomic_id ? 3 : push ? 2 : 1;
                EXPECT_EQ(gathered(burst), expected) << "bit " << bit << " of byte " << at;
            }
        }
    }
}

TEST(Bundle, LeavesNoTunnelPacketWhoseOuterHeaderDiffersInAnyBit) {
    for (const bool v6 : {false, true}) {
        const OffloadFrame frame = plain_frame(v6, true, 300);
        for (std::size_t at = 0; at < frame.header_bytes(); ++at) {
            Burst burst(frame);
            Bytes bytes = packet_bytes(burst.packets[1]);
            bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 0x10U);
            burst.replace(1, bytes);
            const std::size_t in_ip = at - frame.ip_offset();
            const std::size_t in_udp = at - frame.l4_offset();
            // Lengths and checksums of our own packets are right, and are written anew.
            const bool rewritten = (!v6 && (in_ip / 2 == kIpChecksum / 2 || in_ip / 2 == 2)) ||
                                   in_udp / 2 == 2 || in_udp / 2 == 3;
            EXPECT_EQ(gathered(burst), rewritten ? 3U : 1U) << "byte " << at;
        }
    }
}

TEST(Bundle, LeavesASegmentWithAWrongChecksumForItsReceiverToDrop) {
    for (const bool v6 : {false, true}) {
        const OffloadFrame frame = plain_frame(v6, false, 500);
        for (const std::size_t damaged : {0U, 1U, 3U}) {
            Burst burst(frame);
            Bytes bytes = packet_bytes(burst.packets[damaged]);
            bytes.back() ^= 1U;
            burst.replace(damaged, bytes);
            EXPECT_EQ(gathered(burst), std::max<std::size_t>(damaged, 1));
        }
    }
}

TEST(Bundle, LeavesAWrongIpv4ChecksumForItsReceiverToDrop) {
    const OffloadFrame frame = plain_frame(false, false, 300);
    for (const std::size_t damaged : {0U, 1U}) {
        Burst burst(frame);
        Bytes bytes = packet_bytes(burst.packets[damaged]);
        bytes[frame.ip_offset() + kIpChecksum] ^= 1U;
        burst.replace(damaged, bytes);
        EXPECT_EQ(gathered(burst), 1U);
    }
}

TEST(Bundle, LeavesReorderedAndRepeatedSegmentsAsTheyCame) {
    Burst swapped(plain_frame(false, false, 300));
    std::swap(swapped.packets[0], swapped.packets[1]);
    EXPECT_EQ(gathered(swapped), 1U);
    Burst repeated(plain_frame(false, false, 300));
    repeated.replace(1, packet_bytes(repeated.packets[0]));
    EXPECT_EQ(gathered(repeated), 1U);
    Burst lost(plain_frame(false, false, 300));
    std::swap(lost.packets[1], lost.packets[2]);
    EXPECT_EQ(gathered(lost), 1U);
}

TEST(Bundle, TakesOnlyPlainDataSegments) {
    for (unsigned flags = 0; flags < 256; ++flags) {
        OffloadFrame frame = plain_frame(false, false, 300);
        Burst burst(frame);
        for (std::size_t i = 0; i < 2; ++i) {
            Bytes bytes = packet_bytes(burst.packets[i]);
            bytes[frame.l4_offset() + kTcpFlags] = static_cast<std::uint8_t>(flags);
            repair(bytes, frame);
            burst.replace(i, bytes);
        }
        EXPECT_EQ(gathered(burst), flags == testing::kAck ? 3U : 1U) << "flags " << flags;
    }
    // Two acknowledgments without data.
    Burst burst;
    OffloadFrame acknowledgment = plain_frame(false, false, 0);
    for (int i = 0; i < 2; ++i) {
        Bytes bytes = acknowledgment.build();
        repair(bytes, acknowledgment);
        burst.packets.push_back(testing::make_packet(bytes));
    }
    EXPECT_EQ(gathered(burst), 1U);
}

TEST(Bundle, CountsIdentificationsWithoutDf) {
    const OffloadFrame frame = plain_frame(false, false, 300);
    for (const unsigned step : {1U, 0U, 2U}) {
        Burst burst(frame);
        for (unsigned i = 0; i < 3; ++i) {
            Bytes bytes = packet_bytes(burst.packets[i]);
            put16(bytes, frame.ip_offset() + kIpId, (0xffffU + i * step) & 0xffffU);
            put16(bytes, frame.ip_offset() + 6, 0);
            repair(bytes, frame);
            burst.replace(i, bytes);
        }
        EXPECT_EQ(gathered(burst), step == 1 ? 3U : 1U);
    }
}

TEST(Bundle, LeavesFragmentsOptionsAndPadding) {
    const OffloadFrame frame = plain_frame(false, false, 300);
    for (const unsigned fragment : {0x2000U, 0x0001U, 0x8000U}) {
        Burst burst(frame);
        for (std::size_t i = 0; i < 3; ++i) {
            Bytes bytes = packet_bytes(burst.packets[i]);
            put16(bytes, frame.ip_offset() + 6, fragment);
            repair(bytes, frame);
            burst.replace(i, bytes);
        }
        EXPECT_EQ(gathered(burst), 1U);
    }
    OffloadFrame optional = frame;
    optional.ip_options = 4;
    EXPECT_EQ(gathered(Burst(optional)), 1U);
    Burst padded(frame);
    Bytes bytes = packet_bytes(padded.packets[1]);
    bytes.push_back(0);
    padded.replace(1, bytes);
    EXPECT_EQ(gathered(padded), 1U);
}

TEST(Bundle, EndsBehindAShorterSegmentAndBeforeALongerOne) {
    const OffloadFrame frame = plain_frame(false, false, 250);
    Burst burst(frame);
    OffloadFrame next = frame;
    next.sequence += 250;
    next.payload = pattern(50);
    Bytes bytes = next.build();
    repair(bytes, next);
    burst.packets.push_back(testing::make_packet(bytes));
    EXPECT_EQ(gathered(burst), 3U);
    Burst longer(frame);
    next.sequence = frame.sequence + kGsoBytes;
    next.payload = pattern(kGsoBytes + 1);
    bytes = next.build();
    repair(bytes, next);
    longer.replace(1, bytes);
    EXPECT_EQ(gathered(longer), 1U);
}

TEST(Bundle, KeepsWithinWhatAnIpLengthCanSay) {
    OffloadFrame frame = plain_frame(false, false, 9000);
    Burst burst;
    for (unsigned i = 0; i < 10; ++i) {
        Bytes bytes = frame.build();
        repair(bytes, frame);
        burst.packets.push_back(testing::make_packet(bytes));
        frame.sequence += 9000;
    }
    Bundle bundle;
    gather(burst.packets, true, bundle);
    EXPECT_EQ(bundle.packets, 7U);
    EXPECT_EQ(flatten(bundle, burst.packets).size(), 54U + 7U * 9000U);
}

TEST(Bundle, MakesTrainsOnlyWhereTheyAreWantedAndOfOurOwnPacketsOnly) {
    const Burst burst(plain_frame(false, true, 300));
    EXPECT_EQ(gathered(burst, true), 3U);
    EXPECT_EQ(gathered(burst, false), 1U);
    for (rte_mbuf* packet : burst.packets) {
        packet->ol_flags &= ~RTE_MBUF_F_TX_TUNNEL_MASK;
    }
    EXPECT_EQ(gathered(burst, true), 1U);
}

TEST(Bundle, DoesNotMixPacketsWithAndWithoutUdpChecksum) {
    const OffloadFrame frame = plain_frame(false, true, 300);
    Burst burst(frame);
    Bytes bytes = packet_bytes(burst.packets[1]);
    put16(bytes, frame.checksum_field(), 0);
    burst.replace(1, bytes);
    EXPECT_EQ(gathered(burst), 1U);
    for (const std::size_t i : {0U, 2U}) {
        bytes = packet_bytes(burst.packets[i]);
        put16(bytes, frame.checksum_field(), 0);
        burst.replace(i, bytes);
    }
    EXPECT_EQ(gathered(burst), 3U);
}

TEST(Bundle, LeavesPacketsWithPendingWorkAsTheyAre) {
    const OffloadFrame frame = plain_frame(false, false, 100);
    Burst burst;
    for (int i = 0; i < 2; ++i) {
        rte_mbuf* packet = testing::make_packet(frame.build());
        Offload offload = frame.offload();
        ASSERT_EQ(validate_offload(packet, offload), DropReason::none);
        packet::set_offload(packet, offload);
        burst.packets.push_back(packet);
    }
    Bundle bundle;
    gather(burst.packets, true, bundle);
    EXPECT_EQ(bundle.packets, 1U);
    EXPECT_EQ(bundle.header_bytes, 0U);
    EXPECT_EQ(bundle.virtio.flags, kVirtioNeedsChecksum);
    EXPECT_EQ(flatten(bundle, burst.packets), frame.build());
}

TEST(Bundle, ReadsNothingBehindTheEndOfRandomBytes) {
    std::mt19937 random(11);
    const OffloadFrame frame = plain_frame(false, false, 200);
    for (int i = 0; i < 2000; ++i) {
        Burst burst(frame);
        for (std::size_t which = 0; which < 2; ++which) {
            Bytes bytes = packet_bytes(burst.packets[which]);
            bytes.resize(1 + random() % bytes.size());
            for (int changes = 0; changes < 3; ++changes) {
                bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
            }
            burst.replace(which, bytes);
        }
        Bundle bundle;
        gather(burst.packets, true, bundle);
        static_cast<void>(flatten(bundle, burst.packets));
    }
}

}  // namespace
}  // namespace culvert::dataplane
