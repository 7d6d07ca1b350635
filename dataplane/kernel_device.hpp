// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the Linux and TAP ports ask the kernel about an interface, and the descriptors they own. The
// questions are ioctls (netdevice(7)) and one rtnetlink message (rtnetlink(7)) in the network
// namespace in which the descriptor was opened. Control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "tunnels/address.hpp"

struct ifreq;

namespace culvert::dataplane {

/// Closes its file descriptor.
class Descriptor {
public:
    explicit Descriptor(int value = -1) noexcept : value_(value) {}
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept : value_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return value_; }
    [[nodiscard]] bool is_open() const noexcept { return value_ >= 0; }
    /// The caller's from now on.
    [[nodiscard]] int release() noexcept { return std::exchange(value_, -1); }

private:
    int value_;
};

struct KernelDevice {
    std::string name;
    tunnels::MacAddress mac;
    std::uint16_t hardware_type = 0;  ///< ARPHRD_*.
    std::uint32_t mtu = 0;
    bool link_up = false;  ///< Up and with carrier.
};

/// "Operation not permitted" for EPERM.
[[nodiscard]] std::string error_text(int error);

/// True for 1 to 15 characters that the kernel takes literally (a '%' makes it number the device).
[[nodiscard]] bool is_interface_name(const std::string& name) noexcept;

/// `name` is an interface name (is_interface_name()).
[[nodiscard]] ifreq interface_request(const std::string& name) noexcept;

/// `socket` is any socket of the interface's network namespace. std::nullopt when the interface is
/// gone.
[[nodiscard]] std::optional<int> find_kernel_device(int socket, const std::string& name);
[[nodiscard]] std::optional<KernelDevice> query_kernel_device(int socket, int index);

/// Whether the interface's feature "tx-udp-segmentation" is on (`ethtool -k`): it cuts UDP
/// super-frames, or the other end of a veth pair takes them whole.
[[nodiscard]] bool query_udp_segmentation(int socket, const std::string& name) noexcept;

/// Packets that the interface dropped on the kernel's way out (IFLA_STATS64), over an AF_NETLINK
/// socket; std::nullopt when the interface is gone.
[[nodiscard]] std::optional<std::uint64_t> query_tx_dropped(int netlink, int index);

/// The interface's alias, empty for none, over an AF_NETLINK socket; std::nullopt when the
/// interface is gone.
[[nodiscard]] std::optional<std::string> query_alias(int netlink, int index);
/// Sets the interface's alias. Returns errno.
[[nodiscard]] int write_alias(int netlink, int index, const std::string& alias);

}  // namespace culvert::dataplane
