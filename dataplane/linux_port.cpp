// SPDX-License-Identifier: GPL-2.0-or-later
//
// An existing kernel interface through a packet socket (packet(7)): frames come and go with their
// virtio_net_hdr, so a super-frame of 64 KiB is one packet and its checksum stays unfinished. The
// VLAN tag that the kernel keeps beside the frame is put back into it. Everything that is set
// belongs to the socket, so closing it undoes it. One queue. Not handled, but counted and dropped:
// frames above kSuperFrameBytesMax (BIG TCP, which an administrator has to switch on) and, on
// transmit, super-frames inside a tunnel (the kernel would take them and lose them).
// receive(): one worker; transmit(): any worker; the rest: control thread.

#include "dataplane/port.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dataplane/bundle.hpp"
#include "dataplane/kernel_device.hpp"
#include "dataplane/receive_slots.hpp"
#include "dataplane/virtio_header.hpp"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

namespace culvert::dataplane {

namespace {

constexpr int kReceiveBufferBytes = 8 << 20;
constexpr int kSendBufferBytes = 4 << 20;
constexpr std::size_t kMacsBytes = 12;
constexpr std::uint16_t kVlanTagBytes = 4;
constexpr unsigned kErrorsPerCall = 32;   // Then receive() returns, whatever is left.
constexpr std::size_t kVectorsMax = 512;  // Of one system call; more segments take more calls.

struct AuxData {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(tpacket_auxdata))> bytes;
};

/// Stops a transmit call: the packet may go out later, unlike one that the kernel refuses.
bool is_congestion(int error) noexcept {
    return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/// Packets laid out for one sendmmsg(). On the stack of the call, as workers share the socket.
class SendBatch {
public:
    /// Returns how many messages hold packets from the front, of which the first `alone` are not
    /// gathered; 0 when the first packet cannot be sent at all.
    unsigned fill(std::span<rte_mbuf* const> packets, bool trains, std::size_t alone) noexcept {
        unsigned count = 0;
        std::size_t taken = 0;
        std::size_t used = 0;
        while (taken < packets.size() && count < kBurstMax &&
               !is_tunnelled_super_frame(packets[taken])) {
            const auto rest = packets.subspan(taken);
            Bundle& bundle = bundles_[count];
            if (taken < alone) {
                gather_alone(rest.front(), bundle);
            } else {
                gather(rest, trains, bundle);
            }
            if (used + vector_count(bundle, rest) > kVectorsMax) {
                break;
            }
            mmsghdr& message = messages_[count];
            message = {};
            message.msg_hdr.msg_iov = &vectors_[used];
            message.msg_hdr.msg_iovlen =
                write_vectors(bundle, rest, std::span(vectors_).subspan(used));
            used += message.msg_hdr.msg_iovlen;
            taken += bundle.packets;
            ++count;
        }
        return count;
    }
    [[nodiscard]] mmsghdr* messages() noexcept { return messages_.data(); }
    [[nodiscard]] const Bundle& first() const noexcept { return bundles_[0]; }
    /// In the first `messages`.
    [[nodiscard]] std::size_t packets(int messages) const noexcept {
        std::size_t sum = 0;
        for (int i = 0; i < messages; ++i) {
            sum += bundles_[static_cast<std::size_t>(i)].packets;
        }
        return sum;
    }

private:
    std::array<mmsghdr, kBurstMax> messages_;
    std::array<Bundle, kBurstMax> bundles_;
    std::array<iovec, kVectorsMax> vectors_;
};

class LinuxPort final : public Port {
public:
    LinuxPort(
        Descriptor socket,
        int index,
        const KernelDevice& device,
        bool sees_outgoing,
        rte_mempool* pool
    )
        : socket_(std::move(socket)), index_(index), mac_(device.mac),
          sees_outgoing_(sees_outgoing), slots_(pool, kBurstMax) {
        choose_trains(device.name);
    }

    [[nodiscard]] std::size_t receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] std::size_t
    transmit(unsigned worker, std::span<rte_mbuf*> burst) noexcept override;
    [[nodiscard]] int wake_fd(unsigned /*queue*/) const noexcept override { return socket_.get(); }
    [[nodiscard]] bool carries_offloads() const noexcept override { return true; }
    [[nodiscard]] PortInfo info() const override;
    void refresh() noexcept override;
    [[nodiscard]] PortErrors errors() const override;

private:
    [[nodiscard]] unsigned receive_messages(unsigned slots) noexcept;
    [[nodiscard]] rte_mbuf* take(unsigned slot) noexcept;
    void choose_trains(const std::string& name) noexcept;

    Descriptor socket_;
    int index_;
    tunnels::MacAddress mac_;
    bool sees_outgoing_;  ///< The kernel cannot leave out what the host itself sends here.
    ReceiveSlots slots_;
    std::array<mmsghdr, kBurstMax> messages_{};
    std::array<sockaddr_ll, kBurstMax> senders_{};
    std::array<AuxData, kBurstMax> aux_data_{};
    std::atomic<std::uint64_t> rx_missed_ = 0;
    std::atomic<std::uint64_t> rx_errors_ = 0;
    std::atomic<std::uint64_t> rx_malformed_ = 0;
    std::atomic<std::uint64_t> tx_errors_ = 0;
    mutable std::atomic<std::uint64_t> socket_drops_ = 0;
    /// The interface's "tx-udp-segmentation" is on, which is how an administrator forbids trains.
    std::atomic<bool> trains_ = false;
    std::atomic<bool> trains_refused_ = false;  ///< By the kernel.
};

/// The tag that the kernel took out of the frame; `tci` is in host order, `tpid` in network order.
struct VlanTag {
    std::uint16_t tpid = 0;
    std::uint16_t tci = 0;
};

std::optional<VlanTag> parse_aux_data(msghdr& header) noexcept {
    for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr;
         message = CMSG_NXTHDR(&header, message)) {
        if (message->cmsg_level != SOL_PACKET || message->cmsg_type != PACKET_AUXDATA) {
            continue;
        }
        tpacket_auxdata data{};
        std::memcpy(&data, CMSG_DATA(message), sizeof data);
        if ((data.tp_status & TP_STATUS_VLAN_VALID) == 0) {
            return std::nullopt;
        }
        const bool has_tpid = (data.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
        return VlanTag{htons(has_tpid ? data.tp_vlan_tpid : ETH_P_8021Q), data.tp_vlan_tci};
    }
    return std::nullopt;
}

/// Precondition: the packet is fresh, so it has headroom.
bool insert_tag(rte_mbuf* packet, const VlanTag& tag) noexcept {
    if (packet::head(packet).size() < kMacsBytes ||
        rte_pktmbuf_prepend(packet, kVlanTagBytes) == nullptr) {
        return false;
    }
    std::byte* data = packet::head(packet).data();
    std::memmove(data, data + kVlanTagBytes, kMacsBytes);
    const std::uint16_t tci = htons(tag.tci);
    std::memcpy(data + kMacsBytes, &tag.tpid, sizeof tag.tpid);
    std::memcpy(data + kMacsBytes + sizeof tag.tpid, &tci, sizeof tci);
    return true;
}

/// Fills slots 0 to `slots` - 1 and returns how many.
unsigned LinuxPort::receive_messages(unsigned slots) noexcept {
    for (unsigned i = 0; i < slots; ++i) {
        const auto vectors = slots_.vectors(i);
        msghdr& header = messages_[i].msg_hdr;
        header = {};
        header.msg_iov = vectors.data();
        header.msg_iovlen = vectors.size();
        header.msg_control = aux_data_[i].bytes.data();
        header.msg_controllen = aux_data_[i].bytes.size();
        if (sees_outgoing_) {
            header.msg_name = &senders_[i];
            header.msg_namelen = sizeof senders_[i];
        }
    }
    for (unsigned i = 0; i < kErrorsPerCall; ++i) {
        const int count = ::recvmmsg(socket_.get(), messages_.data(), slots, MSG_DONTWAIT, nullptr);
        if (count >= 0) {
            return static_cast<unsigned>(count);
        }
        if (errno == EAGAIN) {
            return 0;
        }
        if (errno == EINVAL) {
            // A frame whose offload no virtio_net_hdr can express (SCTP segmentation) is lost.
            rx_errors_.fetch_add(1, std::memory_order_relaxed);
        }
        // Else the interface went down, which is told once (ENETDOWN): frames may still wait.
    }
    return 0;
}

/// The frame of a slot as a packet, or nullptr when it is not to be seen.
rte_mbuf* LinuxPort::take(unsigned slot) noexcept {
    msghdr& header = messages_[slot].msg_hdr;
    if (sees_outgoing_ && senders_[slot].sll_pkttype == PACKET_OUTGOING) {
        return nullptr;
    }
    const std::size_t bytes = messages_[slot].msg_len;
    if ((header.msg_flags & MSG_TRUNC) != 0 || bytes < sizeof(VirtioHeader) ||
        bytes > sizeof(VirtioHeader) + kSuperFrameBytesMax) {
        rx_errors_.fetch_add(1, std::memory_order_relaxed);
        return nullptr;
    }
    rte_mbuf* packet = slots_.take(slot, bytes - sizeof(VirtioHeader));
    if (packet == nullptr) {
        rx_missed_.fetch_add(1, std::memory_order_relaxed);
        return nullptr;
    }
    const std::optional<VlanTag> tag = parse_aux_data(header);
    if ((tag && !insert_tag(packet, *tag)) ||
        parse_virtio_header(slots_.header(slot), tag ? kVlanTagBytes : std::uint16_t{0}, packet) !=
            DropReason::none) {
        rx_errors_.fetch_add(1, std::memory_order_relaxed);
        rx_malformed_.fetch_add(1, std::memory_order_relaxed);
        rte_pktmbuf_free(packet);
        return nullptr;
    }
    return packet;
}

std::size_t LinuxPort::receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept {
    std::size_t packets = 0;
    std::size_t frames = 0;
    while (queue == 0 && frames < burst.size()) {
        const std::size_t wanted = std::min(burst.size() - frames, kBurstMax);
        const unsigned ready = slots_.prepare(static_cast<unsigned>(wanted));
        const unsigned count = ready == 0 ? 0 : receive_messages(ready);
        for (unsigned i = 0; i < count; ++i) {
            if (rte_mbuf* packet = take(i)) {
                burst[packets++] = packet;
            }
        }
        frames += count;
        if (count == 0 || count < ready) {
            break;
        }
    }
    return packets;
}

std::size_t LinuxPort::transmit(unsigned /*worker*/, std::span<rte_mbuf*> burst) noexcept {
    SendBatch batch;
    std::size_t done = 0;
    std::size_t alone = 0;  // Packets before this one are not gathered.
    bool retried = false;
    while (done < burst.size()) {
        const unsigned count = batch.fill(
            burst.subspan(done),
            trains_.load(std::memory_order_relaxed),
            alone > done ? alone - done : 0
        );
        const int sent =
            count == 0 ? -1 : ::sendmmsg(socket_.get(), batch.messages(), count, MSG_DONTWAIT);
        if (sent > 0) {
            const std::size_t packets = batch.packets(sent);
            rte_pktmbuf_free_bulk(&burst[done], static_cast<unsigned>(packets));
            done += packets;
            retried = false;
            continue;
        }
        if (count > 0 && errno == EINTR) {
            continue;
        }
        if (count > 0 && is_congestion(errno)) {
            break;
        }
        if (count > 0 && !retried) {
            // An error that waits on the socket (the interface went down and is up again, a frame
            // could not be received) is handed to whoever calls next; it is not about this packet.
            retried = true;
            continue;
        }
        if (count > 0 && batch.first().packets > 1) {
            if (batch.first().is_train && errno == EINVAL) {
                // A kernel before Linux 6.2: never again.
                trains_refused_.store(true, std::memory_order_relaxed);
                trains_.store(false, std::memory_order_relaxed);
            }
            alone = done + batch.first().packets;
            retried = false;
            continue;
        }
        tx_errors_.fetch_add(1, std::memory_order_relaxed);
        rte_pktmbuf_free(burst[done++]);
        retried = false;
    }
    return done;
}

void LinuxPort::choose_trains(const std::string& name) noexcept {
    trains_.store(
        !trains_refused_.load(std::memory_order_relaxed) &&
            query_udp_segmentation(socket_.get(), name),
        std::memory_order_relaxed
    );
}

void LinuxPort::refresh() noexcept {
    if (const auto device = query_kernel_device(socket_.get(), index_)) {
        choose_trains(device->name);
    }
}

PortInfo LinuxPort::info() const {
    PortInfo info;
    info.driver = "af_packet";
    info.mac = mac_;
    if (const auto device = query_kernel_device(socket_.get(), index_)) {
        info.mac = device->mac;
        info.mtu = device->mtu;
        info.link_up = device->link_up;
    }
    info.trains = trains_.load(std::memory_order_relaxed);
    return info;
}

PortErrors LinuxPort::errors() const {
    // Reading the socket's counter resets it.
    tpacket_stats stats{};
    socklen_t length = sizeof stats;
    if (::getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0) {
        socket_drops_.fetch_add(stats.tp_drops, std::memory_order_relaxed);
    }
    PortErrors errors;
    errors.rx_missed =
        rx_missed_.load(std::memory_order_relaxed) + socket_drops_.load(std::memory_order_relaxed);
    errors.rx_errors = rx_errors_.load(std::memory_order_relaxed);
    errors.rx_malformed = rx_malformed_.load(std::memory_order_relaxed);
    errors.tx_errors = tx_errors_.load(std::memory_order_relaxed);
    return errors;
}

/// Sets an option of the packet layer to 1. Returns errno.
int enable(int socket, int option) noexcept {
    const int one = 1;
    return ::setsockopt(socket, SOL_PACKET, option, &one, sizeof one) == 0 ? 0 : errno;
}

/// Larger than the host's limit when CAP_NET_ADMIN allows it. A smaller buffer only loses earlier.
void set_buffer_bytes(int socket, int force, int option, int bytes) noexcept {
    if (::setsockopt(socket, SOL_SOCKET, force, &bytes, sizeof bytes) != 0) {
        static_cast<void>(::setsockopt(socket, SOL_SOCKET, option, &bytes, sizeof bytes));
    }
}

/// What has to be set before the first frame comes. Returns errno.
int prepare_socket(int socket) noexcept {
    set_buffer_bytes(socket, SO_RCVBUFFORCE, SO_RCVBUF, kReceiveBufferBytes);
    set_buffer_bytes(socket, SO_SNDBUFFORCE, SO_SNDBUF, kSendBufferBytes);
    const int error = enable(socket, PACKET_VNET_HDR);
    return error != 0 ? error : enable(socket, PACKET_AUXDATA);
}

/// Frames arrive from here on. Returns errno.
int bind_socket(int socket, int index, bool promiscuous) noexcept {
    if (promiscuous) {
        packet_mreq request{};
        request.mr_ifindex = index;
        request.mr_type = PACKET_MR_PROMISC;
        if (::setsockopt(socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request) !=
            0) {
            return errno;
        }
    }
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = index;
    return ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0
                                                                                            : errno;
}

}  // namespace

