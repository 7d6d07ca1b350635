// SPDX-License-Identifier: GPL-2.0-or-later
//
// What only one interface of a database can have, and who has it: a name, a DPDK device, a UDP port
// for a type, the packets of a tunnel, a place among all ports. Control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>

#include "ctl/config.hpp"
#include "ctl/identity.hpp"

namespace culvert::ctl {

/// What an interface becomes.
using OvsdbItem = std::variant<LocalPortConfig, PortConfig, TunnelConfig>;

class OvsdbClaims {
public:
    [[nodiscard]] bool claim_name(const std::string& name) { return names_.insert(name).second; }
    [[nodiscard]] bool claim_bond(const std::string& name);
    /// The reason why the item cannot be had, as Interface.error has it, or nothing. A tunnel stays
    /// where it is from now on.
    [[nodiscard]] std::string claim(const std::string& name, const OvsdbItem& item);
    /// An item of no interface.
    void count() { ++items_; }

private:
    [[nodiscard]] std::string claim_tunnel(const TunnelConfig& tunnel);
    [[nodiscard]] std::string ike_port_problem(const TunnelConfig& tunnel) const;

    std::unordered_set<std::string> names_;
    std::unordered_set<std::string> devices_;  ///< Of DPDK.
    std::unordered_map<std::uint16_t, const TunnelConfig*> udp_ports_;
    std::set<decltype(receive_match(TunnelConfig{}))> matches_;
    const TunnelConfig* ike_ = nullptr;  ///< One that wants its keys by IKE.
    std::size_t items_ = 0;
};

}  // namespace culvert::ctl
