// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary frames with arbitrary offloads through validate_offload, finish_checksum and Segmenter.
// Input: the 8 bytes of an Offload in host order, the length of the first segment, that of the
// further ones, the bytes to pull after validation, then the frame. Beside memory errors this looks
// for lost buffers and for payload that is lost, repeated or changed.
#include "dataplane/offload.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include <rte_eal.h>

namespace {

using culvert::dataplane::GsoType;
using culvert::dataplane::Offload;
namespace dataplane = culvert::dataplane;
namespace packet = culvert::dataplane::packet;
using Bytes = std::vector<std::uint8_t>;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Pools {
    Pools() {
        std::string prefix = "culvert_fuzz_" + std::to_string(::getpid());
        std::array<std::string, 9> words{
            "offload_fuzz",
            "--no-huge",
            "--no-shconf",
            "-m",
            "64",
            "--no-pci",
            "--no-telemetry",
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
            "packets", 1024, 0, 0, RTE_PKTMBUF_HEADROOM + dataplane::kMbufDataBytes, SOCKET_ID_ANY
        );
        shares = rte_pktmbuf_pool_create("shares", 8192, 0, 0, 0, SOCKET_ID_ANY);
        require(packets != nullptr && shares != nullptr);
    }
    rte_mempool* packets;
    rte_mempool* shares;
};

struct Input {
    Offload offload;
    std::size_t first_bytes;
    std::size_t further_bytes;
    std::uint32_t pulled_bytes;
    Bytes frame;
};

rte_mbuf* build(const Input& input, rte_mempool* pool) {
    rte_mbuf* head = nullptr;
    std::size_t at = 0;
    do {
        rte_mbuf* segment = rte_pktmbuf_alloc(pool);
        require(segment != nullptr);
        const std::size_t wanted = head == nullptr ? input.first_bytes : input.further_bytes;
        const auto length = static_cast<std::uint16_t>(std::min(wanted, input.frame.size() - at));
        char* to = rte_pktmbuf_append(segment, length);
        require(to != nullptr);
        std::copy_n(input.frame.data() + at, length, to);
        at += length;
        if (head == nullptr) {
            head = segment;
        } else {
            require(rte_pktmbuf_chain(head, segment) == 0);
        }
    } while (at < input.frame.size());
    return head;
}

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

/// `m` is taken.
void finish(rte_mbuf* m, const Pools& pools, bool must_succeed) {
    const Offload offload = packet::offload(m);
    const bool pending = packet::has_offload(m);
    Bytes before = bytes_of(m);
    rte_mbuf* finished = dataplane::finish_checksum(m, pools.packets);
    require(finished != nullptr || !must_succeed);
    rte_mbuf* left = finished == nullptr ? m : finished;
    Bytes after = bytes_of(left);
    if (finished != nullptr && pending) {
        require(!packet::has_offload(finished));
        const std::size_t field = std::size_t{offload.checksum_start} + offload.checksum_offset;
        require(field + 2 <= after.size());
        std::fill_n(before.begin() + static_cast<std::ptrdiff_t>(field), 2, std::uint8_t{0});
        std::fill_n(after.begin() + static_cast<std::ptrdiff_t>(field), 2, std::uint8_t{0});
    }
    require(before == after);
    rte_pktmbuf_free(left);
}

/// True when the checksum starts behind an outer UDP or GRE header: validate_offload lets such a
/// super-frame pass because it is judged again once decapsulated, and until then nobody may cut it.
/// Precondition: the frame was accepted, so the headers are whole.
bool is_tunnelled(const Bytes& frame, const Offload& offload) {
    const auto word = [&](std::size_t at) { return frame[at] << 8 | frame[at + 1]; };
    std::size_t ip = 14;
    for (int tags = 0; tags < 2 && (word(ip - 2) == 0x8100 || word(ip - 2) == 0x88a8); ++tags) {
        ip += 4;
    }
    const bool v4 = word(ip - 2) == 0x0800;
    const std::size_t l4 = ip + (v4 ? std::size_t{4} * (frame[ip] & 0x0fU) : std::size_t{40});
    const unsigned protocol = frame[ip + (v4 ? 9 : 6)];
    return (protocol == 17 || protocol == 47) && offload.checksum_start > l4 + 8;
}

/// `m` is taken. `offload` is what validate_offload made of it, if it was accepted.
void cut(rte_mbuf* m, const Pools& pools, const Offload* offload) {
    const Bytes whole = bytes_of(m);
    dataplane::Segmenter segmenter(m, pools.packets, pools.shares);
    if (offload == nullptr) {
        while (rte_mbuf* segment = segmenter.next()) {
            rte_pktmbuf_free(segment);
        }
        return;
    }
    if (is_tunnelled(whole, *offload)) {
        require(segmenter.next() == nullptr && segmenter.failed());
        return;
    }
    auto at = whole.begin() + offload->header_bytes;
    bool short_one = false;
    std::size_t count = 0;
    while (rte_mbuf* segment = segmenter.next()) {
        require(!short_one && !packet::has_offload(segment));
        const Bytes bytes = bytes_of(segment);
        rte_pktmbuf_free(segment);
        require(bytes.size() >= offload->header_bytes);
        const std::size_t payload = bytes.size() - offload->header_bytes;
        require(
            payload <= offload->gso_bytes &&
            static_cast<std::ptrdiff_t>(payload) <= whole.end() - at
        );
        // Ethernet header and tags are copied as they are.
        require(std::equal(bytes.begin(), bytes.begin() + 14, whole.begin()));
        require(std::equal(bytes.begin() + offload->header_bytes, bytes.end(), at));
        at += static_cast<std::ptrdiff_t>(payload);
        short_one = payload < offload->gso_bytes;
        ++count;
    }
    require(!segmenter.failed() && count >= 1 && count <= dataplane::kGsoSegmentsMax);
}

void run(const Input& input, const Pools& pools) {
    Offload offload = input.offload;
    rte_mbuf* m = build(input, pools.packets);
    const bool accepted = dataplane::validate_offload(m, offload) == dataplane::DropReason::none;
    const bool super_frame = accepted && offload.gso_type != GsoType::none;
    if (super_frame) {
        require(offload.header_bytes <= packet::head(m).size() && offload.gso_bytes != 0);
    }
    // Unjudged offloads go on as well: both functions judge for themselves.
    packet::set_offload(m, offload);
    rte_mbuf* second = packet::share(m, pools.shares);
    require(second != nullptr);
    finish(m, pools, accepted && !super_frame);
    rte_mbuf* third = packet::share(second, pools.shares);
    require(third != nullptr);
    cut(second, pools, super_frame ? &offload : nullptr);

    if (packet::pull(third, input.pulled_bytes)) {
        rte_mbuf* fourth = packet::share(third, pools.shares);
        require(fourth != nullptr);
        cut(third, pools, nullptr);
        finish(fourth, pools, false);
    } else {
        rte_pktmbuf_free(third);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Pools pools;
    constexpr std::size_t kControlBytes = sizeof(Offload) + 3;
    if (size < kControlBytes) {
        return 0;
    }
    Input input{};
    std::memcpy(static_cast<void*>(&input.offload), data, sizeof(Offload));
    data += sizeof(Offload);
    // At most 4096 bytes of frame in at least 16-byte segments fit the pools.
    input.first_bytes = std::size_t{data[0]} * 8;
    input.further_bytes = 16 + std::size_t{data[1]} * 7;
    input.pulled_bytes = data[2];
    input.frame.assign(data + 3, data + 3 + std::min<std::size_t>(size - kControlBytes, 4096));
    run(input, pools);
    require(rte_mempool_in_use_count(pools.packets) == 0);
    require(rte_mempool_in_use_count(pools.shares) == 0);
    return 0;
}
