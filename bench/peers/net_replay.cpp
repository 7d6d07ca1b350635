// SPDX-License-Identifier: GPL-2.0-or-later
//
// A DPDK device that receives the frames of a file over and over, as fast as it is asked: the
// source that every program of bench/peers is fed from. A plugin:
//
//   PROGRAM -d net_replay.so --vdev net_replay0,file=PATH[,rate=PACKETS_PER_SECOND]
//
// Buffers come from the pool of the program, bytes are copied into them, and of a buffer's header
// exactly that is written which drivers of NICs write. What is sent to the device is counted and
// freed. One receive queue. `rate` slows it down, for a look at what comes out at the other end.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <rte_cycles.h>
#include <rte_devargs.h>
#include <rte_kvargs.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_version.h>

#include <emmintrin.h>

#include "bench/peers/driver_abi.hpp"
#include "bench/peers/frame_file.hpp"

namespace culvert::bench {

namespace {

constexpr std::uint16_t kTxQueuesMax = 64;
constexpr std::uint16_t kPrefetchAhead = 4;
constexpr std::ptrdiff_t kAheadBytesMax = 8192;  // Of long frames the processor follows the rest.
constexpr const char* kFile = "file";
constexpr const char* kRate = "rate";

/// Written by the thread that polls the queue, read by any.
struct alignas(RTE_CACHE_LINE_SIZE) QueueCounters {
    std::atomic<std::uint64_t> packets = 0;
    std::atomic<std::uint64_t> bytes = 0;
    std::atomic<std::uint64_t> no_buffers = 0;

