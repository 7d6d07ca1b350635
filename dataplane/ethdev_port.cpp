// SPDX-License-Identifier: GPL-2.0-or-later
//
// A DPDK Ethernet device: a PCI NIC or a virtual device (vhost, memif, af_xdp, pcap, ...). The
// device is asked for no checksum or segmentation offload, as tunnels finish packets in software
// anyhow and devices differ. The exception is a guest behind vhost, to whom an Offload is passed on
// as it is, and whose super-frames and pending checksums become one. Chains are copied into one
// buffer for devices that take none. Not handled: VLAN stripping (never switched on), LRO of NICs,
// interrupts (the port must be polled). receive(): one worker a queue; transmit(): any worker; the
// rest: control thread.

#include "dataplane/port.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_spinlock.h>

#include "dataplane/offload.hpp"
#include "dataplane/vhost_guest.hpp"
#include "dataplane/virtio_header.hpp"

namespace culvert::dataplane {

namespace {

constexpr std::uint64_t kMbufKindFlags = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
constexpr std::uint64_t kRssFields =
    RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
constexpr std::uint32_t kLinkBytesMax = 14 + 8 + 4;  // Ethernet, two VLAN tags, FCS.
constexpr std::uint32_t kMtuMax = UINT16_MAX - kLinkBytesMax - RTE_PKTMBUF_HEADROOM;
constexpr unsigned kLinearBuffersPerQueue = 4 * kBurstMax;  // None free: tx_errors.

constexpr std::uint64_t kRxChecksums = RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;

struct alignas(RTE_CACHE_LINE_SIZE) QueueLock {
    rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
};

/// "Invalid argument" for -EINVAL.
std::string error_text(int result) {
    return rte_strerror(result < 0 ? -result : result);
}

/// Our claim on a device: nobody else here opens it, and what we probed is removed at the end. A
/// device that was there before (--vdev) stays for the next one to claim.
class DeviceClaim {
public:
    DeviceClaim(std::uint16_t port, bool probed) : port_(port), probed_(probed) {}
    ~DeviceClaim();
    DeviceClaim(const DeviceClaim&) = delete;
    DeviceClaim& operator=(const DeviceClaim&) = delete;

    /// False when another port of ours has it.
    [[nodiscard]] bool take_ownership();
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] int start() noexcept;

private:
    void remove() noexcept;

    std::uint16_t port_;
    bool probed_;
    bool started_ = false;
    bool owned_ = false;
};

/// Devices that a port of ours has. DPDK's own ownership would hide them from its telemetry, which
/// is how counters are read from outside. Control thread only.
std::set<std::uint16_t>& owned_devices() {
    static std::set<std::uint16_t> devices;
    return devices;
}

bool DeviceClaim::take_ownership() {
    owned_ = owned_devices().insert(port_).second;
    return owned_;
}

int DeviceClaim::start() noexcept {
    const int result = rte_eth_dev_start(port_);
    started_ = result == 0;
    return result;
}

void DeviceClaim::remove() noexcept {
    rte_eth_dev_info info{};
    if (rte_eth_dev_info_get(port_, &info) != 0 || rte_eth_dev_close(port_) != 0) {
        return;
    }
    std::uint16_t sibling = RTE_MAX_ETHPORTS;
    RTE_ETH_FOREACH_DEV_OF(sibling, info.device) {
        return;  // One device with several ports: the last one removes it.
    }
    static_cast<void>(rte_dev_remove(info.device));
}

DeviceClaim::~DeviceClaim() {
    if (started_) {
        static_cast<void>(rte_eth_dev_stop(port_));
    }
    if (owned_) {
        owned_devices().erase(port_);
    }
    if (probed_) {
        remove();
    }
}

struct FreePool {
    void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};

class EthdevPort final : public Port {
public:
    EthdevPort(
        std::unique_ptr<DeviceClaim> claim,
        const rte_eth_dev_info& device,
        const EthdevPortOptions& options,
        const PacketPools& pools
    );

