// SPDX-License-Identifier: GPL-2.0-or-later
//
// Interface claims for kernels whose nftables has no netdev chains: a rule in the table raw of
// iptables for each interface, IPv4 and IPv6,
//   -A PREROUTING -i IFACE -m comment --comment "culvert claim INSTANCE pid_P_start_S" -j DROP
// PREROUTING comes after packet sockets and before connection tracking. ARP does not pass it, so
// the kernel goes on answering that. Rules outlive a killed process; remove_stale() is for them.
// Used by claim.cpp alone. Control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/address.hpp"
#include "firewall/process.hpp"

namespace culvert::firewall {

class RawClaims {
public:
    /// Makes the tables where the kernel has none. Fails without one for IPv4; without one for
    /// IPv6 there is no IPv6 to keep away.
    [[nodiscard]] static tl::expected<std::unique_ptr<RawClaims>, std::string>
    open(const std::string& instance, const Process& self);

    /// The contracts of InterfaceClaims.
    tl::expected<unsigned, std::string> remove_stale();
    tl::expected<void, std::string> claim(const std::string& interface);
    tl::expected<void, std::string> release(const std::string& interface);

private:
    RawClaims(std::string instance, const Process& self, std::vector<Family> families);

    std::string instance_;
    Process self_;
    std::vector<Family> families_;
};

}  // namespace culvert::firewall
