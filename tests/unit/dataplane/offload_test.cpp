// SPDX-License-Identifier: GPL-2.0-or-later
//
// Checksums and segments are verified by a second, plain implementation at the top of this file
// that shares nothing with the code under test: it reads flat bytes and sums 16-bit words one by
// one.
#include "dataplane/offload.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/dataplane/mbuf_chain.hpp"
#include "tests/unit/dataplane/offload_frames.hpp"

namespace culvert::dataplane {
namespace {

using culvert::testing::BufferBalanceTest;
using culvert::testing::Bytes;
using culvert::testing::bytes_of;
using culvert::testing::chain;
using culvert::testing::defect;
using culvert::testing::DryPool;
using culvert::testing::get16;
using culvert::testing::kAck;
using culvert::testing::kCwr;
using culvert::testing::kFin;
using culvert::testing::kPush;
using culvert::testing::OffloadFrame;
using culvert::testing::packet_pool;
using culvert::testing::pattern;
using culvert::testing::plain_frame;
using culvert::testing::plain_sum;
using culvert::testing::put16;
using culvert::testing::put32;
using culvert::testing::random_frame;
using culvert::testing::share_pool;
using culvert::testing::SmallPool;

std::vector<std::size_t> random_splits(std::mt19937& random, std::size_t first_at_least) {
    std::vector<std::size_t> lengths{first_at_least + random() % 40};
    for (std::size_t count = random() % 6; count != 0; --count) {
        lengths.push_back(random() % 2000);
    }
    return lengths;
}

class ValidateOffload : public BufferBalanceTest {
protected:
    /// The verdict on `bytes` in one segment; `offload` becomes what the code made of it.
    static DropReason judge(const Bytes& bytes, Offload& offload) {
        rte_mbuf* m = chain(bytes);
        const DropReason reason = validate_offload(m, offload);
        rte_pktmbuf_free(m);
        return reason;
    }
    static DropReason judge_value(const Bytes& bytes, Offload offload) {
        return judge(bytes, offload);
    }
};
class FinishChecksum : public BufferBalanceTest {};
class SegmenterTest : public BufferBalanceTest {};

TEST_F(ValidateOffload, AcceptsWhatKernelsSendAndComputesTheHeaderLength) {
    std::mt19937 random(3);
    for (unsigned round = 0; round < 500; ++round) {
        const OffloadFrame frame = random_frame(random, random() % 1500);
        Offload offload = frame.offload(1448);
        // A wrong hint of the sender is overwritten.
        offload.header_bytes = 3;
        ASSERT_EQ(judge(frame.build(), offload), DropReason::none);
        EXPECT_EQ(offload.header_bytes, frame.header_bytes());
        EXPECT_EQ(offload.gso_bytes, 1448);
        EXPECT_EQ(offload.checksum_start, frame.l4_offset());
        Offload checksum_only = frame.offload();
        ASSERT_EQ(judge(frame.build(), checksum_only), DropReason::none);
    }
}

TEST_F(ValidateOffload, ClearsSegmentFieldsOfAPacketThatIsNoSuperFrame) {
    const OffloadFrame frame = plain_frame(false, false, 100);
    Offload offload = frame.offload();
    offload.gso_bytes = 9;
    offload.header_bytes = 9;
    EXPECT_EQ(judge(frame.build(), offload), DropReason::none);
    EXPECT_EQ(offload.gso_bytes, 0);
    EXPECT_EQ(offload.header_bytes, 0);
}

TEST_F(ValidateOffload, AcceptsAChecksumOverWhatIsNotIp) {
    Bytes bytes = plain_frame(false, false, 100).build();
    put16(bytes, 12, 0x88b5);
    EXPECT_EQ(judge_value(bytes, {.checksum_start = 14, .checksum_offset = 4}), DropReason::none);
    EXPECT_EQ(
        judge_value(bytes, {.checksum_start = 13, .checksum_offset = 4}),
        DropReason::offload_malformed
    );
}

TEST_F(ValidateOffload, RefusesEveryTruncation) {
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            const OffloadFrame frame = plain_frame(v6, udp, 10);
            const Bytes bytes = frame.build();
            for (std::size_t length = 0; length < bytes.size(); ++length) {
                const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
                ASSERT_EQ(judge_value(cut, frame.offload()), DropReason::offload_malformed);
                ASSERT_EQ(judge_value(cut, frame.offload(5)), DropReason::offload_malformed);
            }
        }
    }
}