    /// Configures and starts. Returns one clause for the error sentence, or an empty string.
    [[nodiscard]] std::string start(const rte_eth_dev_info& device, const EthdevPortOptions&);

    [[nodiscard]] std::size_t receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] std::size_t
    transmit(unsigned worker, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return -1; }
    [[nodiscard]] bool carries_offloads() const noexcept override {
        return guest_ && guest_->takes_offloads();
    }
    [[nodiscard]] PortInfo info() const override;
    [[nodiscard]] PortErrors errors() const override;

private:
    [[nodiscard]] int set_up(const rte_eth_dev_info& device, const EthdevPortOptions&);
    [[nodiscard]] int configure(const rte_eth_dev_info& device, const EthdevPortOptions&);
    [[nodiscard]] int set_up_queues(const rte_eth_dev_info& device, const EthdevPortOptions&);
    [[nodiscard]] std::string set_mtu(std::uint32_t mtu);
    [[nodiscard]] bool create_linear_pool();
    [[nodiscard]] bool make_sendable(rte_mbuf*& packet) const noexcept;
    [[nodiscard]] bool prepare(rte_mbuf*& packet, Offload& asked) const noexcept;
    void send_finished(std::uint16_t queue, rte_mbuf* packet) noexcept;
    void send_one(std::uint16_t queue, rte_mbuf* packet) noexcept;
    [[nodiscard]] std::size_t send(std::uint16_t queue, std::span<rte_mbuf*> packets) noexcept;

    /// Buffers for a whole frame, where it is larger than ours and the device takes no chains.
    /// Declared first: the device lets go of its buffers before they go.
    std::unique_ptr<rte_mempool, FreePool> linear_pool_;
    std::unique_ptr<DeviceClaim> claim_;
    std::uint16_t port_;
    PacketPools pools_;
    std::string driver_;
    unsigned rx_queues_;
    unsigned tx_queues_;
    bool sends_chains_;
    std::unique_ptr<VhostGuest> guest_;  ///< Of a vhost device only.
    std::vector<QueueLock> tx_locks_;    ///< Empty when each worker has its own queue.
    /// Written by any worker, so not beside what all of them read.
    alignas(RTE_CACHE_LINE_SIZE) std::atomic<std::uint64_t> rx_malformed_ = 0;
    std::atomic<std::uint64_t> tx_errors_ = 0;
};

/// How many receive queues the device gets.
unsigned rx_queue_count(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    unsigned wanted = options.rx_queues;
    if (wanted == 0) {
        // Which of the queues of a vhost device a guest sends by is the guest's choice, so that all
        // of them have to be read; elsewhere a worker has one each.
        const bool peer_chooses = std::strcmp(device.driver_name, "net_vhost") == 0;
        wanted = peer_chooses ? kQueuesPerPortMax : options.tx_queues;
    }
    return std::clamp<unsigned>(wanted, 1, device.max_rx_queues);
}

