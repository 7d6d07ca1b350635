// SPDX-License-Identifier: GPL-2.0-or-later
//
// One rule as it stands in a table of iptables: struct ipt_entry or ip6t_entry, its matches, its
// target. Reading survives any bytes; writing gives the bytes that iptables would write, so that
// its own commands find the rule. Jumps are resolved by legacy_table.hpp. One thread.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/ipset.hpp"
#include "firewall/opening.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

class LegacyEntryReader {
public:
    LegacyEntryReader(Family family, IpsetReader& sets) : family_(family), sets_(sets) {}

    /// The rule without its handle. A rule whose target is a chain, or none, has the action jump
    /// (go_to) and is without the chain; one of other than the expected shape is a sentence.
    [[nodiscard]] tl::expected<Rule, std::string> read(std::span<const std::byte> entry);

private:
    template <class Iptc>
    tl::expected<Rule, std::string> read_as(std::span<const std::byte> entry);
    template <class Iptc>
    void read_header(const typename Iptc::Header& header, Rule& rule);
    void read_protocol(unsigned protocol, bool negated, Rule& rule);
    tl::expected<void, std::string> read_matches(std::span<const std::byte> matches, Rule& rule);
    tl::expected<void, std::string>
    read_target_of(std::span<const std::byte> target, bool is_goto, Rule& rule);

    Family family_;
    IpsetReader& sets_;
    std::map<unsigned, std::string> protocol_names_;  ///< /etc/protocols is slow to read.
};

/// The entry that admits what `selector` names. Fails for ports of a protocol that has none, and
/// for a comment that is too long.
[[nodiscard]] tl::expected<std::vector<std::byte>, std::string>
make_legacy_entry(const Selector& selector, std::string_view comment);

}  // namespace culvert::firewall
