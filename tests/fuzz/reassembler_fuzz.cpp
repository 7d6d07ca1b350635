// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary fragments into Reassembler, and what comes out of it cut up by fragment_packet and put
// together again. Input: for each frame an octet with the IP offset, 1 with the first segment's
// length, 1 with the clock's advance, 2 with the frame's length, then the frame; checksums of IPv4
// headers are made right. Beside memory errors this looks for lost buffers and miscounted ones.
#include "dataplane/reassembler.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <rte_eal.h>

#include "dataplane/fragment.hpp"
#include "tunnels/checksum.hpp"

namespace {

namespace dataplane = culvert::dataplane;
namespace packet = culvert::dataplane::packet;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kHz = 1000000;
constexpr std::uint64_t kTimeout = kHz * dataplane::kReassemblyMs / 1000;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Pools {
    Pools() {
        std::string prefix = "culvert_fuzz_" + std::to_string(::getpid());
        std::array<std::string, 11> words{
            "reassembler_fuzz",
            "--no-huge",
            "--no-shconf",
            "-m",
            "64",
            "--no-pci",
            "--no-telemetry",
            "--log-level",
            "warning",
            "--file-prefix",
            prefix};
        std::vector<char*> arguments;
        arguments.reserve(words.size());
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        require(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0);
        // Made even for a process that shares nothing; empty and not used.
        ::rmdir(rte_eal_get_runtime_dir());
        packets = rte_pktmbuf_pool_create(
            "packets", 4096, 0, 0, RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes, SOCKET_ID_ANY
        );
        shares = rte_pktmbuf_pool_create("shares", 4096, 0, 0, 0, SOCKET_ID_ANY);
        require(packets != nullptr && shares != nullptr);
    }
    rte_mempool* packets;
    rte_mempool* shares;
};

Bytes bytes_of(const rte_mbuf* m) {
    Bytes bytes;
    unsigned segments = 0;
    for (const rte_mbuf* segment = m; segment != nullptr; segment = segment->next) {
        const auto* data = rte_pktmbuf_mtod(segment, const std::uint8_t*);
        bytes.insert(bytes.end(), data, data + segment->data_len);
        ++segments;
    }
    require(bytes.size() == m->pkt_len && segments == m->nb_segs);
    return bytes;
}

rte_mbuf* build(Bytes bytes, std::size_t ip, std::size_t first_bytes, rte_mempool* pool) {
    if (bytes.size() >= ip + 20 && bytes[ip] >> 4U == 4) {
        const std::size_t header_bytes =
            std::min<std::size_t>(bytes.size() - ip, (bytes[ip] & 0xfU) * std::size_t{4});
        bytes[ip + 10] = bytes[ip + 11] = 0;
        const auto header = std::as_bytes(std::span(bytes).subspan(ip, header_bytes));
        const auto sum = culvert::tunnels::checksum_fold(culvert::tunnels::checksum_add(0, header));
        const auto checksum = static_cast<std::uint16_t>(~sum);
        std::memcpy(&bytes[ip + 10], &checksum, sizeof checksum);
    }
    rte_mbuf* head = nullptr;
    std::size_t at = 0;
    do {
        rte_mbuf* segment = rte_pktmbuf_alloc(pool);
        require(segment != nullptr);
        const std::size_t wanted = head == nullptr ? first_bytes : 1000;
        const auto length = static_cast<std::uint16_t>(std::min(wanted, bytes.size() - at));
        char* to = rte_pktmbuf_append(segment, length);
        require(to != nullptr);
        std::copy_n(bytes.data() + at, length, to);
        at += length;
        if (head == nullptr) {
            head = segment;
        } else {
            require(rte_pktmbuf_chain(head, segment) == 0);
        }
    } while (at < bytes.size());
    return head;
}

/// Cuts `m` up and puts it together again: the same bytes, apart from Ethernet padding. Takes it.
void round_trip(rte_mbuf* m, std::uint16_t ip_offset, const Pools& pools) {
    const Bytes whole = bytes_of(m);
    dataplane::FragmentList fragments;
    const dataplane::FragmentRequest request{
        .ip_offset = ip_offset, .mtu = 1280, .identification = 7, .ignore_df = false};
    if (!dataplane::fragment_packet(m, request, pools.packets, pools.shares, fragments)) {
        require(bytes_of(m) == whole);
        rte_pktmbuf_free(m);
        return;
    }
    auto second = dataplane::Reassembler::create(kHz, SOCKET_ID_ANY, pools.packets);
    require(second.has_value());
    const bool may_complete = fragments.count <= RTE_LIBRTE_IP_FRAG_MAX_FRAG;
    for (rte_mbuf* fragment : fragments.span()) {
        const auto outcome = second->add(fragment, ip_offset, 1);
        if (outcome.packet != nullptr) {
            require(may_complete);
            rte_pktmbuf_free(outcome.packet);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Pools pools;
    {
        auto reassembler = dataplane::Reassembler::create(kHz, SOCKET_ID_ANY, pools.packets);
        require(reassembler.has_value());
        std::uint64_t now = 1;
        constexpr std::size_t kControlBytes = 5;
        // 32 frames of at most 65 segments fit the pool.
        for (unsigned frames = 0; frames < 32 && size > kControlBytes; ++frames) {
            const auto ip_offset = static_cast<std::uint16_t>(data[0]);
            const std::size_t first_bytes = std::size_t{data[1]} * 4;
            now += std::uint64_t{data[2]} * (kTimeout / 64);
            const std::size_t wanted = std::size_t{data[3]} << 8U | data[4];
            const std::size_t bytes = std::min(wanted, size - kControlBytes);
            const std::uint8_t* from = data + kControlBytes;
            rte_mbuf* m = build(Bytes(from, from + bytes), ip_offset, first_bytes, pools.packets);
            data = from + bytes;
            size -= kControlBytes + bytes;
            const std::uint32_t held = reassembler->held();
            const auto outcome = reassembler->add(m, ip_offset, now);
            require(outcome.packet != nullptr || held + 1 == reassembler->held() + outcome.dropped);
            if (outcome.packet != nullptr) {
                static_cast<void>(bytes_of(outcome.packet));
                round_trip(outcome.packet, ip_offset, pools);
            }
        }
        const std::uint32_t held = reassembler->held();
        require(reassembler->expire(now + kTimeout + 1) == held && reassembler->held() == 0);
    }
    require(rte_mempool_in_use_count(pools.packets) == 0);
    require(rte_mempool_in_use_count(pools.shares) == 0);
    return 0;
}