EthdevPort::EthdevPort(
    std::unique_ptr<DeviceClaim> claim,
    const rte_eth_dev_info& device,
    const EthdevPortOptions& options,
    const PacketPools& pools
)
    : claim_(std::move(claim)), port_(claim_->port()), pools_(pools), driver_(device.driver_name),
      rx_queues_(rx_queue_count(device, options)),
      tx_queues_(std::clamp<unsigned>(options.tx_queues, 1, device.max_tx_queues)),
      sends_chains_((device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0),
      tx_locks_(tx_queues_ < options.tx_queues ? tx_queues_ : 0) {}

/// The flags with which a device says that a sender left work undone.
bool is_unfinished(std::uint64_t flags) noexcept {
    return (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE ||
           (flags & RTE_MBUF_F_RX_LRO) != 0;
}

/// Flags of the device become an Offload; none of them stays, since an Offload shares the field.
DropReason convert_flags(rte_mbuf* packet) noexcept {
    const std::uint64_t flags = packet->ol_flags;
    packet->ol_flags = flags & kMbufKindFlags;
    if (!is_unfinished(flags)) [[likely]] {
        return DropReason::none;
    }
    const bool complete = (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) != RTE_MBUF_F_RX_L4_CKSUM_NONE;
    const std::uint16_t gso_bytes =
        (flags & RTE_MBUF_F_RX_LRO) != 0 ? packet->tso_segsz : std::uint16_t{0};
    return set_offload_from_headers(packet, gso_bytes, complete);
}

std::size_t EthdevPort::receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept {
    if (queue >= rx_queues_) {
        return 0;
    }
    const std::uint16_t count = rte_eth_rx_burst(
        port_,
        static_cast<std::uint16_t>(queue),
        burst.data(),
        static_cast<std::uint16_t>(std::min(burst.size(), kBurstMax))
    );
    std::size_t kept = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (convert_flags(burst[i]) == DropReason::none) [[likely]] {
            burst[kept++] = burst[i];
        } else {
            rx_malformed_.fetch_add(1, std::memory_order_relaxed);
            rte_pktmbuf_free(burst[i]);
        }
    }
    return kept;
}

/// Makes the packet one that the device can send. False when it cannot be.
bool EthdevPort::make_sendable(rte_mbuf*& packet) const noexcept {
    // A flag that asks for work would have the device read the Offload as its own structure.
    packet->ol_flags &= kMbufKindFlags;
    if (packet->nb_segs == 1 || sends_chains_) [[likely]] {
        return true;
    }
    if (packet::writable(packet) && rte_pktmbuf_linearize(packet) == 0) {
        return true;
    }
    rte_mempool* pool = linear_pool_ ? linear_pool_.get() : pools_.packets;
    rte_mbuf* copy = rte_pktmbuf_copy(packet, pool, 0, UINT32_MAX);
    if (copy == nullptr || copy->nb_segs != 1) {
        rte_pktmbuf_free(copy);
        return false;
    }
    rte_pktmbuf_free(packet);
    packet = copy;
    return true;
}

std::size_t EthdevPort::send(std::uint16_t queue, std::span<rte_mbuf*> packets) noexcept {
    if (tx_locks_.empty()) {
        return rte_eth_tx_burst(
            port_, queue, packets.data(), static_cast<std::uint16_t>(packets.size())
        );
    }
    rte_spinlock_lock(&tx_locks_[queue].lock);
    const std::uint16_t sent =
        rte_eth_tx_burst(port_, queue, packets.data(), static_cast<std::uint16_t>(packets.size()));
    rte_spinlock_unlock(&tx_locks_[queue].lock);
    return sent;
}

/// Makes the packet one that the device can send as it is. `asked` is set to what the guest was
/// asked to do. False when it cannot be.
bool EthdevPort::prepare(rte_mbuf*& packet, Offload& asked) const noexcept {
    asked = {};
    if (!guest_ || !packet::has_offload(packet)) [[likely]] {
        return make_sendable(packet);
    }
    const Offload pending = packet::offload(packet);
    packet->ol_flags &= kMbufKindFlags | packet::kOffloadPending;
    if (!guest_->takes_offloads() || !VhostGuest::ask(packet, pools_.packets)) {
        return false;
    }
    asked = pending;
    return true;
}

void EthdevPort::send_one(std::uint16_t queue, rte_mbuf* packet) noexcept {
    if (!make_sendable(packet) || send(queue, std::span(&packet, 1)) == 0) {
        tx_errors_.fetch_add(1, std::memory_order_relaxed);
        rte_pktmbuf_free(packet);
    }
}

/// Sends a packet that prepare() refused: finished in software where that is what it lacks, as when
/// the guest was replaced by one that takes less.
void EthdevPort::send_finished(std::uint16_t queue, rte_mbuf* packet) noexcept {
    if (guest_ && packet::has_offload(packet) &&
        packet::offload(packet).gso_type != GsoType::none) {
        Segmenter segments(packet, pools_.packets, pools_.shares);
        while (rte_mbuf* segment = segments.next()) {
            send_one(queue, segment);
        }
        tx_errors_.fetch_add(segments.failed() ? 1 : 0, std::memory_order_relaxed);
        return;
    }
    rte_mbuf* finished =
        guest_ && packet::has_offload(packet) ? finish_checksum(packet, pools_.packets) : nullptr;
    if (finished == nullptr) {
        tx_errors_.fetch_add(1, std::memory_order_relaxed);
        rte_pktmbuf_free(packet);
        return;
    }
    send_one(queue, finished);
}

std::size_t EthdevPort::transmit(unsigned worker, std::span<rte_mbuf*> burst) noexcept {
    const auto queue = static_cast<std::uint16_t>(worker % tx_queues_);
    std::array<Offload, kBurstMax> asked;
    std::size_t done = 0;
    while (done < burst.size()) {
        std::size_t end = done;
        while (end < burst.size() && end - done < kBurstMax &&
               prepare(burst[end], asked[end - done])) {
            ++end;
        }
        if (end == done) {
            send_finished(queue, burst[done++]);
            continue;
        }
        const std::size_t sent = send(queue, burst.subspan(done, end - done));
        for (std::size_t i = sent; i < end - done; ++i) {
            if (asked[i].checksum_start != 0) {
                VhostGuest::unask(burst[done + i], asked[i]);
            }
        }
        done += sent;
        if (done < end) {
            break;  // The queue is full.
        }
    }
    return done;
}

PortInfo EthdevPort::info() const {
    PortInfo info;
    info.driver = driver_;
    info.rx_queues = rx_queues_;
    info.tx_queues = tx_queues_;
    info.numa_node = rte_eth_dev_socket_id(port_);
    rte_ether_addr mac{};
    if (rte_eth_macaddr_get(port_, &mac) == 0) {
        std::memcpy(info.mac.bytes.data(), mac.addr_bytes, info.mac.bytes.size());
    }
    std::uint16_t mtu = 0;
    if (rte_eth_dev_get_mtu(port_, &mtu) == 0) {
        info.mtu = mtu;
    }
    rte_eth_link link{};
    info.link_up =
        rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
    if (info.link_up && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN) {
        info.speed_mbps = link.link_speed;
        info.full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
    }
    return info;
}

PortErrors EthdevPort::errors() const {
    PortErrors errors;
    errors.rx_malformed = rx_malformed_.load(std::memory_order_relaxed);
    errors.rx_errors = errors.rx_malformed;
    errors.tx_errors = tx_errors_.load(std::memory_order_relaxed);
    rte_eth_stats stats{};
    if (rte_eth_stats_get(port_, &stats) == 0) {
        errors.rx_missed = stats.imissed + stats.rx_nombuf;
        errors.rx_errors += stats.ierrors;
        errors.tx_errors += stats.oerrors;
    }
    return errors;
}

int EthdevPort::configure(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    rte_eth_conf conf{};
    conf.rxmode.mtu = options.mtu.value_or(0);
    const std::uint32_t frame_bytes = options.mtu.value_or(RTE_ETHER_MTU) + kLinkBytesMax;
    if (frame_bytes > kMbufDataBytes) {
        conf.rxmode.offloads = device.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    }
    if (driver_ == "net_vhost") {
        // Else the driver computes the checksums that a guest left out, even over super-frames.
        conf.rxmode.offloads |= device.rx_offload_capa & kRxChecksums;
    }
    const std::uint64_t rss = kRssFields & device.flow_type_rss_offloads;
    if (rx_queues_ > 1 && rss != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss;
    }
    conf.txmode.offloads = device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    return rte_eth_dev_configure(
        port_, static_cast<std::uint16_t>(rx_queues_), static_cast<std::uint16_t>(tx_queues_), &conf
    );
}

int EthdevPort::set_up(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    const int result = configure(device, options);
    return result != 0 ? result : set_up_queues(device, options);
}

int EthdevPort::set_up_queues(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    std::uint16_t rx_descriptors = options.rx_descriptors;
    std::uint16_t tx_descriptors = options.tx_descriptors;
    int result = rte_eth_dev_adjust_nb_rx_tx_desc(port_, &rx_descriptors, &tx_descriptors);
    const int numa_node = rte_eth_dev_socket_id(port_);
    const auto socket = static_cast<unsigned>(numa_node < 0 ? SOCKET_ID_ANY : numa_node);
    for (unsigned i = 0; result == 0 && i < rx_queues_; ++i) {
        result = rte_eth_rx_queue_setup(
            port_, static_cast<std::uint16_t>(i), rx_descriptors, socket, nullptr, pools_.packets
        );
    }
    rte_eth_txconf conf = device.default_txconf;
    // Fast free takes all buffers to be of one pool and unshared, which ours are not.
    conf.offloads = device.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    for (unsigned i = 0; result == 0 && i < tx_queues_; ++i) {
        result = rte_eth_tx_queue_setup(
            port_, static_cast<std::uint16_t>(i), tx_descriptors, socket, &conf
        );
    }
    return result;
}

std::string EthdevPort::set_mtu(std::uint32_t mtu) {
    const int result = rte_eth_dev_set_mtu(port_, static_cast<std::uint16_t>(mtu));
    if (result == 0 || result == -ENOTSUP) {
        return {};  // A driver without the operation has no limit of its own.
    }
    return "cannot set MTU " + std::to_string(mtu) + ": " + error_text(result);
}

/// False when there is no memory for it.
bool EthdevPort::create_linear_pool() {
    std::uint16_t mtu = RTE_ETHER_MTU;
    static_cast<void>(rte_eth_dev_get_mtu(port_, &mtu));
    const std::uint32_t bytes = mtu + kLinkBytesMax;
    if (sends_chains_ || bytes <= kMbufDataBytes) {
        return true;
    }
    const std::string name = "linear" + std::to_string(port_);
    linear_pool_.reset(rte_pktmbuf_pool_create(
        name.c_str(),
        tx_queues_ * kLinearBuffersPerQueue,
        0,
        0,
        static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + std::min(bytes, kMtuMax + kLinkBytesMax)),
        SOCKET_ID_ANY
    ));
    return linear_pool_ != nullptr;
}