TEST_F(ValidateOffload, RefusesHeadersThatAreNotContiguous) {
    const OffloadFrame frame = plain_frame(false, false, 100);
    for (std::size_t first = 14; first < 60; ++first) {
        rte_mbuf* m = chain(frame.build(), {first, 1});
        Offload super_frame = frame.offload(10);
        EXPECT_EQ(validate_offload(m, super_frame) == DropReason::none, first >= 54);
        Offload checksum_only = frame.offload();
        EXPECT_EQ(validate_offload(m, checksum_only) == DropReason::none, first >= 52);
        rte_pktmbuf_free(m);
    }
}

TEST_F(ValidateOffload, RefusesAnOffloadThatContradictsItself) {
    const OffloadFrame frame = plain_frame(false, false, 100);
    const Bytes bytes = frame.build();
    const std::vector<std::function<void(Offload&)>> lies{
        [](Offload& o) { o.gso_bytes = 0; },
        [](Offload& o) { o.gso_type = GsoType::tcp6; },
        [](Offload& o) { o.gso_type = GsoType::udp_l4; },
        [](Offload& o) { o.gso_type = static_cast<GsoType>(4); },
        [](Offload& o) { o.gso_type = static_cast<GsoType>(0xff); },
        [](Offload& o) { o.checksum_offset = 6; },
        [](Offload& o) { o.checksum_offset = 18; },
        [](Offload& o) { o.checksum_start = 33; },
        [](Offload& o) { o.checksum_start = 38; },
        [](Offload& o) { o.checksum_start = 0; },
        [](Offload& o) { o.checksum_start = 0xffff; }};
    for (std::size_t i = 0; i < lies.size(); ++i) {
        Offload offload = frame.offload(10);
        ASSERT_EQ(judge_value(bytes, offload), DropReason::none);
        lies[i](offload);
        EXPECT_EQ(judge_value(bytes, offload), DropReason::offload_malformed) << i;
    }
    EXPECT_EQ(
        judge_value(bytes, {.checksum_start = 33, .checksum_offset = 16}),
        DropReason::offload_malformed
    );
    EXPECT_EQ(
        judge_value(bytes, {.checksum_start = 34, .checksum_offset = 119}),
        DropReason::offload_malformed
    );
}

TEST_F(ValidateOffload, RefusesAFrameThatContradictsTheOffload) {
    struct Lie {
        bool v6;
        std::size_t at;
        std::uint8_t value;
    };
    const std::vector<Lie> lies{
        {false, 12, 0x86},       // EtherType.
        {false, 14, 0x55},       // Version.
        {false, 14, 0x44},       // Header shorter than 20 bytes.
        {false, 14, 0x46},       // Header longer than where the checksum starts.
        {false, 16, 0x01},       // IP length beyond the frame.
        {false, 17, 40},         // IP length that leaves out part of the TCP header's options.
        {false, 20, 0x20},       // More fragments.
        {false, 21, 0x01},       // Fragment offset.
        {false, 23, 17},         // Protocol.
        {false, 34 + 12, 0x40},  // TCP header shorter than 20 bytes.
        {true, 14, 0x45},        // Version.
        {true, 18, 0x01},        // IP length beyond the frame.
        {true, 14 + 6, 17},      // Next header.
        {true, 14 + 6, 44},      // Fragment header.
        {true, 14 + 6, 60}};     // An extension header that is not there.
    for (const Lie& lie : lies) {
        OffloadFrame frame = plain_frame(lie.v6, false, 100);
        frame.tcp_options = 4;
        Bytes bytes = frame.build();
        ASSERT_EQ(judge_value(bytes, frame.offload(10)), DropReason::none);
        bytes.at(lie.at) = lie.value;
        EXPECT_EQ(judge_value(bytes, frame.offload(10)), DropReason::offload_malformed)
            << "byte " << lie.at << " = " << unsigned{lie.value};
    }
}

