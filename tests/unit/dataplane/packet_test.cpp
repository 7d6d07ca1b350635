// SPDX-License-Identifier: GPL-2.0-or-later
//
// Operations on mbuf chains: contents, totals, metadata, and that no shared byte is ever written.
#include "dataplane/packet.hpp"

#include <algorithm>
#include <array>
#include <list>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/dataplane/mbuf_chain.hpp"
#include "tunnels/checksum.hpp"

namespace culvert::dataplane::packet {
namespace {

using culvert::testing::BufferBalanceTest;
using culvert::testing::Bytes;
using culvert::testing::bytes_of;
using culvert::testing::chain;
using culvert::testing::DryPool;
using culvert::testing::packet_pool;
using culvert::testing::pattern;
using culvert::testing::share_pool;

constexpr Offload kTcpOffload{
    .checksum_start = 34,
    .checksum_offset = 16,
    .gso_type = GsoType::tcp4,
    .gso_bytes = 1448,
    .header_bytes = 54};

void expect_offload(const rte_mbuf* m, const Offload& expected) {
    ASSERT_TRUE(has_offload(m));
    const Offload actual = offload(m);
    EXPECT_EQ(actual.checksum_start, expected.checksum_start);
    EXPECT_EQ(actual.checksum_offset, expected.checksum_offset);
    EXPECT_EQ(actual.gso_type, expected.gso_type);
    EXPECT_EQ(actual.gso_bytes, expected.gso_bytes);
    EXPECT_EQ(actual.header_bytes, expected.header_bytes);
}

Bytes without_front(const Bytes& bytes, std::size_t count) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(count), bytes.end()};
}

Bytes first_of(const Bytes& bytes, std::size_t count) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count)};
}

class PacketCopyOut : public BufferBalanceTest {};
class PacketPull : public BufferBalanceTest {};
class PacketTrim : public BufferBalanceTest {};
class PacketMakeWritable : public BufferBalanceTest {};
class PacketPush : public BufferBalanceTest {};
class PacketShare : public BufferBalanceTest {};
class PacketAppendShared : public BufferBalanceTest {};
class PacketSum : public BufferBalanceTest {};
class Packet : public BufferBalanceTest {};

TEST_F(PacketCopyOut, CrossesSegmentsAndRefusesWhatIsNotThere) {
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {10, 0, 25, 65});
    for (std::uint32_t offset = 0; offset <= 100; ++offset) {
        for (std::size_t count = 0; count <= 101 - offset; ++count) {
            std::array<std::byte, 101> out{};
            const bool fits = offset + count <= 100;
            ASSERT_EQ(copy_out(m, offset, std::span(out).first(count)), fits);
            if (fits && count != 0) {
                ASSERT_EQ(std::memcmp(out.data(), &bytes[offset], count), 0);
            }
        }
    }
    EXPECT_FALSE(copy_out(m, 101, {}));
    rte_pktmbuf_free(m);
}

TEST_F(PacketPull, RemovesEveryCountFromAChain) {
    const Bytes bytes = pattern(100);
    for (std::uint32_t count = 0; count <= 100; ++count) {
        rte_mbuf* m = chain(bytes, {10, 20, 0, 30, 40});
        ASSERT_TRUE(pull(m, count));
        ASSERT_EQ(bytes_of(m), without_front(bytes, count));
        ASSERT_EQ(head(m).empty(), count == 100);
        rte_pktmbuf_free(m);
    }
}

TEST_F(PacketPull, RefusesMoreThanThePacketHas) {
    const Bytes bytes = pattern(30);
    rte_mbuf* m = chain(bytes, {10, 20});
    set_offload(m, kTcpOffload);
    EXPECT_FALSE(pull(m, 31));
    EXPECT_EQ(bytes_of(m), bytes);
    expect_offload(m, kTcpOffload);
    rte_pktmbuf_free(m);
}