std::string EthdevPort::start(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    int result = set_up(device, options);
    if (result != 0 && options.rx_queues == 0 && rx_queues_ > 1) {
        // What the device says it could have is more than it has in its present state.
        rx_queues_ = 1;
        result = set_up(device, options);
    }
    if (result != 0) {
        return "cannot configure " + std::to_string(rx_queues_) + " receive and " +
               std::to_string(tx_queues_) + " transmit queues: " + error_text(result);
    }
    if (options.mtu) {
        std::string error = set_mtu(*options.mtu);
        if (!error.empty()) {
            return error;
        }
    }
    if (!create_linear_pool()) {
        return "no memory for buffers of a whole frame";
    }
    result = claim_->start();
    if (result != 0) {
        return "cannot start: " + error_text(result);
    }
    result = rte_eth_promiscuous_enable(port_);
    if (result != 0 && result != -ENOTSUP) {
        return "cannot receive promiscuously: " + error_text(result);
    }
    result = rte_eth_allmulticast_enable(port_);
    if (result != 0 && result != -ENOTSUP) {
        return "cannot receive all multicast: " + error_text(result);
    }
    static_cast<void>(rte_eth_stats_reset(port_));
    if (driver_ == "net_vhost") {
        guest_ = std::make_unique<VhostGuest>(port_);
    }
    return {};
}