TEST_F(ValidateOffload, FollowsOnlyExtensionHeadersItCanSegment) {
    OffloadFrame frame = plain_frame(true, false, 100);
    constexpr std::uint8_t kTypes[] = {0, 60, 43, 44, 51, 135, 59, 6};
    for (const std::uint8_t type : kTypes) {
        frame.extension_types = {type};
        frame.extensions = Bytes(8);
        const bool accepted = type == 0 || type == 60 || type == 43;
        EXPECT_EQ(judge_value(frame.build(), frame.offload(10)) == DropReason::none, accepted)
            << unsigned{type};
    }
    // A routing header with segments left: the final destination is not in the IPv6 header.
    frame.extension_types = {43};
    frame.extensions[3] = 1;
    EXPECT_EQ(judge_value(frame.build(), frame.offload(10)), DropReason::offload_malformed);
    EXPECT_EQ(judge_value(frame.build(), frame.offload()), DropReason::none);
    // A chain that jumps over the place where the checksum is said to start.
    frame.extension_types = {60};
    frame.extensions = {0, 1, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(judge_value(frame.build(), frame.offload(10)), DropReason::offload_malformed);
}

TEST_F(ValidateOffload, BoundsTheNumberOfSegments) {
    const OffloadFrame frame = plain_frame(false, false, kGsoSegmentsMax);
    EXPECT_EQ(judge_value(frame.build(), frame.offload(1)), DropReason::offload_malformed);
    EXPECT_EQ(judge_value(frame.build(), frame.offload(2)), DropReason::none);
    const OffloadFrame smaller = plain_frame(false, false, kGsoSegmentsMax - 1);
    EXPECT_EQ(judge_value(smaller.build(), smaller.offload(1)), DropReason::none);
}

TEST_F(FinishChecksum, CompletesTcpAndUdpOverAnySplit) {
    std::mt19937 random(5);
    for (unsigned round = 0; round < 2000; ++round) {
        const OffloadFrame frame = random_frame(random, random() % 3000);
        const Bytes bytes = frame.build();
        rte_mbuf* m = chain(bytes, random_splits(random, 0));
        packet::set_offload(m, frame.offload());
        rte_mbuf* finished = finish_checksum(m, packet_pool());
        ASSERT_NE(finished, nullptr);
        EXPECT_FALSE(packet::has_offload(finished));
        const Bytes result = bytes_of(finished);
        ASSERT_EQ(defect(result, frame), "");
        Bytes expected = bytes;
        put16(expected, frame.checksum_field(), get16(result, frame.checksum_field()));
        EXPECT_EQ(result, expected);
        rte_pktmbuf_free(finished);
    }
}

TEST_F(FinishChecksum, LeavesEthernetPaddingOutOfTheSum) {
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            const OffloadFrame frame = plain_frame(v6, udp, 1);
            Bytes bytes = frame.build();
            const std::size_t length = bytes.size();
            bytes.resize(length + 7, 0xff);
            rte_mbuf* m = chain(bytes);
            packet::set_offload(m, frame.offload());
            ASSERT_EQ(finish_checksum(m, packet_pool()), m);
            Bytes result = bytes_of(m);
            ASSERT_EQ(result.size(), length + 7);
            result.resize(length);
            EXPECT_EQ(defect(result, frame), "");
            rte_pktmbuf_free(m);
        }
    }
}