TEST_F(PacketPull, FreesEmptiedSegmentsAndKeepsTheFirstMbuf) {
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {10, 20, 30, 40});
    const unsigned before = rte_mempool_in_use_count(packet_pool());
    ASSERT_TRUE(pull(m, 35));
    EXPECT_EQ(m->nb_segs, 2);
    // The emptied segment is free. The third one's buffer lives on under the first mbuf.
    EXPECT_EQ(rte_mempool_in_use_count(packet_pool()), before - 1);
    ASSERT_TRUE(pull(m, 65));
    EXPECT_EQ(m->nb_segs, 1);
    EXPECT_EQ(length(m), 0U);
    rte_pktmbuf_free(m);
}

TEST_F(PacketPull, KeepsMetadataWhenTheFirstSegmentIsUsedUp) {
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {30, 70});
    m->port = 42;
    m->hash.rss = 0x1234;
    set_offload(m, kTcpOffload);
    ASSERT_TRUE(pull(m, 30));
    EXPECT_EQ(bytes_of(m), without_front(bytes, 30));
    EXPECT_EQ(head(m).size(), 70U);
    EXPECT_EQ(m->port, 42);
    EXPECT_EQ(m->hash.rss, 0x1234U);
    Offload expected = kTcpOffload;
    expected.checksum_start = 4;
    expected.header_bytes = 24;
    expect_offload(m, expected);
    rte_pktmbuf_free(m);
}

TEST_F(PacketPull, LeavesTheOtherPacketOfASharedOneWhole) {
    const Bytes bytes = pattern(100);
    rte_mbuf* original = chain(bytes, {30, 70});
    rte_mbuf* copy = share(original, share_pool());
    ASSERT_TRUE(pull(copy, 30));
    EXPECT_EQ(bytes_of(copy), without_front(bytes, 30));
    EXPECT_EQ(head(copy).size(), 70U);
    EXPECT_EQ(bytes_of(original), bytes);
    // The first segment of the original is in use by a third packet: its mbuf cannot be pointed
    // elsewhere, so the head stays empty, and make_writable gathers the bytes.
    rte_mbuf* third = share(original, share_pool());
    ASSERT_TRUE(pull(original, 30));
    EXPECT_EQ(bytes_of(original), without_front(bytes, 30));
    original = make_writable(original, 20, packet_pool());
    ASSERT_NE(original, nullptr);
    EXPECT_GE(head(original).size(), 20U);
    EXPECT_EQ(bytes_of(original), without_front(bytes, 30));
    EXPECT_EQ(bytes_of(third), bytes);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(copy);
    EXPECT_EQ(bytes_of(third), bytes);
    rte_pktmbuf_free(third);
}

TEST_F(PacketPull, ShiftsAnOffloadThatLiesBehindAndDiscardsOneThatDoesNot) {
    for (const std::uint32_t count : {0U, 1U, 33U, 34U, 35U, 52U, 53U}) {
        rte_mbuf* m = chain(pattern(100));
        set_offload(m, kTcpOffload);
        ASSERT_TRUE(pull(m, count));
        if (count <= 34) {
            Offload expected = kTcpOffload;
            expected.checksum_start = static_cast<std::uint16_t>(34 - count);
            expected.header_bytes = static_cast<std::uint16_t>(54 - count);
            expect_offload(m, expected);
        } else {
            EXPECT_FALSE(has_offload(m)) << count;
            EXPECT_EQ(m->tx_offload, 0U);
        }
        rte_pktmbuf_free(m);
    }
}

TEST_F(PacketTrim, CutsToEveryLengthAndFreesTheRest) {
    const Bytes bytes = pattern(100);
    for (std::uint32_t count = 0; count <= 101; ++count) {
        rte_mbuf* m = chain(bytes, {10, 20, 0, 30, 40});
        trim(m, count);
        ASSERT_EQ(bytes_of(m), first_of(bytes, std::min<std::size_t>(count, 100)));
        ASSERT_EQ(m->nb_segs, count <= 10 ? 1 : count <= 30 ? 2 : count <= 60 ? 4 : 5);
        rte_pktmbuf_free(m);
    }
}