/// The first port of the device that `devargs` names, if it is probed.
std::optional<std::uint16_t> find_port(const std::string& devargs) {
    rte_dev_iterator iterator{};
    if (rte_eth_iterator_init(&iterator, devargs.c_str()) == 0) {
        const std::uint16_t port = rte_eth_iterator_next(&iterator);
        if (port != RTE_MAX_ETHPORTS) {
            rte_eth_iterator_cleanup(&iterator);
            return port;
        }
    }
    // Buses that cannot be iterated over.
    std::uint16_t port = RTE_MAX_ETHPORTS;
    const std::string name = devargs.substr(0, devargs.find(','));
    return rte_eth_dev_get_port_by_name(name.c_str(), &port) == 0 ? std::optional(port)
                                                                  : std::nullopt;
}

/// Why the device cannot be probed.
std::string probe_error(int result) {
    switch (result) {
    case -EFAULT:
        return "no bus or driver knows a device of this name";
    case -EPERM:  // What drivers return for any reason.
        return "its driver refuses it, DPDK's log says why";
    default:
        return "cannot open the device: " + error_text(result);
    }
}

/// Finds or probes the device and claims it.
Result<std::unique_ptr<DeviceClaim>>
claim_device(const std::string& devargs, const std::string& what) {
    std::optional<std::uint16_t> port = devargs.empty() ? std::nullopt : find_port(devargs);
    const bool probe = !port;
    if (probe) {
        const int result = rte_dev_probe(with_vhost_offloads(devargs).c_str());
        if (result != 0) {
            return tl::unexpected(
                what + probe_error(result) +
                " (a PCI address whose device is bound to vfio-pci, or a virtual device of DPDK "
                "such as \"net_vhost0,iface=PATH\", is needed)"
            );
        }
        port = find_port(devargs);
        if (!port) {
            return tl::unexpected(what + "the device is not an Ethernet device");
        }
    }
    auto claim = std::make_unique<DeviceClaim>(*port, probe);
    if (!claim->take_ownership()) {
        return tl::unexpected(what + "the device is in use by another port");
    }
    return claim;
}

