// SPDX-License-Identifier: GPL-2.0-or-later
//
// Chains of chosen segment lengths, their bytes, and pools of a chosen size, for the tests of
// packet.cpp and offload.cpp. From the test's main thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "dataplane/packet.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::testing {

using Bytes = std::vector<std::uint8_t>;

/// Bytes that differ from their neighbours, so that a displaced copy is noticed.
inline Bytes pattern(std::size_t count, unsigned seed = 1) {
    Bytes bytes(count);
    for (std::size_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<std::uint8_t>((i * 37 + i / 251 + std::size_t{seed} * 101) & 0xffU);
    }
    return bytes;
}

/// A packet of `bytes` in segments of these lengths (0 is allowed); the last one takes what is left
/// over, further ones as far as a buffer does not hold it.
inline rte_mbuf* chain(
    const Bytes& bytes,
    const std::vector<std::size_t>& lengths = {},
    rte_mempool* pool = packet_pool()
) {
    rte_mbuf* head = nullptr;
    rte_mbuf* last = nullptr;
    std::size_t at = 0;
    std::size_t index = 0;
    while (head == nullptr || at < bytes.size() || index < lengths.size()) {
        rte_mbuf* segment = rte_pktmbuf_alloc(pool);
        if (segment == nullptr) {
            ADD_FAILURE() << "The pool of the test is too small.";
            return head;
        }
        const std::size_t wanted = index < lengths.size() ? lengths[index] : bytes.size() - at;
        const std::size_t room = std::min(wanted, bytes.size() - at);
        const auto length =
            static_cast<std::uint16_t>(std::min<std::size_t>(room, rte_pktmbuf_tailroom(segment)));
        if (length != 0) {
            std::memcpy(rte_pktmbuf_mtod(segment, void*), bytes.data() + (at), length);
        }
        segment->data_len = length;
        at += length;
        ++index;
        if (head == nullptr) {
            head = segment;
            head->pkt_len = length;
        } else {
            last->next = segment;
            head->pkt_len += length;
            ++head->nb_segs;
        }
        last = segment;
    }
    return head;
}

/// The bytes of a packet; also checks that its totals agree with its chain.
inline Bytes bytes_of(const rte_mbuf* m) {
    Bytes bytes;
    unsigned segments = 0;
    for (const rte_mbuf* segment = m; segment != nullptr; segment = segment->next) {
        const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
        bytes.insert(bytes.end(), data, data + segment->data_len);
        ++segments;
    }
    EXPECT_EQ(bytes.size(), m->pkt_len);
    EXPECT_EQ(segments, m->nb_segs);
    return bytes;
}

/// A pool of exactly `count` buffers.
class SmallPool {
public:
    explicit SmallPool(
        unsigned count, std::uint16_t data_room = RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes
    ) {
        static unsigned number = 0;
        const std::string name = "small_pool_" + std::to_string(number++);
        pool_ = EalEnvironment::create_pool(name.c_str(), count, data_room);
        EXPECT_NE(pool_, nullptr);
    }
    ~SmallPool() {
        EXPECT_EQ(rte_mempool_in_use_count(pool_), 0U);
        rte_mempool_free(pool_);
    }
    SmallPool(const SmallPool&) = delete;
    SmallPool& operator=(const SmallPool&) = delete;

    [[nodiscard]] rte_mempool* get() const noexcept { return pool_; }

private:
    rte_mempool* pool_ = nullptr;
};

/// A pool from which nothing can be taken.
class DryPool {
public:
    DryPool() : pool_(1), taken_(rte_pktmbuf_alloc(pool_.get())) {}
    ~DryPool() { rte_pktmbuf_free(taken_); }
    DryPool(const DryPool&) = delete;
    DryPool& operator=(const DryPool&) = delete;

    [[nodiscard]] rte_mempool* get() const noexcept { return pool_.get(); }

private:
    SmallPool pool_;
    rte_mbuf* taken_;
};

/// Fails a test that leaves a buffer behind or frees one twice.
class BufferBalanceTest : public ::testing::Test {
protected:
    void SetUp() override {
        packets_before_ = rte_mempool_avail_count(packet_pool());
        shares_before_ = rte_mempool_avail_count(share_pool());
    }
    void TearDown() override {
        EXPECT_EQ(rte_mempool_avail_count(packet_pool()), packets_before_);
        EXPECT_EQ(rte_mempool_avail_count(share_pool()), shares_before_);
    }

private:
    unsigned packets_before_ = 0;
    unsigned shares_before_ = 0;
};

}  // namespace culvert::testing
