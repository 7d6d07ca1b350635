// SPDX-License-Identifier: GPL-2.0-or-later
//
// A device that packets enter and leave by: a Linux interface (AF_PACKET), a TAP device of ours, or
// a DPDK ethdev. receive() and transmit() belong to workers; everything else to the control thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dataplane/packet.hpp"
#include "dataplane/result.hpp"
#include "tunnels/address.hpp"

namespace culvert::dataplane {

struct PortInfo {
    std::string driver;  ///< "af_packet", "tap", or the DPDK driver's name.
    tunnels::MacAddress mac{};
    std::uint32_t mtu = 0;  ///< Bytes of L3 payload the device carries; 0 when unknown.
    bool link_up = false;
    bool trains = false;  ///< Packets of a UDP tunnel leave in UDP super-frames (bundle.hpp).
    unsigned rx_queues = 1;
    int numa_node = -1;            ///< Of the device; -1: not known.
    std::uint32_t speed_mbps = 0;  ///< DPDK devices; 0 when unknown.
    bool full_duplex = true;       ///< The same, with a speed.
    unsigned tx_queues = 1;  ///< Fewer than workers: they share, under a lock inside the port.
};

/// What the device itself lost, cumulative.
struct PortErrors {
    std::uint64_t rx_missed = 0;  ///< Arrived but not taken (ring or socket buffer full).
    std::uint64_t rx_errors = 0;
    std::uint64_t rx_malformed = 0;  ///< Of these: dropped in receive() as offload_malformed.
    std::uint64_t tx_errors = 0;
};

class Port {
public:
    virtual ~Port() = default;

    /// Takes up to burst.size() packets. Never blocks. One thread per queue.
    [[nodiscard]] virtual std::size_t
    receive(unsigned queue, std::span<rte_mbuf*> burst) noexcept = 0;

    /// Sends; returns how many from the front were taken. The rest stays the caller's. `worker` is
    /// the calling worker's index; several workers may call at once.
    [[nodiscard]] virtual std::size_t
    transmit(unsigned worker, std::span<rte_mbuf*> burst) noexcept = 0;

    /// A descriptor that polls readable while packets wait on `queue`, or -1: the port must be
    /// polled.
    [[nodiscard]] virtual int wake_fd(unsigned queue) const noexcept = 0;

    /// transmit() accepts pending checksums and super-frames (the kernel's virtio_net_hdr carries
    /// them).
    [[nodiscard]] virtual bool carries_offloads() const noexcept = 0;

    [[nodiscard]] virtual PortInfo info() const = 0;
    /// The interface's settings may have changed: those that matter to transmit() are read anew.
    virtual void refresh() noexcept {}
    [[nodiscard]] virtual PortErrors errors() const = 0;
    /// A device that would outlive the port goes away with it.
    virtual void discard() noexcept {}
};

/// The pools a port draws from.
struct PacketPools {
    rte_mempool* packets = nullptr;  ///< Data room RTE_PKTMBUF_HEADROOM + kMbufDataBytes.
    rte_mempool* shares = nullptr;   ///< Indirect buffers: no data room.
};

struct LinuxPortOptions {
    std::string interface;  ///< Existing kernel interface in the caller's network namespace.
    bool promiscuous = true;
};

struct TapPortOptions {
    std::string name;  ///< 1-15 characters; the device is created and vanishes with the port.
    std::optional<tunnels::MacAddress> mac;
    std::optional<std::uint32_t> mtu;
    bool keep = false;  ///< It outlives the port, and one that did is taken over (tap_mark()).
};

/// The alias (ifalias) by which a TAP device of this name is known as one that Culvert keeps.
[[nodiscard]] std::string tap_mark(const std::string& name);

struct EthdevPortOptions {
    std::string name;        ///< Port name, for messages.
    std::string devargs;     ///< "0000:03:00.0", "net_vhost0,iface=/run/x.sock", ...
    unsigned rx_queues = 1;  ///< 0: as many as `tx_queues`, if the device has them.
    unsigned tx_queues = 1;  ///< One for each worker is best.
    std::optional<std::uint32_t> mtu;
    std::uint16_t rx_descriptors = 1024;
    std::uint16_t tx_descriptors = 1024;
};

[[nodiscard]] Result<std::unique_ptr<Port>>
open_linux_port(const LinuxPortOptions&, const PacketPools&);
[[nodiscard]] Result<std::unique_ptr<Port>>
open_tap_port(const TapPortOptions&, const PacketPools&);
[[nodiscard]] Result<std::unique_ptr<Port>>
open_ethdev_port(const EthdevPortOptions&, const PacketPools&);

}  // namespace culvert::dataplane