/// The largest MTU that DPDK lets the device have, from its limits on MTU and on frames.
std::uint32_t mtu_max(const rte_eth_dev_info& device) noexcept {
    constexpr std::uint32_t kOverheadBytes = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
    const std::uint32_t by_frame = device.max_rx_pktlen - kOverheadBytes;
    const bool has_mtu = device.max_mtu != UINT16_MAX && device.max_rx_pktlen > device.max_mtu;
    return std::min(has_mtu ? std::uint32_t{device.max_mtu} : by_frame, kMtuMax);
}

/// One clause for the error sentence, or an empty string.
std::string check_limits(const rte_eth_dev_info& device, const EthdevPortOptions& options) {
    if (device.max_rx_queues == 0 || device.max_tx_queues == 0) {
        return "the device has no queues";
    }
    if (options.mtu && (*options.mtu < device.min_mtu || *options.mtu > mtu_max(device))) {
        return "MTU " + std::to_string(*options.mtu) + " is not valid, " +
               std::to_string(device.min_mtu) + " to " + std::to_string(mtu_max(device)) + " is";
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Port>>
open_ethdev_port(const EthdevPortOptions& options, const PacketPools& pools) {
    const std::string what = "port \"" + options.name + "\" (" + options.devargs + "): ";
    auto claim = claim_device(options.devargs, what);
    if (!claim) {
        return tl::unexpected(claim.error());
    }
    rte_eth_dev_info device{};
    const int result = rte_eth_dev_info_get((*claim)->port(), &device);
    std::string error = result != 0 ? "the device cannot be queried: " + error_text(result)
                                    : check_limits(device, options);
    if (!error.empty()) {
        return tl::unexpected(what + error);
    }
    auto port = std::make_unique<EthdevPort>(std::move(*claim), device, options, pools);
    error = port->start(device, options);
    if (!error.empty()) {
        return tl::unexpected(what + error);
    }
    return port;
}

}  // namespace culvert::dataplane
