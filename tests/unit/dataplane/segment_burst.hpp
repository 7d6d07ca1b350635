// SPDX-License-Identifier: GPL-2.0-or-later
//
// The segments of a super-frame as a burst, for tests of what gathers them again. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/offload.hpp"
#include "tests/unit/dataplane/offload_frames.hpp"
#include "tests/unit/dataplane/port_packets.hpp"

namespace culvert::testing {

inline constexpr std::uint16_t kGsoBytes = 100;

/// Packets that are freed at the end.
class Burst {
public:
    Burst() = default;
    /// The segments of a super-frame, as the segmenter finishes them.
    explicit Burst(const OffloadFrame& frame, std::uint16_t gso_bytes = kGsoBytes) {
        rte_mbuf* super_frame = make_packet(frame.build());
        dataplane::Offload offload = frame.offload(gso_bytes);
        EXPECT_EQ(dataplane::validate_offload(super_frame, offload), dataplane::DropReason::none);
        dataplane::packet::set_offload(super_frame, offload);
        dataplane::Segmenter segments(super_frame, packet_pool(), share_pool());
        while (rte_mbuf* segment = segments.next()) {
            if (frame.udp) {
                dataplane::packet::set_encapsulated(segment);
            }
            packets.push_back(segment);
        }
    }
    ~Burst() { rte_pktmbuf_free_bulk(packets.data(), static_cast<unsigned>(packets.size())); }
    Burst(const Burst&) = delete;
    Burst& operator=(const Burst&) = delete;

    /// Puts other bytes in the place of a packet.
    void replace(std::size_t index, const Bytes& bytes) {
        const bool encapsulated = dataplane::packet::is_encapsulated(packets.at(index));
        rte_pktmbuf_free(packets[index]);
        packets[index] = make_packet(bytes);
        if (encapsulated) {
            dataplane::packet::set_encapsulated(packets[index]);
        }
    }

    std::vector<rte_mbuf*> packets;
};

}  // namespace culvert::testing
