// SPDX-License-Identifier: GPL-2.0-or-later
//
// The conversion between virtio_net_hdr, the flags of DPDK devices and Offload.

#include <cstring>

#include "dataplane/virtio_header.hpp"
#include "tests/unit/dataplane/port_packets.hpp"
#include "tunnels/address.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::dataplane {
namespace {

using testing::make_packet;
using testing::packet_bytes;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr std::uint8_t kSctp = 132;

void append(Bytes& bytes, const Bytes& more) {
    for (const std::uint8_t byte : more) {
        bytes.push_back(byte);
    }
}

/// Ethernet (with `tag` behind the addresses), IPv4, and `payload_bytes` from the L4 header on. A
/// TCP header has no options.
Bytes ip4_frame(std::uint8_t protocol, std::size_t payload_bytes, const Bytes& tag = {}) {
    const std::size_t total = 20 + payload_bytes;
    const auto high = static_cast<std::uint8_t>(total >> 8U);
    const auto low = static_cast<std::uint8_t>(total & 0xffU);
    Bytes frame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
    append(frame, tag);
    append(frame, {8, 0, 0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0});
    append(frame, {10, 0, 0, 1, 10, 0, 0, 2});
    const std::size_t l4 = frame.size();
    for (std::size_t i = 0; i < payload_bytes; ++i) {
        frame.push_back(static_cast<std::uint8_t>(i * 3 + 1));
    }
    if (protocol == kTcp) {
        frame[l4 + 12] = 0x50;
        frame[l4 + 13] = 0x10;
    } else if (protocol == kUdp) {
        frame[l4 + 4] = static_cast<std::uint8_t>(payload_bytes >> 8U);
        frame[l4 + 5] = static_cast<std::uint8_t>(payload_bytes & 0xffU);
    }
    return frame;
}

Bytes ip6_tcp_frame(std::size_t payload_bytes) {
    Bytes frame{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0};
    frame.push_back(static_cast<std::uint8_t>(payload_bytes >> 8U));
    frame.push_back(static_cast<std::uint8_t>(payload_bytes & 0xffU));
    frame.push_back(kTcp);
    frame.push_back(64);
    for (std::uint8_t i = 0; i < 32; ++i) {
        frame.push_back(static_cast<std::uint8_t>(0x20 + i));
    }
    for (std::size_t i = 0; i < payload_bytes; ++i) {
        frame.push_back(static_cast<std::uint8_t>(i));
    }
    frame[54 + 12] = 0x50;
    return frame;
}

VirtioHeader pending(std::uint16_t start, std::uint16_t offset) {
    VirtioHeader header;
    header.flags = kVirtioNeedsChecksum;
    header.checksum_start = start;
    header.checksum_offset = offset;
    return header;
}

VirtioHeader
super_frame(std::uint8_t type, std::uint16_t bytes, std::uint16_t start, std::uint16_t offset) {
    VirtioHeader header = pending(start, offset);
    header.gso_type = type;
    header.gso_bytes = bytes;
    return header;
}

/// Frees its packet; at the end no buffer may be missing.
class VirtioHeaderTest : public ::testing::Test {
protected:
    ~VirtioHeaderTest() override { rte_pktmbuf_free(parsed); }

    DropReason
    parse(const VirtioHeader& header, const Bytes& frame, std::uint16_t inserted_bytes = 0) {
        rte_pktmbuf_free(parsed);
        parsed = make_packet(frame);
        return parse_virtio_header(header, inserted_bytes, parsed);
    }

    DropReason parse_headers(const Bytes& frame, std::uint16_t gso_bytes, bool complete) {
        rte_pktmbuf_free(parsed);
        parsed = make_packet(frame);
        return set_offload_from_headers(parsed, gso_bytes, complete);
    }

    testing::LeakCheck leak_check;
    rte_mbuf* parsed = nullptr;
};

TEST_F(VirtioHeaderTest, NothingIsPendingWithoutFlags) {
    EXPECT_EQ(parse({}, ip4_frame(kUdp, 100)), DropReason::none);
    EXPECT_FALSE(packet::has_offload(parsed));
}

TEST_F(VirtioHeaderTest, AVerifiedChecksumIsNoPendingWork) {
    VirtioHeader header;
    header.flags = kVirtioDataValid;
    EXPECT_EQ(parse(header, ip4_frame(kUdp, 100)), DropReason::none);
    EXPECT_FALSE(packet::has_offload(parsed));
}

TEST_F(VirtioHeaderTest, TakesAPendingChecksum) {
    EXPECT_EQ(parse(pending(34, 6), ip4_frame(kUdp, 100)), DropReason::none);
    ASSERT_TRUE(packet::has_offload(parsed));
    const Offload offload = packet::offload(parsed);
    EXPECT_EQ(offload.checksum_start, 34);
    EXPECT_EQ(offload.checksum_offset, 6);
    EXPECT_EQ(offload.gso_type, GsoType::none);
    EXPECT_EQ(offload.gso_bytes, 0);
}

TEST_F(VirtioHeaderTest, IgnoresTheSegmentSizeOfAFrameThatIsNone) {
    VirtioHeader header = pending(34, 6);
    header.gso_bytes = 1448;
    EXPECT_EQ(parse(header, ip4_frame(kUdp, 100)), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).gso_bytes, 0);
}

