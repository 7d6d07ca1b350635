// SPDX-License-Identifier: GPL-2.0-or-later
//
// A TCP super-frame of 44 segments cut by Segmenter, for each segment, beside rte_gso. rte_gso
// leaves checksums to a network card; a tunnel hides the packet from the card, so that the rival
// that does the same job has DPDK compute them. Allocating the super-frame and freeing the segments
// is not timed. Main thread only.
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "bench/benches.hpp"
#include "bench/environment.hpp"
#include "bench/frames.hpp"
#include "bench/measure.hpp"
#include "dataplane/offload.hpp"

namespace culvert::bench {

namespace {

using dataplane::Segmenter;

constexpr std::uint16_t kSegmentPayload = 1448;
constexpr std::size_t kSegments = 44;
constexpr std::uint16_t kSegmentsRoom = 64;  // One too many would be noticed.
constexpr std::uint16_t kEthernetBytes = sizeof(tunnels::EthernetHeader);
constexpr std::uint16_t kIpBytes = sizeof(tunnels::Ipv4Header);
constexpr std::uint16_t kTcpBytes = sizeof(rte_tcp_hdr);
constexpr std::uint16_t kHeaderBytes = kEthernetBytes + kIpBytes + kTcpBytes;
constexpr std::size_t kFrameBytes = kHeaderBytes + kSegments * kSegmentPayload;
constexpr std::uint8_t kProtocolTcp = 6;

/// Ethernet, IPv4 and TCP of the super-frame.
Frame headers() {
    Frame frame(kFrameBytes);
    write_ipv4(frame, kProtocolTcp, 1);
    rte_tcp_hdr tcp{};
    tcp.src_port = RTE_BE16(40000);
    tcp.dst_port = RTE_BE16(443);
    tcp.data_off = (kTcpBytes / 4) << 4U;
    tcp.tcp_flags = RTE_TCP_ACK_FLAG;
    std::memcpy(&frame[kEthernetBytes + kIpBytes], &tcp, sizeof tcp);
    frame.resize(kHeaderBytes);
    return frame;
}

/// The sum over pseudo-header, TCP header and payload; 0xffff when the checksum is right.
std::uint16_t tcp_sum(const rte_mbuf* segment) {
    constexpr std::uint32_t kTcpOffset = kEthernetBytes + kIpBytes;
    const auto* ip = rte_pktmbuf_mtod_offset(segment, const rte_ipv4_hdr*, kEthernetBytes);
    std::uint16_t sum = 0;
    if (::rte_raw_cksum_mbuf(segment, kTcpOffset, segment->pkt_len - kTcpOffset, &sum) != 0) {
        return 0;
    }
    const std::uint32_t whole = std::uint32_t{sum} + ::rte_ipv4_phdr_cksum(ip, 0);
    return static_cast<std::uint16_t>((whole & 0xffffU) + (whole >> 16U));
}

/// Makes super-frames as a port receives them, and keeps what they are cut into.
class SuperFrames {
public:
    ~SuperFrames() { free_segments(); }
    SuperFrames() = default;
    SuperFrames(const SuperFrames&) = delete;
    SuperFrames& operator=(const SuperFrames&) = delete;

    /// A chain of full buffers, or nullptr; payload bytes are whatever the buffers hold.
    [[nodiscard]] rte_mbuf* make() const {
        rte_mbuf* head = nullptr;
        for (std::size_t at = 0; at < kFrameBytes;) {
            rte_mbuf* segment = ::rte_pktmbuf_alloc(Environment::get().pools().packets);
            if (segment == nullptr) {
                ::rte_pktmbuf_free(head);
                return nullptr;
            }
            const std::size_t bytes = std::min(dataplane::kMbufDataBytes, kFrameBytes - at);
            ::rte_pktmbuf_append(segment, static_cast<std::uint16_t>(bytes));
            at += bytes;
            if (head == nullptr) {
                head = segment;
            } else {
                ::rte_pktmbuf_chain(head, segment);
            }
        }
        std::memcpy(rte_pktmbuf_mtod(head, void*), headers_.data(), headers_.size());
        return head;
    }

    void free_segments() {
        ::rte_pktmbuf_free_bulk(segments.data(), count);
        count = 0;
    }

