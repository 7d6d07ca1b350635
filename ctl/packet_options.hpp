// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packets that a command line names: tunnel types, --protocol, --dport, --sport and --source.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/local_command.hpp"
#include "firewall/opening.hpp"

namespace culvert::ctl {

/// Sources of one command; a rule is made for each of them and each type.
constexpr std::size_t kSourcesMax = 256;
/// Bytes of --comment, so that the whole comment fits into the 127 that nftables has for it.
constexpr std::size_t kCommentBytesMax = 80;

/// Each packet named in each family, IPv4 first; without a source both, else the sources'. GRE when
/// nothing is named. A type that is several protocols (esp) gives several.
[[nodiscard]] Checked<std::vector<firewall::Selector>> read_selectors(const LocalCall& call);
[[nodiscard]] Checked<firewall::BackendChoice> read_backend(const LocalCall& call);
[[nodiscard]] Checked<std::optional<std::uint16_t>>
read_port(const LocalCall& call, std::string_view option);
[[nodiscard]] Checked<std::uint8_t> read_protocol(const std::string& word);
/// Of --comment; empty without.
[[nodiscard]] Checked<std::string> read_comment(const LocalCall& call);

/// Whether rules of every tool can ask for ports of a protocol's packets.
[[nodiscard]] bool takes_ports(std::uint8_t protocol);
/// "udp to port 4789", without the family and the source.
[[nodiscard]] std::string name_of(const firewall::Selector& selector);
[[nodiscard]] std::string_view name_of(firewall::Family family);
/// The names of several, each once: "gre and udp to port 4789".
[[nodiscard]] std::string names_of(const std::vector<firewall::Selector>& selectors);

[[nodiscard]] LocalAnswer refuse(const LocalRefusal& refusal);
/// What of the host's firewall could not be read.
void complain_of(const Words& troubles, LocalAnswer& answer);

}  // namespace culvert::ctl