TEST_F(PacketTrim, LeavesTheOtherPacketOfASharedOneWhole) {
    const Bytes bytes = pattern(100);
    rte_mbuf* original = chain(bytes, {30, 70});
    rte_mbuf* copy = share(original, share_pool());
    trim(original, 20);
    EXPECT_EQ(bytes_of(original), first_of(bytes, 20));
    EXPECT_EQ(bytes_of(copy), bytes);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(copy);
}

TEST_F(PacketMakeWritable, ReturnsTheSamePacketWhenNothingIsToDo) {
    const DryPool dry;
    rte_mbuf* m = chain(pattern(100), {60, 40});
    EXPECT_EQ(make_writable(m, 60, dry.get()), m);
    EXPECT_EQ(m->nb_segs, 2);
    rte_pktmbuf_free(m);
}

TEST_F(PacketMakeWritable, GathersIntoTheFirstSegmentWithoutANewBuffer) {
    const DryPool dry;
    const Bytes bytes = pattern(100);
    for (std::uint32_t count = 10; count <= 100; ++count) {
        rte_mbuf* m = chain(bytes, {10, 20, 0, 30, 40});
        ASSERT_EQ(make_writable(m, count, dry.get()), m);
        ASSERT_GE(head(m).size(), count);
        ASSERT_EQ(bytes_of(m), bytes);
        rte_pktmbuf_free(m);
    }
}

TEST_F(PacketMakeWritable, CopiesSharedBytesAndMovesTheMetadata) {
    const Bytes bytes = pattern(100);
    for (std::uint32_t count = 1; count <= 100; ++count) {
        rte_mbuf* original = chain(bytes, {10, 20, 30, 40});
        original->port = 9;
        set_offload(original, kTcpOffload);
        rte_mbuf* copy = share(original, share_pool());
        rte_mbuf* own = make_writable(copy, count, packet_pool());
        ASSERT_NE(own, nullptr);
        ASSERT_TRUE(writable(own));
        ASSERT_GE(head(own).size(), count);
        ASSERT_GE(rte_pktmbuf_headroom(own), RTE_PKTMBUF_HEADROOM);
        ASSERT_EQ(own->port, 9);
        expect_offload(own, kTcpOffload);
        ASSERT_EQ(bytes_of(own), bytes);
        std::fill_n(head(own).begin(), count, std::byte{0xee});
        ASSERT_EQ(bytes_of(original), bytes);
        // The original is the shared one's owner: it must not write either.
        rte_mbuf* owner = make_writable(original, count, packet_pool());
        ASSERT_NE(owner, nullptr);
        std::fill_n(head(owner).begin(), count, std::byte{0xdd});
        ASSERT_EQ(head(own)[0], std::byte{0xee});
        ASSERT_EQ(without_front(bytes_of(own), count), without_front(bytes, count));
        rte_pktmbuf_free(owner);
        rte_pktmbuf_free(own);
    }
}

TEST_F(PacketMakeWritable, LeavesThePacketAloneWhenItFails) {
    const DryPool dry;
    const Bytes bytes = pattern(5000);
    rte_mbuf* m = chain(bytes, {10, 20, 2000});
    set_offload(m, kTcpOffload);
    rte_mbuf* copy = share(m, share_pool());
    EXPECT_EQ(make_writable(copy, 5001, packet_pool()), nullptr);
    EXPECT_EQ(make_writable(copy, 40, dry.get()), nullptr);
    // More than a buffer holds.
    EXPECT_EQ(make_writable(copy, 2049, packet_pool()), nullptr);
    EXPECT_EQ(bytes_of(copy), bytes);
    EXPECT_EQ(bytes_of(m), bytes);
    expect_offload(copy, kTcpOffload);
    rte_pktmbuf_free(m);
    rte_pktmbuf_free(copy);
}