TEST_F(VirtioHeaderTest, TakesSuperFramesOfEachType) {
    EXPECT_EQ(
        parse(super_frame(kVirtioGsoTcp4, 1448, 34, 16), ip4_frame(kTcp, 4000)), DropReason::none
    );
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::tcp4);
    EXPECT_EQ(packet::offload(parsed).gso_bytes, 1448);
    EXPECT_EQ(packet::offload(parsed).header_bytes, 54);
    EXPECT_EQ(
        parse(super_frame(kVirtioGsoTcp6, 1428, 54, 16), ip6_tcp_frame(4000)), DropReason::none
    );
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::tcp6);
    EXPECT_EQ(packet::offload(parsed).header_bytes, 74);
    EXPECT_EQ(
        parse(super_frame(kVirtioGsoUdpL4, 1000, 34, 6), ip4_frame(kUdp, 4000)), DropReason::none
    );
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::udp_l4);
    EXPECT_EQ(packet::offload(parsed).header_bytes, 42);
}

TEST_F(VirtioHeaderTest, TheEcnBitIsNotPartOfTheType) {
    const VirtioHeader header = super_frame(kVirtioGsoTcp4 | kVirtioGsoEcn, 1448, 34, 16);
    EXPECT_EQ(parse(header, ip4_frame(kTcp, 4000)), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::tcp4);
}

TEST_F(VirtioHeaderTest, CountsInsertedBytes) {
    const Bytes frame = ip4_frame(kTcp, 4000, {0x81, 0, 0, 5});
    EXPECT_EQ(parse(super_frame(kVirtioGsoTcp4, 1448, 34, 16), frame, 4), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).checksum_start, 38);
    EXPECT_EQ(packet::offload(parsed).header_bytes, 58);
}

TEST_F(VirtioHeaderTest, RejectsOffsetsOutsideTheFrame) {
    const Bytes frame = ip4_frame(kUdp, 100);
    for (const VirtioHeader& header :
         {pending(133, 6),
          pending(34, 99),
          pending(34, 256 + 6),
          pending(65535, 6),
          pending(60000, 6)}) {
        EXPECT_EQ(parse(header, frame, 4), DropReason::offload_malformed);
        EXPECT_FALSE(packet::has_offload(parsed));
    }
    EXPECT_EQ(parse(pending(65534, 6), frame, 4), DropReason::offload_malformed);
}

TEST_F(VirtioHeaderTest, RejectsSuperFramesThatCannotBe) {
    const Bytes frame = ip4_frame(kTcp, 4000);
    EXPECT_EQ(parse(super_frame(kVirtioGsoTcp4, 0, 34, 16), frame), DropReason::offload_malformed);
    EXPECT_EQ(
        parse(super_frame(kVirtioGsoTcp4, 1448, 34, 6), frame), DropReason::offload_malformed
    );
    // Fragmentation offload of UDP, which nobody asked for.
    EXPECT_EQ(parse(super_frame(3, 1448, 34, 6), frame), DropReason::offload_malformed);
    EXPECT_EQ(parse(super_frame(0x21, 1448, 34, 16), frame), DropReason::offload_malformed);
    EXPECT_FALSE(packet::has_offload(parsed));
}

TEST_F(VirtioHeaderTest, ASuperFrameWithGoodChecksumsBecomesOneWithPendingChecksums) {
    VirtioHeader header;
    header.gso_type = kVirtioGsoTcp4;
    header.gso_bytes = 1448;
    ASSERT_EQ(parse(header, ip4_frame(kTcp, 4000, {0x81, 0, 0, 5}), 4), DropReason::none);
    const Offload offload = packet::offload(parsed);
    EXPECT_EQ(offload.checksum_start, 38);
    EXPECT_EQ(offload.checksum_offset, 16);
    EXPECT_EQ(offload.header_bytes, 58);
    std::uint16_t field = 0;
    std::memcpy(&field, &packet_bytes(parsed)[38 + 16], sizeof field);
    const std::array<std::uint8_t, 8> addresses{10, 0, 0, 1, 10, 0, 0, 2};
    EXPECT_EQ(
        field,
        tunnels::checksum_fold(tunnels::pseudo_header_sum(
            tunnels::IpAddress::from_v4(&addresses[0]),
            tunnels::IpAddress::from_v4(&addresses[4]),
            kTcp,
            4000
        ))
    );
}

