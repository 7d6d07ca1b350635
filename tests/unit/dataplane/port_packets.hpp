// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets of the tests of the ports: from bytes and back, sent and received through a Port, and the
// check that none is left behind. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include <rte_mbuf.h>

#include <gtest/gtest.h>

#include "dataplane/port.hpp"
#include "tests/unit/dataplane/eal_environment.hpp"

namespace culvert::testing {

inline dataplane::PacketPools packet_pools() {
    return {packet_pool(), share_pool()};
}

/// A packet of these bytes, chained where they exceed one buffer of `segment_bytes`.
inline rte_mbuf* make_packet(
    const std::vector<std::uint8_t>& bytes, std::size_t segment_bytes = dataplane::kMbufDataBytes
) {
    rte_mbuf* packet = nullptr;
    std::size_t at = 0;
    do {
        rte_mbuf* segment = rte_pktmbuf_alloc(packet_pool());
        EXPECT_NE(segment, nullptr);
        const std::size_t part = std::min(segment_bytes, bytes.size() - at);
        std::memcpy(
            rte_pktmbuf_append(segment, static_cast<std::uint16_t>(part)), &bytes[at], part
        );
        at += part;
        if (packet == nullptr) {
            packet = segment;
        } else {
            EXPECT_EQ(rte_pktmbuf_chain(packet, segment), 0);
        }
    } while (at < bytes.size());
    return packet;
}

inline std::vector<std::uint8_t> packet_bytes(const rte_mbuf* packet) {
    std::vector<std::uint8_t> bytes;
    unsigned segments = 0;
    for (const rte_mbuf* segment = packet; segment != nullptr; segment = segment->next) {
        const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
        bytes.insert(bytes.end(), data, data + segment->data_len);
        ++segments;
    }
    EXPECT_EQ(bytes.size(), packet->pkt_len);
    EXPECT_EQ(segments, packet->nb_segs);
    return bytes;
}

/// Hands each packet that waits to `consume`, which takes it.
template <class Consume>
void receive_each(dataplane::Port& port, const Consume& consume) {
    std::array<rte_mbuf*, dataplane::kBurstMax> burst{};
    const std::size_t count = port.receive(0, burst);
    for (std::size_t i = 0; i < count; ++i) {
        consume(burst[i]);
    }
}

/// Sends one packet; what the port does not take is freed and false returned.
inline bool transmit_one(dataplane::Port& port, rte_mbuf* packet) {
    if (port.transmit(0, std::span(&packet, 1)) == 1) {
        return true;
    }
    rte_pktmbuf_free(packet);
    return false;
}

/// At its end as many buffers are free as at its start.
class LeakCheck {
public:
    LeakCheck() : before_(rte_mempool_avail_count(packet_pool())) {}
    ~LeakCheck() { EXPECT_EQ(rte_mempool_avail_count(packet_pool()), before_) << "buffers leaked"; }
    LeakCheck(const LeakCheck&) = delete;
    LeakCheck& operator=(const LeakCheck&) = delete;

private:
    unsigned before_;
};

}  // namespace culvert::testing