TEST_F(PacketPush, UsesTheHeadroomOfAnOwnBuffer) {
    const DryPool dry;
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {60, 40});
    set_offload(m, kTcpOffload);
    ASSERT_EQ(push(m, RTE_PKTMBUF_HEADROOM, dry.get()), m);
    EXPECT_EQ(length(m), 100U + RTE_PKTMBUF_HEADROOM);
    EXPECT_EQ(without_front(bytes_of(m), RTE_PKTMBUF_HEADROOM), bytes);
    Offload expected = kTcpOffload;
    expected.checksum_start = 34 + RTE_PKTMBUF_HEADROOM;
    expected.header_bytes = 54 + RTE_PKTMBUF_HEADROOM;
    expect_offload(m, expected);
    rte_pktmbuf_free(m);
}

TEST_F(PacketPush, ChainsAFreshBufferWithHeadroomWhenThereIsNone) {
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {60, 40});
    m->port = 3;
    m->vlan_tci = 77;
    set_offload(m, {.checksum_start = 34, .checksum_offset = 6});
    rte_mbuf* pushed = push(m, RTE_PKTMBUF_HEADROOM + 1, packet_pool());
    ASSERT_NE(pushed, nullptr);
    EXPECT_NE(pushed, m);
    EXPECT_EQ(pushed->nb_segs, 3);
    EXPECT_EQ(head(pushed).size(), RTE_PKTMBUF_HEADROOM + 1U);
    EXPECT_GE(rte_pktmbuf_headroom(pushed), RTE_PKTMBUF_HEADROOM);
    EXPECT_TRUE(writable(pushed));
    EXPECT_EQ(pushed->port, 3);
    EXPECT_EQ(pushed->vlan_tci, 77);
    // header_bytes is 0, not set: it does not become a length.
    expect_offload(pushed, {.checksum_start = 34 + RTE_PKTMBUF_HEADROOM + 1, .checksum_offset = 6});
    EXPECT_FALSE(has_offload(m));
    EXPECT_EQ(without_front(bytes_of(pushed), RTE_PKTMBUF_HEADROOM + 1), bytes);
    rte_pktmbuf_free(pushed);
}

TEST_F(PacketPush, NeverWritesInFrontOfSharedBytes) {
    const Bytes bytes = pattern(100);
    rte_mbuf* original = chain(bytes, {60, 40});
    rte_mbuf* copy = share(original, share_pool());
    // Both the owner, whose headroom may be bytes of the other packet, and the indirect one.
    ASSERT_TRUE(pull(original, 14));
    for (rte_mbuf** m : {&original, &copy}) {
        *m = push(*m, 14, packet_pool());
        ASSERT_NE(*m, nullptr);
        std::fill_n(head(*m).begin(), 14, std::byte{0xee});
    }
    EXPECT_EQ(without_front(bytes_of(copy), 14), bytes);
    EXPECT_EQ(without_front(bytes_of(original), 14), without_front(bytes, 14));
    EXPECT_EQ(original->nb_segs, 3);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(copy);
}

TEST_F(PacketPush, LeavesThePacketAloneWhenItFails) {
    const DryPool dry;
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {60, 40});
    set_offload(m, kTcpOffload);
    EXPECT_EQ(push(m, RTE_PKTMBUF_HEADROOM + 1, dry.get()), nullptr);
    EXPECT_EQ(push(m, kMbufDataBytes + 1, packet_pool()), nullptr);
    EXPECT_EQ(bytes_of(m), bytes);
    expect_offload(m, kTcpOffload);
    rte_pktmbuf_free(m);
}