TEST_F(FinishChecksum, SendsAZeroUdpChecksumAsAllOnesAndAZeroTcpChecksumAsZero) {
    for (const bool udp : {true, false}) {
        OffloadFrame frame = plain_frame(false, udp, 20);
        Bytes bytes = frame.build();
        // Two payload bytes make up for what the sum lacks.
        put16(bytes, frame.header_bytes(), 0);
        const std::uint32_t sum = plain_sum(bytes, frame.l4_offset(), bytes.size(), 0);
        put16(bytes, frame.header_bytes(), 0xffffU - sum);
        rte_mbuf* m = chain(bytes);
        packet::set_offload(m, frame.offload());
        ASSERT_EQ(finish_checksum(m, packet_pool()), m);
        const Bytes result = bytes_of(m);
        EXPECT_EQ(get16(result, frame.checksum_field()), udp ? 0xffffU : 0U);
        EXPECT_EQ(defect(result, frame), "");
        rte_pktmbuf_free(m);
    }
}

TEST_F(FinishChecksum, SumsWhatIsNotIpToTheEndOfTheFrame) {
    Bytes bytes = pattern(77);
    put16(bytes, 12, 0x88b5);
    rte_mbuf* m = chain(bytes, {15, 8});
    packet::set_offload(m, {.checksum_start = 20, .checksum_offset = 4});
    ASSERT_EQ(finish_checksum(m, packet_pool()), m);
    const Bytes result = bytes_of(m);
    EXPECT_EQ(get16(result, 24), ~plain_sum(bytes, 20, 77, 0) & 0xffffU);
    rte_pktmbuf_free(m);
}

TEST_F(FinishChecksum, LeavesTheOtherPacketOfASharedOneWithItsOffload) {
    const OffloadFrame frame = plain_frame(false, false, 3000);
    const Bytes bytes = frame.build();
    rte_mbuf* original = chain(bytes, {100, 500});
    packet::set_offload(original, frame.offload());
    rte_mbuf* copy = packet::share(original, share_pool());
    rte_mbuf* finished = finish_checksum(copy, packet_pool());
    ASSERT_NE(finished, nullptr);
    EXPECT_EQ(defect(bytes_of(finished), frame), "");
    EXPECT_EQ(bytes_of(original), bytes);
    EXPECT_TRUE(packet::has_offload(original));
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(finished);
}

TEST_F(FinishChecksum, FindsTheFieldBehindWhatWasPushed) {
    const OffloadFrame frame = plain_frame(true, true, 300);
    const Bytes bytes = frame.build();
    rte_mbuf* original = chain(bytes);
    packet::set_offload(original, frame.offload());
    rte_mbuf* copy = packet::share(original, share_pool());
    // A VLAN tag: the addresses move to the front, into a buffer of their own.
    copy = packet::push(copy, 4, packet_pool());
    ASSERT_NE(copy, nullptr);
    copy = packet::make_writable(copy, 18, packet_pool());
    ASSERT_NE(copy, nullptr);
    std::memmove(packet::head(copy).data(), packet::head(copy).data() + 4, 12);
    std::memcpy(packet::head(copy).data() + 12, "\x81\x00\x00\x05", 4);
    copy = finish_checksum(copy, packet_pool());
    ASSERT_NE(copy, nullptr);
    OffloadFrame tagged = frame;
    tagged.tags = {0x8100};
    EXPECT_EQ(defect(bytes_of(copy), tagged), "");
    EXPECT_EQ(bytes_of(original), bytes);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(copy);
}

TEST_F(FinishChecksum, ReturnsAPacketWithoutOffloadAsItIs) {
    const DryPool dry;
    const Bytes bytes = pattern(60);
    rte_mbuf* m = chain(bytes);
    rte_mbuf* copy = packet::share(m, share_pool());
    EXPECT_EQ(finish_checksum(copy, dry.get()), copy);
    EXPECT_EQ(bytes_of(copy), bytes);
    rte_pktmbuf_free(m);
    rte_pktmbuf_free(copy);
}

