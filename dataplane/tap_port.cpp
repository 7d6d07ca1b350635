// SPDX-License-Identifier: GPL-2.0-or-later
//
// A TAP device of ours (Linux Documentation/networking/tuntap.rst): the host's side of a bridge.
// Frames carry a virtio_net_hdr both ways, so the host's stack hands over super-frames and
// unfinished checksums and takes them. One queue, one frame a system call. The device goes away
// with the descriptor, unless it is to be kept: then it is persistent and carries a mark, its
// alias, by which the next process knows it and takes it over as it is. It is created down:
// addresses and "up" are the administrator's. Not handled: frames above kSuperFrameBytesMax (BIG
// TCP) are counted and dropped. receive(): one worker; transmit(): any worker; the rest: control
// thread.

#include "dataplane/port.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dataplane/bundle.hpp"
#include "dataplane/kernel_device.hpp"
#include "dataplane/receive_slots.hpp"
#include "dataplane/virtio_header.hpp"

namespace culvert::dataplane {

namespace {

constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kUsoOffloads = 0x20U | 0x40U;  // TUN_F_USO4 and USO6, since Linux 6.2.
constexpr unsigned kMtuMin = 68;                  // RFC 791.
constexpr unsigned kMtuMax = 65521;               // TUN_MAX: 65535 less the Ethernet header.

bool is_congestion(int error) noexcept {
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

class TapPort final : public Port {
public:
    TapPort(Descriptor tun, Descriptor netlink, int index, rte_mempool* pool)
        : tun_(std::move(tun)), netlink_(std::move(netlink)), index_(index), slots_(pool, 1) {}

    [[nodiscard]] std::size_t receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] std::size_t
    transmit(unsigned worker, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return tun_.get(); }
    [[nodiscard]] bool carries_offloads() const noexcept override { return true; }
    [[nodiscard]] PortInfo info() const override;
    [[nodiscard]] PortErrors errors() const override;
    void discard() noexcept override;

private:
    [[nodiscard]] rte_mbuf* take(std::size_t bytes) noexcept;
    [[nodiscard]] int send(Bundle& bundle, std::span<rte_mbuf* const> packets) const noexcept;

    Descriptor tun_;
    Descriptor netlink_;  ///< In the device's network namespace.
    int index_;
    ReceiveSlots slots_;
    std::atomic<std::uint64_t> rx_missed_ = 0;
    std::atomic<std::uint64_t> rx_errors_ = 0;
    std::atomic<std::uint64_t> rx_malformed_ = 0;
    std::atomic<std::uint64_t> tx_errors_ = 0;
    mutable std::atomic<std::uint64_t> device_drops_ = 0;  ///< As last read.
};

/// What readv() gave as a packet, or nullptr when it is dropped here.
rte_mbuf* TapPort::take(std::size_t bytes) noexcept {
    // A frame that the kernel cut off fills the vectors, which hold more than the bound.
    if (bytes < sizeof(VirtioHeader) || bytes > sizeof(VirtioHeader) + kSuperFrameBytesMax) {
        rx_errors_.fetch_add(1, std::memory_order_relaxed);
        return nullptr;
    }
    rte_mbuf* packet = slots_.take(0, bytes - sizeof(VirtioHeader));
    if (packet == nullptr) {
        rx_missed_.fetch_add(1, std::memory_order_relaxed);
        return nullptr;
    }
    if (parse_virtio_header(slots_.header(0), 0, packet) != DropReason::none) {
        rx_errors_.fetch_add(1, std::memory_order_relaxed);
        rx_malformed_.fetch_add(1, std::memory_order_relaxed);
        rte_pktmbuf_free(packet);
        return nullptr;
    }
    return packet;
}

std::size_t TapPort::receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept {
    std::size_t packets = 0;
    for (std::size_t frames = 0; queue == 0 && frames < burst.size(); ++frames) {
        if (slots_.prepare(1) == 0) {
            break;
        }
        const auto vectors = slots_.vectors(0);
        const ssize_t bytes = ::readv(tun_.get(), vectors.data(), static_cast<int>(vectors.size()));
        if (bytes >= 0) {
            if (rte_mbuf* packet = take(static_cast<std::size_t>(bytes))) {
                burst[packets++] = packet;
            }
        } else if (errno == EINVAL) {
            // A frame whose offload no virtio_net_hdr can express is lost.
            rx_errors_.fetch_add(1, std::memory_order_relaxed);
        } else if (errno != EINTR) {
            break;  // Nothing there (EAGAIN) or the device is gone (EBADFD).
        }
    }
    return packets;
}

/// Returns errno.
int TapPort::send(Bundle& bundle, std::span<rte_mbuf* const> packets) const noexcept {
    std::array<iovec, kBundleVectorsMax> vectors;
    if (vector_count(bundle, packets) > vectors.size()) {
        return EMSGSIZE;
    }
    const std::size_t count = write_vectors(bundle, packets, vectors);
    while (::writev(tun_.get(), vectors.data(), static_cast<int>(count)) < 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

std::size_t TapPort::transmit(unsigned /*worker*/, std::span<rte_mbuf*> burst) noexcept {
    Bundle bundle;
    std::size_t done = 0;
    std::size_t alone = 0;  // Packets before this one are not gathered.
    while (done < burst.size()) {
        const auto rest = burst.subspan(done);
        if (done < alone) {
            gather_alone(rest.front(), bundle);
        } else {
            gather(rest, false, bundle);
        }
        const int error = send(bundle, rest);
        if (is_congestion(error)) {
            break;
        }
        if (error != 0 && bundle.packets > 1) {
            alone = done + bundle.packets;
            continue;
        }
        if (error != 0) {
            tx_errors_.fetch_add(1, std::memory_order_relaxed);
        }
        done += bundle.packets;
    }
    rte_pktmbuf_free_bulk(burst.data(), static_cast<unsigned>(done));
    return done;
}

PortInfo TapPort::info() const {
    PortInfo info;
    info.driver = "tap";
    if (const auto device = query_kernel_device(netlink_.get(), index_)) {
        info.mac = device->mac;
        info.mtu = device->mtu;
        info.link_up = device->link_up;
    }
    return info;
}

void TapPort::discard() noexcept {
    static_cast<void>(::ioctl(tun_.get(), TUNSETPERSIST, 0UL));
}

PortErrors TapPort::errors() const {
    // What the host sent and the device's queue could not hold, the host counts as its own.
    if (const auto dropped = query_tx_dropped(netlink_.get(), index_)) {
        device_drops_.store(*dropped, std::memory_order_relaxed);
    }
    PortErrors errors;
    errors.rx_missed =
        rx_missed_.load(std::memory_order_relaxed) + device_drops_.load(std::memory_order_relaxed);
    errors.rx_errors = rx_errors_.load(std::memory_order_relaxed);
    errors.rx_malformed = rx_malformed_.load(std::memory_order_relaxed);
    errors.tx_errors = tx_errors_.load(std::memory_order_relaxed);
    return errors;
}

/// The reason for which TUNSETIFF refused.
std::string creation_error(int error) {
    switch (error) {
    case EBUSY:
        return "an interface of this name exists already";
    case EPERM:
        return "cannot create it: " + error_text(error) + " (CAP_NET_ADMIN is needed)";
    default:
        return "cannot create it: " + error_text(error);
    }
}

/// Whether there is a device of this name that Culvert kept.
bool is_kept(int netlink, const std::string& name) {
    const auto index = find_kernel_device(netlink, name);
    return index && query_alias(netlink, *index) == tap_mark(name);
}

/// Has the device outlive its descriptor. Returns one clause for the error sentence, or an empty
/// string.
std::string keep_device(int tun, int netlink, const std::string& name) {
    const auto index = find_kernel_device(netlink, name);
    const int marked = index ? write_alias(netlink, *index, tap_mark(name)) : ENODEV;
    if (marked != 0) {
        return "cannot mark it by its alias: " + error_text(marked);
    }
    if (::ioctl(tun, TUNSETPERSIST, 1UL) != 0) {
        return "cannot make it persistent: " + error_text(errno);
    }
    return {};
}

/// Creates the device, or takes one over that is free. Returns one clause for the error sentence,
/// or an empty string.
std::string create_device(int tun, const std::string& name, bool take_over) {
    ifreq request = interface_request(name);
    const int exclusive = take_over ? 0 : IFF_TUN_EXCL;
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | exclusive);
    if (::ioctl(tun, TUNSETIFF, &request) != 0) {
        return creation_error(errno);
    }
    const int header_bytes = sizeof(VirtioHeader);
    if (::ioctl(tun, TUNSETVNETHDRSZ, &header_bytes) != 0) {
        return "cannot set the size of the offload header to 10: " + error_text(errno);
    }
    if (::ioctl(tun, TUNSETOFFLOAD, kOffloads | kUsoOffloads) != 0 &&
        ::ioctl(tun, TUNSETOFFLOAD, kOffloads) != 0) {
        return "cannot set its offloads: " + error_text(errno);
    }
    return {};
}

/// Sets MAC address and MTU. Returns one clause for the error sentence, or an empty string.
std::string configure_device(int socket, const TapPortOptions& options) {
    ifreq request = interface_request(options.name);
    if (options.mac) {
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        std::memcpy(
            request.ifr_hwaddr.sa_data, options.mac->bytes.data(), options.mac->bytes.size()
        );
        if (::ioctl(socket, SIOCSIFHWADDR, &request) != 0) {
            return "cannot set MAC address " + options.mac->to_string() + ": " + error_text(errno) +
                   " (a unicast address other than zero is needed)";
        }
    }
    if (options.mtu) {
        const std::string mtu = std::to_string(*options.mtu);
        if (*options.mtu < kMtuMin || *options.mtu > kMtuMax) {
            return "MTU " + mtu + " is not valid, 68 to 65521 is";
        }
        request.ifr_mtu = static_cast<int>(*options.mtu);
        if (::ioctl(socket, SIOCSIFMTU, &request) != 0) {
            return "cannot set MTU " + mtu + ": " + error_text(errno);
        }
    }
    return {};
}

}  // namespace

std::string tap_mark(const std::string& name) {
    return "culvert: " + name;
}

Result<std::unique_ptr<Port>>
open_tap_port(const TapPortOptions& options, const PacketPools& pools) {
    const std::string what = "TAP device \"" + options.name + "\": ";
    if (!is_interface_name(options.name)) {
        return tl::unexpected(
            what + "the name is not valid: 1 to 15 characters without space, '/', ':' and '%' are"
        );
    }
    Descriptor tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!tun.is_open()) {
        return tl::unexpected(
            what + "cannot open /dev/net/tun: " + error_text(errno) +
            " (the kernel's tun driver and access to this file are needed)"
        );
    }
    Descriptor netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!netlink.is_open()) {
        return tl::unexpected(what + "cannot open a netlink socket: " + error_text(errno));
    }
    const bool take_over = options.keep && is_kept(netlink.get(), options.name);
    std::string error = create_device(tun.get(), options.name, take_over);
    if (error.empty() && options.keep) {
        error = keep_device(tun.get(), netlink.get(), options.name);
    }
    if (error.empty()) {
        error = configure_device(netlink.get(), options);
    }
    const std::optional<int> index =
        error.empty() ? find_kernel_device(netlink.get(), options.name) : std::nullopt;
    if (error.empty() && !index) {
        error = "it went away while it was set up";
    }
    if (!error.empty()) {
        return tl::unexpected(what + error);
    }
    return std::make_unique<TapPort>(std::move(tun), std::move(netlink), *index, pools.packets);
}

}  // namespace culvert::dataplane