TEST_F(PacketShare, HasTheSameBytesAndMetadataAndOutlivesTheOriginal) {
    const Bytes bytes = pattern(5000);
    rte_mbuf* original = chain(bytes, {100, 2000});
    original->port = 5;
    original->packet_type = 6;
    set_offload(original, kTcpOffload);
    EXPECT_TRUE(writable(original));
    rte_mbuf* copy = share(original, share_pool());
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(head(copy).data(), head(original).data());
    EXPECT_FALSE(writable(original));
    EXPECT_FALSE(writable(copy));
    EXPECT_EQ(copy->port, 5);
    EXPECT_EQ(copy->packet_type, 6U);
    expect_offload(copy, kTcpOffload);
    // The offloads are independent.
    clear_offload(original);
    expect_offload(copy, kTcpOffload);
    rte_mbuf* second = share(copy, share_pool());
    ASSERT_NE(second, nullptr);
    rte_pktmbuf_free(original);
    rte_pktmbuf_free(copy);
    EXPECT_EQ(bytes_of(second), bytes);
    expect_offload(second, kTcpOffload);
    rte_pktmbuf_free(second);
}

TEST_F(PacketShare, FreesWhatItTookWhenThePoolRunsDry) {
    culvert::testing::SmallPool two(2, 0);
    const Bytes bytes = pattern(100);
    rte_mbuf* m = chain(bytes, {10, 20, 70});
    EXPECT_EQ(share(m, two.get()), nullptr);
    EXPECT_EQ(rte_mempool_in_use_count(two.get()), 0U);
    EXPECT_EQ(bytes_of(m), bytes);
    EXPECT_TRUE(writable(m));
    rte_pktmbuf_free(m);
}

TEST_F(PacketShare, FollowsExternalBuffers) {
    Bytes storage = pattern(300);
    bool freed = false;
    rte_mbuf_ext_shared_info shared_info{};
    shared_info.free_cb = [](void*, void* flag) { *static_cast<bool*>(flag) = true; };
    shared_info.fcb_opaque = &freed;
    rte_mbuf_ext_refcnt_set(&shared_info, 1);
    rte_mbuf* m = rte_pktmbuf_alloc(packet_pool());
    rte_pktmbuf_attach_extbuf(m, storage.data(), RTE_BAD_IOVA, 300, &shared_info);
    ASSERT_NE(rte_pktmbuf_append(m, 200), nullptr);
    const Bytes bytes = bytes_of(m);
    EXPECT_FALSE(writable(m));

    rte_mbuf* copy = share(m, share_pool());
    ASSERT_NE(copy, nullptr);
    rte_mbuf* own = make_writable(m, 50, packet_pool());
    ASSERT_NE(own, nullptr);
    std::fill_n(head(own).begin(), 50, std::byte{0xee});
    EXPECT_EQ(bytes_of(copy), bytes);
    EXPECT_EQ(without_front(bytes_of(own), 50), without_front(bytes, 50));
    rte_pktmbuf_free(own);
    EXPECT_FALSE(freed);
    rte_pktmbuf_free(copy);
    EXPECT_TRUE(freed);
}

TEST_F(PacketAppendShared, TakesRangesInTurnWithoutCopyingThem) {
    const Bytes bytes = pattern(100);
    rte_mbuf* source = chain(bytes, {10, 20, 0, 30, 40});
    set_offload(source, kTcpOffload);
    source->port = 8;
    Cursor cursor = cursor_at(source, 5);
    std::uint32_t at = 5;
    for (const std::uint32_t count : {5U, 1U, 19U, 0U, 45U, 25U}) {
        rte_mbuf* m = create(source, 3, packet_pool());
        ASSERT_NE(m, nullptr);
        EXPECT_EQ(m->port, 8);
        EXPECT_FALSE(has_offload(m));
        ASSERT_TRUE(append_shared(m, cursor, count, share_pool()));
        EXPECT_EQ(
            without_front(bytes_of(m), 3),
            Bytes(bytes.begin() + at, bytes.begin() + at + static_cast<std::ptrdiff_t>(count))
        );
        for (const rte_mbuf* segment = m->next; segment != nullptr; segment = segment->next) {
            EXPECT_FALSE(RTE_MBUF_DIRECT(segment));
            EXPECT_FALSE(has_offload(segment));
        }
        at += count;
        rte_pktmbuf_free(m);
    }
    EXPECT_EQ(at, 100U);
    rte_pktmbuf_free(source);
}