    static void add(std::atomic<std::uint64_t>& counter, std::uint64_t amount) noexcept {
        counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    }
    void clear() noexcept {
        for (auto* counter : {&packets, &bytes, &no_buffers}) {
            counter->store(0, std::memory_order_relaxed);
        }
    }
};

struct RxQueue {
    const std::uint16_t* sizes = nullptr;
    const std::byte* frames = nullptr;
    const std::byte* next_frame = nullptr;
    std::uint32_t next = 0;
    std::uint32_t count = 0;
    rte_mempool* pool = nullptr;
    std::uint64_t rearm = 0;  ///< data_off, refcnt, nb_segs and port of a new buffer.
    std::uint64_t rate = 0;
    std::uint64_t begin_tsc = 0;
    std::uint64_t given = 0;
    QueueCounters counters;
};

struct Replay {
    std::unique_ptr<FrameFile> file;
    RxQueue rx;
    std::array<QueueCounters, kTxQueuesMax> tx;
    rte_ether_addr mac{{0x02, 0, 0, 0, 0x7e, 0x01}};
};

Replay& replay_of(abi::EthDev* device) {
    return *static_cast<Replay*>(device->data->dev_private);
}

void log_error(const char* device, const std::string& sentence) {
    rte_log(RTE_LOG_ERR, RTE_LOGTYPE_USER1, "%s: %s\n", device, sentence.c_str());
}

inline void fill(RxQueue& queue, rte_mbuf* packet, std::uint16_t bytes) noexcept {
    std::memcpy(&packet->rearm_data, &queue.rearm, sizeof queue.rearm);
    packet->ol_flags = 0;
    packet->packet_type = 0;
    packet->pkt_len = bytes;
    packet->data_len = bytes;
    const auto* from = queue.next_frame;
    auto* to = static_cast<std::byte*>(packet->buf_addr) + RTE_PKTMBUF_HEADROOM;
    const auto* end = from + whole_blocks(bytes);
    for (; from != end; from += kBlockBytes, to += kBlockBytes) {
        const auto* source = static_cast<const __m128i*>(static_cast<const void*>(from));
        auto* target = static_cast<__m128i*>(static_cast<void*>(to));
        const __m128i a = _mm_loadu_si128(source);
        const __m128i b = _mm_loadu_si128(source + 1);
        const __m128i c = _mm_loadu_si128(source + 2);
        const __m128i d = _mm_loadu_si128(source + 3);
        _mm_storeu_si128(target, a);
        _mm_storeu_si128(target + 1, b);
        _mm_storeu_si128(target + 2, c);
        _mm_storeu_si128(target + 3, d);
    }
    queue.next_frame = end;
    if (++queue.next == queue.count) [[unlikely]] {
        queue.next = 0;
        queue.next_frame = queue.frames;
    }
}

/// Starts loading what the next burst will copy, if it is like this one. A NIC puts packets into a
/// cache before the driver reads them (DDIO); without this, a file larger than the caches would
/// have each program wait for memory, and all the longer the more it looks at its packets.
inline void load_ahead(const std::byte* from, std::ptrdiff_t bytes) noexcept {
    const std::ptrdiff_t ahead = std::clamp<std::ptrdiff_t>(bytes, 0, kAheadBytesMax);
    for (std::ptrdiff_t at = 0; at < ahead; at += std::ptrdiff_t{kBlockBytes}) {
        rte_prefetch1(from + at);
    }
}

std::uint16_t receive(void* opaque, rte_mbuf** packets, std::uint16_t wanted) {
    RxQueue& queue = *static_cast<RxQueue*>(opaque);
    void** buffers = static_cast<void**>(static_cast<void*>(packets));
    if (rte_mempool_get_bulk(queue.pool, buffers, wanted) != 0) [[unlikely]] {
        QueueCounters::add(queue.counters.no_buffers, wanted);
        return 0;
    }
    for (std::uint16_t i = 0; i < std::min(kPrefetchAhead, wanted); ++i) {
        rte_prefetch0(packets[i]);
    }
    std::uint64_t bytes = 0;
    const std::byte* const first = queue.next_frame;
    for (std::uint16_t i = 0; i < wanted; ++i) {
        if (i + kPrefetchAhead < wanted) {
            rte_prefetch0(packets[i + kPrefetchAhead]);
        }
        const std::uint16_t size = queue.sizes[queue.next];
        fill(queue, packets[i], size);
        bytes += size;
    }
    load_ahead(queue.next_frame, queue.next_frame - first);
    QueueCounters::add(queue.counters.packets, wanted);
    QueueCounters::add(queue.counters.bytes, bytes);
    return wanted;
}

std::uint16_t receive_slowly(void* opaque, rte_mbuf** packets, std::uint16_t wanted) {
    RxQueue& queue = *static_cast<RxQueue*>(opaque);
    const std::uint64_t now = rte_get_tsc_cycles();
    if (queue.begin_tsc == 0) {
        queue.begin_tsc = now;
    }
    const double seconds =
        static_cast<double>(now - queue.begin_tsc) / static_cast<double>(rte_get_tsc_hz());
    const auto due = static_cast<std::uint64_t>(seconds * static_cast<double>(queue.rate));
    const std::uint64_t missing = due > queue.given ? due - queue.given : 0;
    const auto count = static_cast<std::uint16_t>(std::min<std::uint64_t>(missing, wanted));
    const std::uint16_t got = count == 0 ? count : receive(opaque, packets, count);
    queue.given += got;
    return got;
}

std::uint16_t transmit(void* opaque, rte_mbuf** packets, std::uint16_t count) {
    QueueCounters& counters = *static_cast<QueueCounters*>(opaque);
    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        bytes += packets[i]->pkt_len;
    }
    rte_pktmbuf_free_bulk(packets, count);
    QueueCounters::add(counters.packets, count);
    QueueCounters::add(counters.bytes, bytes);
    return count;
}

int do_nothing(abi::EthDev* /*device*/) {
    return 0;
}

int start(abi::EthDev* device) {
    device->data->link.link_status = RTE_ETH_LINK_UP;
    return 0;
}

int stop(abi::EthDev* device) {
    device->data->link.link_status = RTE_ETH_LINK_DOWN;
    return 0;
}

/// DPDK frees what these point to, with its own allocator, of which they are not.
int close_device(abi::EthDev* device) {
    delete static_cast<Replay*>(device->data->dev_private);
    device->data->dev_private = nullptr;
    device->data->mac_addresses = nullptr;
    return 0;
}

int update_link(abi::EthDev* /*device*/, int /*wait*/) {
    return 0;
}

int set_mac(abi::EthDev* /*device*/, rte_ether_addr* /*mac*/) {
    return 0;
}

int set_mtu(abi::EthDev* /*device*/, std::uint16_t /*mtu*/) {
    return 0;
}

int get_info(abi::EthDev* /*device*/, rte_eth_dev_info* info) {
    info->max_mac_addrs = 1;
    info->max_rx_pktlen = UINT32_MAX;
    info->max_rx_queues = 1;
    info->max_tx_queues = kTxQueuesMax;
    info->min_rx_bufsize = 0;
    return 0;
}

int get_stats(abi::EthDev* device, rte_eth_stats* stats) {
    const Replay& replay = replay_of(device);
    stats->ipackets = replay.rx.counters.packets;
    stats->ibytes = replay.rx.counters.bytes;
    stats->rx_nombuf = replay.rx.counters.no_buffers;
    for (const QueueCounters& queue : replay.tx) {
        stats->opackets += queue.packets;
        stats->obytes += queue.bytes;
    }
    return 0;
}

int reset_stats(abi::EthDev* device) {
    Replay& replay = replay_of(device);
    replay.rx.counters.clear();
    for (QueueCounters& queue : replay.tx) {
        queue.clear();
    }
    return 0;
}

int set_up_rx(
    abi::EthDev* device,
    std::uint16_t index,
    std::uint16_t /*descriptors*/,
    unsigned /*socket*/,
    const rte_eth_rxconf* /*conf*/,
    rte_mempool* pool
) {
    Replay& replay = replay_of(device);
    const std::size_t room = rte_pktmbuf_data_room_size(pool) - std::size_t{RTE_PKTMBUF_HEADROOM};
    if (whole_blocks(replay.file->longest()) > room) {
        log_error(
            device->data->name.data(),
            "frames of " + std::to_string(replay.file->longest()) +
                " bytes do not fit into buffers of " + std::to_string(room)
        );
        return -EINVAL;
    }
    rte_mbuf fresh{};
    fresh.data_off = RTE_PKTMBUF_HEADROOM;
    rte_mbuf_refcnt_set(&fresh, 1);
    fresh.nb_segs = 1;
    fresh.port = device->data->port;
    std::memcpy(&replay.rx.rearm, &fresh.rearm_data, sizeof replay.rx.rearm);
    replay.rx.pool = pool;
    replay.rx.sizes = replay.file->sizes();
    replay.rx.frames = replay.file->frames();
    replay.rx.next_frame = replay.rx.frames;
    replay.rx.next = 0;
    replay.rx.count = replay.file->count();
    device->data->rx_queues[index] = &replay.rx;
    return 0;
}

int set_up_tx(
    abi::EthDev* device,
    std::uint16_t index,
    std::uint16_t /*descriptors*/,
    unsigned /*socket*/,
    const rte_eth_txconf* /*conf*/
) {
    device->data->tx_queues[index] = &replay_of(device).tx[index];
    return 0;
}

template <typename Function>
abi::Operation erased(Function* function) {
    return reinterpret_cast<abi::Operation>(function);
}

abi::Operations make_operations() {
    using Index = abi::Operations::Index;
    abi::Operations table;
    table.at[Index::configure] = erased(do_nothing);
    table.at[Index::start] = erased(start);
    table.at[Index::stop] = erased(stop);
    table.at[Index::close] = erased(close_device);
    table.at[Index::link_update] = erased(update_link);
    for (const auto index :
         {Index::promiscuous_enable,
          Index::promiscuous_disable,
          Index::allmulticast_enable,
          Index::allmulticast_disable}) {
        table.at[index] = erased(do_nothing);
    }
    table.at[Index::mac_address_set] = erased(set_mac);
    table.at[Index::mtu_set] = erased(set_mtu);
    table.at[Index::stats_get] = erased(get_stats);
    table.at[Index::stats_reset] = erased(reset_stats);
    table.at[Index::infos_get] = erased(get_info);
    table.at[Index::rx_queue_setup] = erased(set_up_rx);
    table.at[Index::tx_queue_setup] = erased(set_up_tx);
    return table;
}

struct Arguments {
    std::string file;
    std::uint64_t rate = 0;
};

int take_text(const char* /*key*/, const char* value, void* to) {
    *static_cast<std::string*>(to) = value == nullptr ? "" : value;
    return 0;
}

/// On failure one sentence.
std::string parse_arguments(const char* text, Arguments& arguments) {
    static const char* const keys[] = {kFile, kRate, nullptr};
    const std::unique_ptr<rte_kvargs, decltype(&rte_kvargs_free)> options(
        rte_kvargs_parse(text, keys), &rte_kvargs_free
    );
    if (!options) {
        return std::string("the options are file=PATH and rate=PACKETS_PER_SECOND, not \"") + text +
               "\"";
    }
    std::string rate;
    rte_kvargs_process(options.get(), kFile, take_text, &arguments.file);
    rte_kvargs_process(options.get(), kRate, take_text, &rate);
    if (arguments.file.empty()) {
        return "file=PATH is missing";
    }
    if (!rate.empty()) {
        char* end = nullptr;
        arguments.rate = std::strtoull(rate.c_str(), &end, 10);
        if (*end != '\0' || arguments.rate == 0) {
            return "rate=" + rate + " is not valid, a number of packets per second above 0 is";
        }
    }
    return {};
}

int probe(abi::VdevDevice* vdev) {
    static const abi::Operations operations = make_operations();
    const char* name = vdev->device.name;
    const rte_devargs* given = vdev->device.devargs;
    Arguments arguments;
    std::string error =
        parse_arguments(given == nullptr || given->args == nullptr ? "" : given->args, arguments);
    auto replay = std::make_unique<Replay>();
    if (error.empty()) {
        replay->file = FrameFile::load(arguments.file, error);
    }
    if (!error.empty()) {
        log_error(name, error);
        return -EINVAL;
    }
    abi::EthDev* device = abi::rte_eth_dev_allocate(name);
    if (device == nullptr) {
        log_error(name, "DPDK has no port left");
        return -ENOMEM;
    }
    replay->rx.rate = arguments.rate;
    device->data->mac_addresses = &replay->mac;
    device->data->dev_private = replay.release();
    device->data->link.link_speed = RTE_ETH_SPEED_NUM_100G;
    device->data->link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
    device->device = &vdev->device;
    device->operations = &operations;
    device->rx_burst = arguments.rate == 0 ? receive : receive_slowly;
    device->tx_burst = transmit;
    abi::rte_eth_dev_probing_finish(device);
    return 0;
}

int remove_device(abi::VdevDevice* vdev) {
    abi::EthDev* device = abi::rte_eth_dev_allocated(vdev->device.name);
    if (device == nullptr) {
        return 0;
    }
    close_device(device);
    return abi::rte_eth_dev_release_port(device);
}

__attribute__((constructor)) void register_driver() {
    static abi::VdevDriver driver{};
    if (std::strncmp(rte_version(), abi::kRelease, sizeof abi::kRelease - 1) != 0) {
        log_error(
            "net_replay", std::string("is for ") + abi::kRelease + ", not for " + rte_version()
        );
        return;
    }
    driver.driver.name = "net_replay";
    driver.probe = probe;
    driver.remove = remove_device;
    abi::rte_vdev_register(&driver);
}

}  // namespace

}  // namespace culvert::bench
