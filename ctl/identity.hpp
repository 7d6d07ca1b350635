// SPDX-License-Identifier: GPL-2.0-or-later
//
// What two items of a desired state must not have in common, because the world outside could not
// tell them apart: the device of a DPDK port, and the packets that a tunnel takes. Pure; any
// thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>

#include "ctl/tunnel_config.hpp"

namespace culvert::ctl {

/// The device of `devargs` in one spelling: a PCI address without its bus prefix, with its domain
/// and in lower case.
[[nodiscard]] inline std::string device_of(const std::string& devargs) {
    std::string device = devargs.substr(0, devargs.find(','));
    for (const std::string_view bus : {"pci:", "vdev:"}) {
        if (device.starts_with(bus)) {
            device.erase(0, bus.size());
        }
    }
    constexpr std::string_view kHex = "0123456789abcdefABCDEF:.";
    if (device.find_first_not_of(kHex) != std::string::npos ||
        device.find(':') == std::string::npos) {
        return device;
    }
    std::transform(device.begin(), device.end(), device.begin(), [](char c) {
        return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return std::count(device.begin(), device.end(), ':') == 1 ? "0000:" + device : device;
}

/// What decides which received packets a tunnel takes. An absent key matches packets without key
/// and with key 0. A local address, any and "flow" are levels: a packet goes to the first that has
/// it, so tunnels that differ in the level may stand beside each other. A VSID is 24 bits of a GRE
/// key, so only among VSIDs are equal numbers equal.
[[nodiscard]] inline auto receive_match(const TunnelConfig& tunnel) {
    return std::make_tuple(
        tunnel.type,
        tunnel.dst_port,
        tunnel.packet_type,
        tunnel.remote_flow,
        tunnel.remote_ip,
        tunnel.in_key_flow,
        tunnel.in_key_flow ? 0 : tunnel.in_key.value_or(0),
        tunnel.nvgre && !tunnel.in_key_flow,
        tunnel.local_flow,
        tunnel.local_ip
    );
}

}  // namespace culvert::ctl
