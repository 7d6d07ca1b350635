// SPDX-License-Identifier: GPL-2.0-or-later
//
// Bursts through gather(): an arbitrary frame is cut into segments, some of their bytes are
// changed, and what is gathered of them is cut again, which must give the changed packets back.
// Input: bit 0 the packets are our own tunnel's, the segment size (2 bytes), the number of changes
// (0 to 3), each change as packet, offset (2 bytes) and what to xor, then the frame. Beside memory
// errors and lost buffers this looks for packets that whoever cuts the super-frame would get
// differently.
#include "dataplane/bundle.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include <rte_eal.h>

#include "dataplane/offload.hpp"

namespace {

using culvert::dataplane::Bundle;
using culvert::dataplane::DropReason;
namespace dataplane = culvert::dataplane;
namespace packet = culvert::dataplane::packet;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kChangesMax = 3;
constexpr std::size_t kChangeBytes = 4;
constexpr std::size_t kFrameBytesMax = 4096;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

struct Pools {
    Pools() {
        std::string prefix = "culvert_fuzz_" + std::to_string(::getpid());
        std::array<std::string, 9> words{
            "bundle_fuzz",
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

rte_mbuf* build(const Bytes& bytes, rte_mempool* pool) {
    rte_mbuf* head = nullptr;
    std::size_t at = 0;
    do {
        rte_mbuf* segment = rte_pktmbuf_alloc(pool);
        require(segment != nullptr);
        const auto length =
            static_cast<std::uint16_t>(std::min(dataplane::kMbufDataBytes, bytes.size() - at));
        std::copy_n(bytes.data() + at, length, rte_pktmbuf_append(segment, length));
        at += length;
        if (head == nullptr) {
            head = segment;
        } else {
            require(rte_pktmbuf_chain(head, segment) == 0);
        }
    } while (at < bytes.size());
    return head;
}

Bytes bytes_of(const rte_mbuf* m) {
    Bytes bytes(m->pkt_len);
    require(packet::copy_out(m, 0, {reinterpret_cast<std::byte*>(bytes.data()), bytes.size()}));
    return bytes;
}

/// Takes the super-frame; at most kBurstMax of its segments.
std::vector<Bytes> cut(rte_mbuf* super_frame, const Pools& pools) {
    std::vector<Bytes> all;
    dataplane::Segmenter segments(super_frame, pools.packets, pools.shares);
    while (all.size() < dataplane::kBurstMax) {
        rte_mbuf* segment = segments.next();
        if (segment == nullptr) {
            break;
        }
        all.push_back(bytes_of(segment));
        rte_pktmbuf_free(segment);
    }
    return all;
}

/// Blanks what cutting may write differently: the identification of an IPv4 packet with DF (and so
/// its header checksum), and of our own tunnel packets lengths and checksums, which are right as
/// they come from the packet path.
void blank(Bytes& bytes, bool encapsulated, const Bundle& bundle) {
    const std::size_t l4 = bundle.virtio.checksum_start;
    const std::size_t v4 = l4 - 20;  // Were it IPv4.
    const auto clear = [&](std::size_t at) { std::fill_n(&bytes[at], 2, std::uint8_t{0}); };
    const bool is_v4 =
        bundle.virtio.gso_type == dataplane::kVirtioGsoTcp4 || (encapsulated && bytes[v4] == 0x45);
    if (is_v4 && (bytes[v4 + 6] & 0x40U) != 0) {
        clear(v4 + 4);
        clear(v4 + 10);
    }
    if (is_v4 && encapsulated) {
        clear(v4 + 10);
    }
    if (encapsulated) {
        clear(l4 + 4);
        clear(l4 + 6);
    }
}

void run(const std::vector<Bytes>& packets, bool encapsulated, const Pools& pools) {
    std::vector<rte_mbuf*> burst;
    for (const Bytes& bytes : packets) {
        burst.push_back(build(bytes, pools.packets));
        if (encapsulated) {
            packet::set_encapsulated(burst.back());
        }
    }
    Bundle bundle;
    dataplane::gather(burst, true, bundle);
    require(bundle.packets >= 1 && bundle.packets <= burst.size());
    std::array<iovec, dataplane::kBundleVectorsMax> vectors;
    const std::size_t count = dataplane::write_vectors(bundle, burst, vectors);
    require(count <= dataplane::vector_count(bundle, burst));
    Bytes whole;
    for (std::size_t i = 1; i < count; ++i) {
        const auto* data = static_cast<const std::uint8_t*>(vectors[i].iov_base);
        whole.insert(whole.end(), data, data + vectors[i].iov_len);
    }
    rte_pktmbuf_free_bulk(burst.data(), static_cast<unsigned>(burst.size()));
    if (bundle.packets == 1) {
        require(whole == packets.front());
        return;
    }
    rte_mbuf* super_frame = build(whole, pools.packets);
    require(dataplane::parse_virtio_header(bundle.virtio, 0, super_frame) == DropReason::none);
    std::vector<Bytes> again = cut(super_frame, pools);
    require(again.size() == bundle.packets);
    for (std::size_t i = 0; i < again.size(); ++i) {
        Bytes expected = packets[i];
        blank(expected, encapsulated, bundle);
        blank(again[i], encapsulated, bundle);
        require(again[i] == expected);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Pools pools;
    constexpr std::size_t kControlBytes = 4;
    if (size < kControlBytes) {
        return 0;
    }
    const bool encapsulated = (data[0] & 1U) != 0;
    const auto gso_bytes = static_cast<std::uint16_t>(data[1] << 8U | data[2]);
    const std::size_t changes = data[3] % (kChangesMax + 1);
    const std::uint8_t* change = data + kControlBytes;
    const std::size_t skipped = kControlBytes + changes * kChangeBytes;
    if (size < skipped + 14 || gso_bytes == 0) {
        return 0;
    }
    const Bytes frame(data + skipped, data + std::min(size, skipped + kFrameBytesMax));
    rte_mbuf* super_frame = build(frame, pools.packets);
    if (dataplane::set_offload_from_headers(super_frame, gso_bytes, true) != DropReason::none ||
        !packet::has_offload(super_frame)) {
        rte_pktmbuf_free(super_frame);
        return 0;
    }
    std::vector<Bytes> packets = cut(super_frame, pools);
    for (std::size_t i = 0; i < changes && !packets.empty(); ++i, change += kChangeBytes) {
        Bytes& changed = packets[change[0] % packets.size()];
        changed[(unsigned{change[1]} << 8U | change[2]) % changed.size()] ^= change[3];
    }
    if (!packets.empty()) {
        run(packets, encapsulated, pools);
    }
    require(rte_mempool_in_use_count(pools.packets) == 0);
    require(rte_mempool_in_use_count(pools.shares) == 0);
    return 0;
}
