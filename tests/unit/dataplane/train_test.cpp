// SPDX-License-Identifier: GPL-2.0-or-later
//
// UDP super-frames that arrive: those for a tunnel endpoint are cut and each packet in them is
// carried on, all others stay whole.

#include <array>
#include <utility>

#include "dataplane/bundle.hpp"
#include "dataplane/train.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

namespace {

using dataplane::Bundle;
using dataplane::GsoType;
using dataplane::Offload;

class TrainTest : public TunnelPath {
protected:
    /// The tunnel packets as one UDP super-frame, as a kernel hands it over.
    rte_mbuf* make_train(const std::vector<Frame>& frames) {
        std::vector<rte_mbuf*> packets;
        for (const Frame& frame : frames) {
            packets.push_back(make_packet(frame));
            dataplane::packet::set_encapsulated(packets.back());
        }
        Bundle bundle;
        dataplane::gather(packets, true, bundle);
        EXPECT_EQ(bundle.packets, packets.size());
        std::array<iovec, dataplane::kBundleVectorsMax> vectors{};
        const std::size_t count = dataplane::write_vectors(bundle, packets, vectors);
        rte_mbuf* train = nullptr;
        for (const iovec& vector : std::span(vectors).subspan(1, count - 1)) {
            rte_mbuf* segment = rte_pktmbuf_alloc(packet_pool());
            char* data = rte_pktmbuf_append(segment, static_cast<std::uint16_t>(vector.iov_len));
            std::memcpy(data, vector.iov_base, vector.iov_len);
            if (train == nullptr) {
                train = segment;
            } else {
                EXPECT_EQ(rte_pktmbuf_chain(train, segment), 0);
            }
        }
        rte_pktmbuf_free_bulk(packets.data(), static_cast<unsigned>(packets.size()));
        // What a port hands over is contiguous in front.
        train = dataplane::packet::make_writable(
            train, std::min(dataplane::packet::length(train), 200U), packet_pool()
        );
        EXPECT_EQ(dataplane::parse_virtio_header(bundle.virtio, 0, train), DropReason::none);
        return train;
    }

    void receive_packets(std::vector<rte_mbuf*> packets) {
        dataplane::process_received(*context, kUplink, packets);
        dataplane::flush(*context);
    }

    /// Frames of the same size, the last one shorter.
    static std::vector<Frame> inner_frames(std::size_t count) {
        std::vector<Frame> frames;
        for (std::size_t i = 0; i < count; ++i) {
            IpSpec spec;
            spec.bytes = i + 1 == count ? 90 : 200;
            spec.source_port = static_cast<std::uint16_t>(1000 + i);
            frames.push_back(inner_frame(spec));
        }
        return frames;
    }

    std::vector<Frame> wrap_all(std::uint16_t port, const std::vector<Frame>& frames) {
        std::vector<Frame> wrapped;
        for (const Frame& frame : frames) {
            wrapped.push_back(wrap(port, frame));
        }
        return wrapped;
    }
};

TEST_F(TrainTest, EveryPacketOfATrainReachesItsPort) {
    for (const std::string_view type : {"vxlan", "geneve"}) {
        for (const bool v6 : {false, true}) {
            const std::uint16_t port = add({.type = type, .v6 = v6, .key = 321});
            admit_from(port);
            const std::vector<Frame> frames = inner_frames(70);
            receive_packets({make_train(wrap_all(port, frames))});
            EXPECT_EQ(devices[kVif1]->take_sent(), frames) << type << (v6 ? " over IPv6" : "");
            EXPECT_EQ(counters->ports[port].rx_packets.read(), frames.size());
        }
    }
    EXPECT_EQ(dropped_in_all(), 0U);
}

TEST_F(TrainTest, PacketsAroundATrainKeepTheirPlaces) {
    const std::uint16_t port = add({.type = "vxlan", .key = 321});
    admit_from(port);
    const std::vector<Frame> frames = inner_frames(6);
    const std::vector<Frame> wrapped = wrap_all(port, frames);
    receive_packets(
        {make_packet(wrapped[0]),
         make_train({wrapped[1], wrapped[2]}),
         make_train({wrapped[3], wrapped[4]}),
         make_packet(wrapped[5])}
    );
    EXPECT_EQ(devices[kVif1]->take_sent(), frames);
}

TEST_F(TrainTest, APacketOfAnUnknownTunnelIsDroppedAlone) {
    const std::uint16_t port = add({.type = "vxlan", .key = 321});
    admit_from(port);
    const std::vector<Frame> frames = inner_frames(3);
    std::vector<Frame> wrapped = wrap_all(port, frames);
    wrapped[1][14 + 20 + 8 + 6] = std::byte{0x77};  // Its VNI.
    receive_packets({make_train(wrapped)});
    EXPECT_EQ(devices[kVif1]->take_sent(), (std::vector<Frame>{frames[0], frames[2]}));
    EXPECT_EQ(dropped(DropReason::tunnel_unknown_key, kUplink), 1U);
}

TEST_F(TrainTest, AUdpSuperFrameForNoTunnelStaysWhole) {
    const std::uint16_t port = add({.type = "vxlan", .key = 321});
    snapshot.ports[kLocal].carries_offloads = true;
    insert_flow(
        {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
    );
    std::vector<Frame> wrapped = wrap_all(port, inner_frames(3));
    for (Frame& frame : wrapped) {
        set_word(frame, 14 + 20 + 2, 4433);
    }
    receive_packets({make_train(wrapped)});
    EXPECT_EQ(devices[kLocal]->take_sent().size(), 1U);
    EXPECT_EQ(devices[kLocal]->last_offload.gso_type, GsoType::udp_l4);
}

TEST_F(TrainTest, ATrainForAnotherHostStaysWhole) {
    const std::uint16_t port = add({.type = "vxlan", .key = 321});
    snapshot.ports[kUplink2].carries_offloads = true;
    insert_flow(
        {.in_port = kUplink, .destination = mac(0x55), .source = mac(0xaa)}, forward(kUplink2)
    );
    std::vector<Frame> wrapped = wrap_all(port, inner_frames(3));
    for (Frame& frame : wrapped) {
        frame[5] = std::byte{0x55};
    }
    receive_packets({make_train(wrapped)});
    // Cutting it would have been harmless, but it is a stranger's and may be of any size.
    EXPECT_EQ(devices[kUplink2]->take_sent().size(), 1U);
    EXPECT_EQ(devices[kUplink2]->last_offload.gso_type, GsoType::udp_l4);
}

TEST_F(TrainTest, WhatNoBufferIsFreeForIsCounted) {
    const std::uint16_t port = add({.type = "vxlan", .key = 321});
    admit_from(port);
    rte_mbuf* train = make_train(wrap_all(port, inner_frames(3)));
    std::vector<rte_mbuf*> taken;
    while (rte_mbuf* packet = rte_pktmbuf_alloc(share_pool())) {
        taken.push_back(packet);
    }
    receive_packets({train});
    EXPECT_TRUE(devices[kVif1]->take_sent().empty());
    EXPECT_EQ(dropped(DropReason::no_buffer, kUplink), 1U);
    EXPECT_EQ(counters->ports[kUplink].rx_packets.read(), 1U);
    rte_pktmbuf_free_bulk(taken.data(), static_cast<unsigned>(taken.size()));
}

}  // namespace

}  // namespace culvert::testing