    /// Every segment has its length and a good TCP checksum.
    [[nodiscard]] bool good() const {
        bool all = count == kSegments;
        for (std::size_t i = 0; i < count; ++i) {
            all = all && segments[i]->pkt_len == kHeaderBytes + kSegmentPayload &&
                  tcp_sum(segments[i]) == 0xffff;
        }
        return all;
    }

    std::array<rte_mbuf*, kSegmentsRoom> segments{};
    std::uint16_t count = 0;

private:
    const Frame headers_ = headers();
};

/// Times `cut`, which takes a super-frame and leaves its segments in `frames`.
template <class Cut>
void measure_cut(benchmark::State& state, bool with_checksums, const Cut& cut) {
    SuperFrames frames;
    rte_mbuf* super_frame = frames.make();
    if (!require(state, super_frame != nullptr, "the packet pool is too small")) {
        return;
    }
    cut(super_frame, frames);
    const bool right = with_checksums ? frames.good() : frames.count == kSegments;
    if (!require(state, right, "the segments are wrong")) {
        return;
    }
    measure_staged(
        state,
        kSegments,
        [&] {
            frames.free_segments();
            super_frame = frames.make();
        },
        [&] { cut(super_frame, frames); }
    );
}

void ours(benchmark::State& state) {
    const dataplane::PacketPools pools = Environment::get().pools();
    measure_cut(state, true, [&](rte_mbuf* super_frame, SuperFrames& frames) {
        dataplane::packet::set_offload(
            super_frame,
            {.checksum_start = kEthernetBytes + kIpBytes,
             .checksum_offset = offsetof(rte_tcp_hdr, cksum),
             .gso_type = dataplane::GsoType::tcp4,
             .gso_bytes = kSegmentPayload,
             .header_bytes = kHeaderBytes}
        );
        Segmenter segmenter(super_frame, pools.packets, pools.shares);
        while (rte_mbuf* segment = segmenter.next()) {
            frames.segments[frames.count++] = segment;
        }
    });
}

void write_checksums(rte_mbuf* segment) {
    auto* ip = rte_pktmbuf_mtod_offset(segment, rte_ipv4_hdr*, kEthernetBytes);
    auto* tcp = rte_pktmbuf_mtod_offset(segment, rte_tcp_hdr*, kEthernetBytes + kIpBytes);
    ip->hdr_checksum = 0;
    ip->hdr_checksum = ::rte_ipv4_cksum(ip);
    tcp->cksum = 0;
    tcp->cksum = static_cast<rte_be16_t>(~tcp_sum(segment));
}

void rival(benchmark::State& state, bool with_checksums) {
    const dataplane::PacketPools pools = Environment::get().pools();
    rte_gso_ctx context{};
    context.direct_pool = pools.packets;
    context.indirect_pool = pools.shares;
    context.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO;
    context.gso_size = kHeaderBytes + kSegmentPayload;
    measure_cut(state, with_checksums, [&](rte_mbuf* super_frame, SuperFrames& frames) {
        super_frame->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
        super_frame->l2_len = kEthernetBytes & 0x7fU;
        super_frame->l3_len = kIpBytes;
        super_frame->l4_len = kTcpBytes;
        const int count =
            ::rte_gso_segment(super_frame, &context, frames.segments.data(), kSegmentsRoom);
        // The segments hold references to its bytes.
        ::rte_pktmbuf_free(super_frame);
        frames.count = static_cast<std::uint16_t>(count > 0 ? count : 0);
        if (with_checksums) {
            for (std::uint16_t i = 0; i < frames.count; ++i) {
                write_checksums(frames.segments[i]);
            }
        }
    });
}

}  // namespace

void add_segmenter_benches(Suite& suite) {
    suite.add("segmenter/tcp4", ours);
    suite.add_beside(
        "segmenter/tcp4",
        "rival/rte_gso_and_checksum/tcp4",
        [](benchmark::State& state) { rival(state, true); }
    );
    suite.add_beside("segmenter/tcp4", "floor/rte_gso/tcp4", [](benchmark::State& state) {
        rival(state, false);
    });
}

}  // namespace culvert::bench