TEST_F(FinishChecksum, LeavesThePacketAloneWhenItFails) {
    const DryPool dry;
    const OffloadFrame frame = plain_frame(false, false, 100);
    const Bytes bytes = frame.build();
    rte_mbuf* original = chain(bytes);
    rte_mbuf* m = packet::share(original, share_pool());
    packet::set_offload(m, frame.offload());
    EXPECT_EQ(finish_checksum(m, dry.get()), nullptr);
    // A super-frame is not for this function.
    packet::set_offload(m, frame.offload(10));
    EXPECT_EQ(finish_checksum(m, packet_pool()), nullptr);
    packet::set_offload(m, {.checksum_start = 150, .checksum_offset = 6});
    EXPECT_EQ(finish_checksum(m, packet_pool()), nullptr);
    EXPECT_TRUE(packet::has_offload(m));
    EXPECT_EQ(bytes_of(m), bytes);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(m);
}

/// Checks one segment against the super-frame's description and appends its payload.
void expect_segment(
    const OffloadFrame& frame, const Bytes& segment, std::size_t index, bool last, Bytes& payload
) {
    ASSERT_EQ(defect(segment, frame), "") << "segment " << index;
    const Bytes super_frame = frame.build();
    const std::size_t ip = frame.ip_offset();
    const std::size_t l4 = frame.l4_offset();
    // All header bytes but those that must differ are those of the super-frame.
    Bytes expected(
        super_frame.begin(), super_frame.begin() + static_cast<std::ptrdiff_t>(frame.header_bytes())
    );
    put16(expected, frame.checksum_field(), get16(segment, frame.checksum_field()));
    put16(expected, ip + (frame.v6 ? 4 : 2), get16(segment, ip + (frame.v6 ? 4 : 2)));
    if (!frame.v6) {
        put16(expected, ip + 4, frame.identification + static_cast<std::uint32_t>(index));
        put16(expected, ip + 10, get16(segment, ip + 10));
    }
    if (frame.udp) {
        put16(expected, l4 + 4, get16(segment, l4 + 4));
    } else {
        put32(expected, l4 + 4, frame.sequence + static_cast<std::uint32_t>(payload.size()));
        const unsigned cleared = (last ? 0U : kFin | kPush) | (index == 0 ? 0U : kCwr);
        expected[l4 + 13] = static_cast<std::uint8_t>(frame.flags & ~cleared);
    }
    const auto header_end = segment.begin() + static_cast<std::ptrdiff_t>(frame.header_bytes());
    EXPECT_EQ(Bytes(segment.begin(), header_end), expected) << "segment " << index;
    payload.insert(payload.end(), header_end, segment.end());
}

/// Segments `m` (taken) and checks all of it.
void expect_segments(const OffloadFrame& frame, rte_mbuf* m, std::size_t gso_bytes) {
    Segmenter segmenter(m, packet_pool(), share_pool());
    const std::size_t count =
        std::max<std::size_t>(1, (frame.payload.size() + gso_bytes - 1) / gso_bytes);
    Bytes payload;
    for (std::size_t index = 0; index < count; ++index) {
        rte_mbuf* segment = segmenter.next();
        ASSERT_NE(segment, nullptr) << index;
        const bool last = index + 1 == count;
        EXPECT_EQ(
            packet::length(segment),
            frame.header_bytes() + (last ? frame.payload.size() - index * gso_bytes : gso_bytes)
        );
        EXPECT_FALSE(packet::has_offload(segment));
        EXPECT_EQ(segment->port, 21);
        // Room for a tunnel's headers, and bytes of its own to write them to.
        EXPECT_TRUE(packet::writable(segment));
        EXPECT_EQ(rte_pktmbuf_headroom(segment), RTE_PKTMBUF_HEADROOM);
        expect_segment(frame, bytes_of(segment), index, last, payload);
        rte_pktmbuf_free(segment);
    }
    EXPECT_EQ(segmenter.next(), nullptr);
    EXPECT_EQ(segmenter.next(), nullptr);
    EXPECT_FALSE(segmenter.failed());
    EXPECT_EQ(payload, frame.payload);
}