TEST_F(VirtioHeaderTest, CompletesThePendingCrcOfSctp) {
    // The check value of CRC32c is 0xe3069283 for "123456789"; here 3000 bytes over two buffers are
    // summed bit by bit.
    Bytes frame = ip4_frame(kSctp, 3000);
    ASSERT_EQ(parse(pending(34, 8), frame), DropReason::none);
    EXPECT_FALSE(packet::has_offload(parsed));
    std::fill_n(frame.begin() + 34 + 8, 4, std::uint8_t{0});
    std::uint32_t crc = 0xffffffffU;
    for (std::size_t i = 34; i < frame.size(); ++i) {
        crc ^= frame[i];
        for (unsigned bit = 0; bit < 8; ++bit) {
            crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82f63b78U : crc >> 1U;
        }
    }
    crc = ~crc;
    std::memcpy(&frame[34 + 8], &crc, sizeof crc);
    EXPECT_EQ(packet_bytes(parsed), frame);
    EXPECT_EQ(parse(pending(3030, 8), frame), DropReason::offload_malformed);
    // A device that gives no offsets.
    ASSERT_EQ(parse_headers(ip4_frame(kSctp, 3000), 0, false), DropReason::none);
    EXPECT_EQ(packet_bytes(parsed), frame);
}

TEST_F(VirtioHeaderTest, FindsTheL4HeaderForDevicesThatGiveNoOffsets) {
    ASSERT_EQ(parse_headers(ip4_frame(kUdp, 100), 0, false), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).checksum_start, 34);
    EXPECT_EQ(packet::offload(parsed).checksum_offset, 6);
    EXPECT_EQ(packet_bytes(parsed), ip4_frame(kUdp, 100));
    const Bytes qinq{0x88, 0xa8, 0, 5, 0x81, 0, 0, 6};
    ASSERT_EQ(parse_headers(ip4_frame(kTcp, 4000, qinq), 1400, false), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).checksum_start, 42);
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::tcp4);
    EXPECT_EQ(packet::offload(parsed).header_bytes, 62);
    ASSERT_EQ(parse_headers(ip6_tcp_frame(4000), 1400, false), DropReason::none);
    EXPECT_EQ(packet::offload(parsed).gso_type, GsoType::tcp6);
    EXPECT_EQ(packet::offload(parsed).checksum_start, 54);
}

TEST_F(VirtioHeaderTest, LeavesOtherProtocolsAloneButNoSuperFrameOfThem) {
    constexpr std::uint8_t kIcmp = 1;
    EXPECT_EQ(parse_headers(ip4_frame(kIcmp, 100), 0, false), DropReason::none);
    EXPECT_FALSE(packet::has_offload(parsed));
    EXPECT_EQ(parse_headers(ip4_frame(kIcmp, 100), 1000, false), DropReason::offload_malformed);
    EXPECT_EQ(parse_headers(ip4_frame(kSctp, 100), 1000, false), DropReason::offload_malformed);
    EXPECT_EQ(parse_headers({1, 2, 3}, 0, true), DropReason::none);
}

TEST_F(VirtioHeaderTest, WritesWhatItParsed) {
    VirtioHeader header = super_frame(kVirtioGsoTcp4, 1448, 34, 16);
    ASSERT_EQ(parse(header, ip4_frame(kTcp, 4000)), DropReason::none);
    header.header_bytes = 54;
    VirtioHeader written = write_virtio_header(parsed);
    EXPECT_EQ(std::memcmp(&written, &header, sizeof header), 0);

    ASSERT_EQ(parse(pending(34, 6), ip4_frame(kUdp, 100)), DropReason::none);
    header = pending(34, 6);
    written = write_virtio_header(parsed);
    EXPECT_EQ(std::memcmp(&written, &header, sizeof header), 0);

    packet::clear_offload(parsed);
    header = {};
    written = write_virtio_header(parsed);
    EXPECT_EQ(std::memcmp(&written, &header, sizeof header), 0);
}

TEST_F(VirtioHeaderTest, KnowsASuperFrameInsideATunnel) {
    ASSERT_EQ(
        parse(super_frame(kVirtioGsoTcp4, 1448, 34, 16), ip4_frame(kTcp, 4000)), DropReason::none
    );
    EXPECT_FALSE(is_tunnelled_super_frame(parsed));
    Offload offload = packet::offload(parsed);
    offload.checksum_start = 84;
    packet::set_offload(parsed, offload);
    EXPECT_TRUE(is_tunnelled_super_frame(parsed));
    offload.gso_type = GsoType::none;
    packet::set_offload(parsed, offload);
    EXPECT_FALSE(is_tunnelled_super_frame(parsed));
    packet::clear_offload(parsed);
    EXPECT_FALSE(is_tunnelled_super_frame(parsed));
}

TEST_F(VirtioHeaderTest, TellsOfCongestionWindowReduced) {
    constexpr std::uint8_t kCwr = 0x80;
    Bytes frame = ip6_tcp_frame(4000);
    frame[54 + 13] = kCwr;
    ASSERT_EQ(parse(super_frame(kVirtioGsoTcp6, 1428, 54, 16), frame), DropReason::none);
    EXPECT_EQ(write_virtio_header(parsed).gso_type, kVirtioGsoTcp6 | kVirtioGsoEcn);
    ASSERT_EQ(
        parse(super_frame(kVirtioGsoUdpL4, 1000, 34, 6), ip4_frame(kUdp, 4000)), DropReason::none
    );
    EXPECT_EQ(write_virtio_header(parsed).gso_type, kVirtioGsoUdpL4);
}

}  // namespace
}  // namespace culvert::dataplane