Result<std::unique_ptr<Port>>
open_linux_port(const LinuxPortOptions& options, const PacketPools& pools) {
    const std::string what = "interface \"" + options.interface + "\"";
    // Protocol 0 receives nothing until bind().
    Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.is_open()) {
        return tl::unexpected(
            what + ": cannot open a packet socket: " + error_text(errno) +
            (errno == EPERM ? " (CAP_NET_RAW is needed)" : "")
        );
    }
    const std::optional<int> index = is_interface_name(options.interface)
                                         ? find_kernel_device(socket.get(), options.interface)
                                         : std::nullopt;
    const std::optional<KernelDevice> device =
        index ? query_kernel_device(socket.get(), *index) : std::nullopt;
    if (!device) {
        return tl::unexpected(what + " does not exist");
    }
    if (device->hardware_type != ARPHRD_ETHER && device->hardware_type != ARPHRD_LOOPBACK) {
        return tl::unexpected(
            what + " is not an Ethernet device (its hardware type is " +
            std::to_string(device->hardware_type) + ", not 1)"
        );
    }
    int error = prepare_socket(socket.get());
    // Kernels before 4.20 cannot, and then each frame is asked for its direction.
    const bool sees_outgoing = enable(socket.get(), PACKET_IGNORE_OUTGOING) != 0;
    if (error == 0) {
        error = bind_socket(socket.get(), *index, options.promiscuous);
    }
    if (error != 0) {
        return tl::unexpected(what + ": cannot set up the packet socket: " + error_text(error));
    }
    return std::make_unique<LinuxPort>(
        std::move(socket), *index, *device, sees_outgoing, pools.packets
    );
}

}  // namespace culvert::dataplane