TEST_F(SegmenterTest, CutsRandomSuperFramesOverAnySplit) {
    std::mt19937 random(17);
    for (unsigned round = 0; round < 400; ++round) {
        const std::size_t payload_bytes = random() % (round % 20 == 0 ? 64000 : 9000);
        const OffloadFrame frame = random_frame(random, payload_bytes);
        const auto gso_bytes = static_cast<std::uint16_t>(1 + payload_bytes / 60 + random() % 1460);
        rte_mbuf* m = chain(frame.build(), random_splits(random, frame.header_bytes()));
        m->port = 21;
        Offload offload = frame.offload(gso_bytes);
        ASSERT_EQ(validate_offload(m, offload), DropReason::none);
        packet::set_offload(m, offload);
        ASSERT_NO_FATAL_FAILURE(expect_segments(frame, m, gso_bytes));
    }
}

TEST_F(SegmenterTest, CutsTheLargestFrameOfEachKind) {
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            const OffloadFrame frame = plain_frame(v6, udp, 65535 - 60);
            rte_mbuf* m = chain(frame.build(), {kMbufDataBytes});
            m->port = 21;
            packet::set_offload(m, frame.offload(1400));
            ASSERT_NO_FATAL_FAILURE(expect_segments(frame, m, 1400));
        }
    }
}

TEST_F(SegmenterTest, HandlesPayloadsAtTheEdgesOfTheSegmentSize) {
    for (const bool udp : {false, true}) {
        for (const std::size_t payload_bytes : {0U, 1U, 99U, 100U, 101U, 200U, 201U}) {
            OffloadFrame frame = plain_frame(false, udp, payload_bytes);
            frame.flags = kAck | kFin | kPush | kCwr;
            rte_mbuf* m = chain(frame.build());
            m->port = 21;
            packet::set_offload(m, frame.offload(100));
            ASSERT_NO_FATAL_FAILURE(expect_segments(frame, m, 100));
        }
    }
}

TEST_F(SegmenterTest, DoesNotTrustThePseudoHeaderSumOfTheSender) {
    const OffloadFrame frame = plain_frame(false, false, 5000);
    Bytes bytes = frame.build();
    put16(bytes, frame.checksum_field(), 0xdead);
    rte_mbuf* m = chain(bytes);
    packet::set_offload(m, frame.offload(1448));
    Segmenter segmenter(m, packet_pool(), share_pool());
    rte_mbuf* segment = segmenter.next();
    ASSERT_NE(segment, nullptr);
    EXPECT_EQ(defect(bytes_of(segment), frame), "");
    rte_pktmbuf_free(segment);
}

TEST_F(SegmenterTest, LeavesBytesBehindTheIpPacketOut) {
    const OffloadFrame frame = plain_frame(true, false, 2500);
    Bytes bytes = frame.build();
    bytes.resize(bytes.size() + 9, 0xff);
    rte_mbuf* m = chain(bytes);
    m->port = 21;
    packet::set_offload(m, frame.offload(1000));
    ASSERT_NO_FATAL_FAILURE(expect_segments(frame, m, 1000));
}

TEST_F(SegmenterTest, CutsASharedSuperFrameBehindATagThatWasPushed) {
    const OffloadFrame frame = plain_frame(false, false, 5000);
    const Bytes bytes = frame.build();
    rte_mbuf* original = chain(bytes);
    Offload offload = frame.offload(1448);
    ASSERT_EQ(validate_offload(original, offload), DropReason::none);
    packet::set_offload(original, offload);
    rte_mbuf* m = packet::share(original, share_pool());
    m->port = 21;
    m = packet::push(m, 4, packet_pool());
    ASSERT_NE(m, nullptr);
    m = packet::make_writable(m, 18, packet_pool());
    ASSERT_NE(m, nullptr);
    std::memmove(packet::head(m).data(), packet::head(m).data() + 4, 12);
    std::memcpy(packet::head(m).data() + 12, "\x81\x00\x20\x64", 4);
    OffloadFrame tagged = frame;
    tagged.tags = {0x8100};
    ASSERT_NO_FATAL_FAILURE(expect_segments(tagged, m, 1448));
    EXPECT_EQ(bytes_of(original), bytes);
    rte_pktmbuf_free(original);
}

