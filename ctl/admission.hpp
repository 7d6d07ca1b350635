// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whether the host's INPUT admits packets that a selector means. Rules may ask for more than a
// selector says (the sender, the host's own address, the interface), so several packets stand for
// all: from both ends of its source, or from two senders that no rule is likely to know, to each
// address of the host by the interface that has it. Where they fare differently the answer is
// neither yes nor no. An instance belongs to one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctl/ctl_commands.hpp"
#include "firewall/host.hpp"
#include "firewall/opening.hpp"

namespace culvert::ctl {

/// Where rules look at the sender's port and none is named: one that tunnels choose from.
constexpr std::uint16_t kSenderPort = 40'000;

/// Where a packet may come in.
struct Entrance {
    firewall::Address destination;
    std::string interface;
};
/// The host's own addresses, without loopback and link-local ones; of a family that has none, one
/// that stands for it.
[[nodiscard]] std::vector<Entrance> entrances();

struct Admission {
    enum class Verdict : std::uint8_t { admitted, dropped, depends };
    Verdict verdict = Verdict::admitted;
    std::optional<firewall::RuleRef> decider;  ///< None: nothing filters them.
    Words unknown = {};  ///< depends: what could not be evaluated; empty: the packets differ.
    bool operator==(const Admission&) const = default;
};

class Admissions {
public:
    /// `policy` has to outlive it.
    Admissions(const firewall::Policy& policy, std::vector<Entrance> entrances)
        : policy_(policy), entrances_(std::move(entrances)) {}

    [[nodiscard]] Admission of(const firewall::Selector& selector) const;
    /// One sentence about `selector`: "INPUT drops gre (IPv4): iptables-legacy filter INPUT rule 3:
    /// ...", `families` in brackets.
    [[nodiscard]] std::string sentence(
        const firewall::Selector& selector, const Admission& admission, std::string_view families
    ) const;

private:
    void add(Admission& all, bool& is_first, const firewall::Header& header) const;

    const firewall::Policy& policy_;
    std::vector<Entrance> entrances_;
};

}  // namespace culvert::ctl
