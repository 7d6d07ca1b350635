// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's firewall as the packet path asks it, and as operators are told of it: what its rules
// say of a tunnel's packets. A packet is judged as one that conntrack sees for the first time (NEW)
// on the local device of the bridge that it comes in by. Bridges without a local port terminate no
// tunnels. Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctl/config.hpp"
#include "dataplane/admission.hpp"
#include "firewall/host.hpp"

namespace culvert::ctl {

[[nodiscard]] firewall::Address to_firewall(const tunnels::IpAddress& address) noexcept;

class FirewallAdmission final : public dataplane::Admission {
public:
    /// `local_devices` has the names of the bridges' local devices by bridge index, 0 without one.
    FirewallAdmission(
        std::shared_ptr<const firewall::Policy> policy,
        UnknownPolicy unknown,
        std::vector<firewall::Value> local_devices
    );

    /// Goes through the rules. Allocates nothing.
    [[nodiscard]] dataplane::Admitted judge(const dataplane::AdmissionQuestion& question
    ) const noexcept override;

private:
    std::shared_ptr<const firewall::Policy> policy_;
    UnknownPolicy unknown_;
    std::vector<firewall::Value> local_devices_;
};

/// What the host's rules say of the packets of a tunnel's remote address.
struct TunnelVerdict {
    enum class Kind : std::uint8_t {
        open,      ///< Cannot be said: any sender (remote_ip = "flow"), or no route to it.
        admitted,  ///< `rule` accepts them; none where nothing filters.
        dropped,   ///< By `rule`.
        unknown,   ///< Depends on what cannot be evaluated: `unknowns`.
        by_port,   ///< Depends on the sender's port, so that each flow has its own.
    };
    Kind kind = Kind::open;
    std::string rule;                   ///< As describe() words it.
    std::vector<std::string> unknowns;  ///< Rules, and firewalls that cannot be read; at most 8.
    bool enforced = false;              ///< Packets are dropped by it.
    bool lets_in = true;                ///< Where it is enforced: of unknown, what `unknown` says.

    // What was judged, and by what.
    std::optional<firewall::Header> header;
    std::optional<firewall::Header> sealed;
    std::shared_ptr<const firewall::Policy> policy;
};

/// "admitted", "dropped", "unknown", "by port", "open".
[[nodiscard]] std::string_view to_string(TunnelVerdict::Kind kind);
/// One line: "admitted", "dropped by iptables-legacy filter INPUT rule 3: -p gre -j DROP".
[[nodiscard]] std::string to_text(const TunnelVerdict& verdict);

/// Whether packets with these headers get the same answer from the same rules.
[[nodiscard]] bool is_alike(const firewall::Header& a, const firewall::Header& b);

/// `sealed` has the headers of the ESP packets in which the others come: a kernel asks its rules
/// about both, and both have to be let in. `enforced` and `lets_in` are the caller's.
[[nodiscard]] TunnelVerdict judge_tunnel(
    std::shared_ptr<const firewall::Policy> policy,
    const firewall::Header& header,
    const std::optional<firewall::Header>& sealed = std::nullopt
);

/// The rules that cannot be evaluated, as describe() words them with what it is about them. Counts
/// all; lists at most `listed_max`.
struct UnknownRules {
    std::size_t count = 0;
    std::vector<std::string> listed;
};
[[nodiscard]] UnknownRules unknown_rules(const firewall::Ruleset& rules, std::size_t listed_max);

}  // namespace culvert::ctl