TEST_F(SegmenterTest, SegmentsShareThePayloadAndOutliveTheSegmenter) {
    const OffloadFrame frame = plain_frame(false, false, 6000);
    std::vector<rte_mbuf*> segments;
    rte_mbuf* m = chain(frame.build());
    const std::byte* first_payload = packet::head(m).data() + frame.header_bytes();
    packet::set_offload(m, frame.offload(1000));
    {
        Segmenter segmenter(m, packet_pool(), share_pool());
        while (rte_mbuf* segment = segmenter.next()) {
            segments.push_back(segment);
        }
    }
    ASSERT_EQ(segments.size(), 6U);
    EXPECT_EQ(packet::head(segments[0]->next).data(), first_payload);
    Bytes payload;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        ASSERT_NO_FATAL_FAILURE(
            expect_segment(frame, bytes_of(segments[i]), i, i + 1 == segments.size(), payload)
        );
        rte_pktmbuf_free(segments[i]);
    }
    EXPECT_EQ(payload, frame.payload);
}

TEST_F(SegmenterTest, FailsForGoodAndLosesNothingWhenAPoolRunsDry) {
    const OffloadFrame frame = plain_frame(false, false, 6000);
    for (const bool headers_dry : {false, true}) {
        for (unsigned available = 1; available <= 5; ++available) {
            SmallPool small(available, headers_dry ? RTE_PKTMBUF_HEADROOM + 256 : 0);
            rte_mbuf* m = chain(frame.build());
            packet::set_offload(m, frame.offload(1000));
            std::vector<rte_mbuf*> segments;
            {
                Segmenter segmenter(
                    m,
                    headers_dry ? small.get() : packet_pool(),
                    headers_dry ? share_pool() : small.get()
                );
                while (rte_mbuf* segment = segmenter.next()) {
                    segments.push_back(segment);
                }
                EXPECT_TRUE(segmenter.failed());
                EXPECT_LE(segments.size(), available);
                EXPECT_EQ(segmenter.next(), nullptr);
            }
            Bytes payload;
            for (std::size_t i = 0; i < segments.size(); ++i) {
                ASSERT_NO_FATAL_FAILURE(
                    expect_segment(frame, bytes_of(segments[i]), i, false, payload)
                );
                rte_pktmbuf_free(segments[i]);
            }
        }
    }
}

TEST_F(SegmenterTest, FailsOnWhatIsNoSuperFrame) {
    const OffloadFrame frame = plain_frame(false, false, 100);
    const std::vector<std::optional<Offload>> offloads{
        std::nullopt, frame.offload(), plain_frame(true, false, 0).offload(10)};
    for (const std::optional<Offload>& offload : offloads) {
        rte_mbuf* m = chain(frame.build());
        if (offload) {
            packet::set_offload(m, *offload);
        }
        Segmenter segmenter(m, packet_pool(), share_pool());
        EXPECT_EQ(segmenter.next(), nullptr);
        EXPECT_TRUE(segmenter.failed());
    }
}

TEST_F(SegmenterTest, FailsWhenTheHeadersDoNotFitOneBuffer) {
    SmallPool small(4, RTE_PKTMBUF_HEADROOM + 40);
    const OffloadFrame frame = plain_frame(false, false, 100);
    rte_mbuf* m = chain(frame.build());
    packet::set_offload(m, frame.offload(10));
    Segmenter segmenter(m, small.get(), share_pool());
    EXPECT_EQ(segmenter.next(), nullptr);
    EXPECT_TRUE(segmenter.failed());
}

}  // namespace
}  // namespace culvert::dataplane
