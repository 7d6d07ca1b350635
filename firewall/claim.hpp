// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keeps the kernel's own stack off the Linux interfaces that the switch reads with packet sockets:
// an nftables netdev ingress chain per interface that drops everything. Packet sockets see frames
// before that hook, the stack after it, so the kernel neither answers ARP for the switch nor sends
// ICMP "protocol unreachable" for its tunnels.
//
// The tables are created with `flags owner` where the kernel has it (5.12+), so that they vanish
// with the process even when it is killed; elsewhere remove_stale() removes what a dead process
// left. Frames that leave by the interface are not touched. Where nftables has no netdev family the
// same is done with rules in iptables' table raw (claim_raw.hpp). Control thread only.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

namespace culvert::firewall {

class InterfaceClaims {
public:
    /// `instance` tells the tables of daemons on one host apart: letters, digits, '_' and '-'.
    /// `use_owner_flag` false: as on a kernel without `flags owner`.
    [[nodiscard]] static tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
    open(const std::string& instance, bool use_owner_flag = true);
    /// With rules in iptables' table raw, whatever nftables has.
    [[nodiscard]] static tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
    open_raw(const std::string& instance);
    ~InterfaceClaims();  ///< Releases every claim.
    InterfaceClaims(const InterfaceClaims&) = delete;
    InterfaceClaims& operator=(const InterfaceClaims&) = delete;

    /// Removes the tables of Culvert processes, of any instance, that no longer run. Returns how
    /// many. Tables that Culvert did not make stay as they are.
    tl::expected<unsigned, std::string> remove_stale();

    /// Idempotent. After an interface was deleted and created again, or renamed, it must be
    /// claimed again. Fails when another running process holds the interface.
    tl::expected<void, std::string> claim(const std::string& interface);
    /// Succeeds as well when nothing is left to release.
    tl::expected<void, std::string> release(const std::string& interface);

    /// False where the kernel goes on answering ARP on a claimed interface.
    [[nodiscard]] bool covers_arp() const;

private:
    static tl::expected<std::unique_ptr<InterfaceClaims>, std::string>
    prepare(const std::string& instance);

    struct Implementation;
    explicit InterfaceClaims(std::unique_ptr<Implementation> implementation);
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace culvert::firewall