TEST_F(PacketSum, AgreesWithTheSumOfTheFlatBytesForOddSplits) {
    const Bytes bytes = pattern(90);
    rte_mbuf* m = chain(bytes, {7, 0, 13, 1, 1, 22, 46});
    for (std::uint32_t offset = 0; offset <= 90; ++offset) {
        for (std::uint32_t count = 0; count <= 90 - offset; ++count) {
            std::uint32_t expected = 0;
            for (std::uint32_t i = 0; i < count; ++i) {
                const std::uint32_t byte = bytes[offset + i];
                expected += i % 2 == 0 ? byte << 8U : byte;
            }
            while (expected > 0xffff) {
                expected = (expected & 0xffffU) + (expected >> 16U);
            }
            const std::uint16_t actual = tunnels::checksum_fold(sum(m, offset, count));
            ASSERT_EQ(__builtin_bswap16(actual), expected) << offset << " " << count;
        }
    }
    rte_pktmbuf_free(m);
}

/// Packets beside byte vectors. Whatever was made writable or pushed is overwritten at once, so
/// that a byte that another packet still shares shows up there.
TEST_F(Packet, BehavesLikeByteVectorsOverRandomOperations) {
    struct Pair {
        rte_mbuf* m;
        Bytes bytes;
    };
    std::mt19937 random(11);
    std::list<Pair> packets;
    const auto scribble = [&](Pair& pair, std::uint32_t count) {
        ASSERT_TRUE(writable(pair.m));
        ASSERT_GE(head(pair.m).size(), count);
        for (std::uint32_t i = 0; i < count; ++i) {
            pair.bytes[i] = static_cast<std::uint8_t>(random());
            head(pair.m)[i] = std::byte{pair.bytes[i]};
        }
    };
    for (unsigned step = 0; step < 8000; ++step) {
        if (packets.size() < 3) {
            const Bytes bytes = pattern(random() % 400, step);
            std::vector<std::size_t> lengths(random() % 6);
            std::generate(lengths.begin(), lengths.end(), [&] { return random() % 120; });
            packets.push_back({chain(bytes, lengths), bytes});
        }
        auto chosen = packets.begin();
        std::advance(chosen, static_cast<std::ptrdiff_t>(random() % packets.size()));
        Pair& pair = *chosen;
        const auto count = static_cast<std::uint32_t>(
            random() % (std::min<std::size_t>(pair.bytes.size(), 90) + 1)
        );
        switch (random() % 7) {
        case 0:
            ASSERT_TRUE(pull(pair.m, count));
            pair.bytes = without_front(pair.bytes, count);
            break;
        case 1:
            trim(pair.m, static_cast<std::uint32_t>(pair.bytes.size()) - count / 4);
            pair.bytes = first_of(pair.bytes, pair.bytes.size() - count / 4);
            break;
        case 2:
        case 3: {
            pair.m = push(pair.m, 1 + count, packet_pool());
            ASSERT_NE(pair.m, nullptr);
            pair.bytes.insert(pair.bytes.begin(), 1 + count, 0);
            scribble(pair, 1 + count);
            break;
        }
        case 4:
            pair.m = make_writable(pair.m, count, packet_pool());
            ASSERT_NE(pair.m, nullptr);
            if (count != 0) {
                scribble(pair, count);
            }
            break;
        case 5:
            if (packets.size() < 12) {
                rte_mbuf* copy = share(pair.m, share_pool());
                ASSERT_NE(copy, nullptr);
                packets.push_back({copy, pair.bytes});
            }
            break;
        default:
            if (pair.bytes.size() > 4000 || random() % 4 == 0) {
                rte_pktmbuf_free(pair.m);
                packets.erase(chosen);
            }
            break;
        }
        for (const Pair& each : packets) {
            ASSERT_EQ(bytes_of(each.m), each.bytes) << "step " << step;
        }
    }
    for (const Pair& each : packets) {
        rte_pktmbuf_free(each.m);
    }
}

}  // namespace
}  // namespace culvert::dataplane::packet
