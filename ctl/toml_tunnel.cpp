// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads tunnels. A key that does not apply to the protocol of its tunnel is refused, not ignored:
// whoever wrote it expected an effect. One thread at a time.
#include "ctl/toml_tunnel.hpp"

#include <algorithm>

#include "ctl/geneve_option.hpp"
#include "ctl/sentence.hpp"
#include "ctl/toml_esp.hpp"
#include "ctl/toml_items.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

using tunnels::Features;
using tunnels::Payload;
using tunnels::ProtocolDescriptor;

constexpr Range kUdpPortRange{1, 65535};
constexpr Range kSourcePortRange{1024, 65535};
constexpr Range kGroupRange{0, 0xffff};
constexpr std::uint64_t kVsidMax = 0xffffff;  // RFC 7637 section 3.2.

/// A second word for a protocol, for those who have it from elsewhere. It promises IPv6.
struct TypeAlias {
    std::string_view word;
    std::string_view type;
};
constexpr std::array<TypeAlias, 1> kTypeAliasesV6{{{"ip6gre", "gre"}}};

bool is_udp(const ProtocolDescriptor& protocol) {
    return protocol.outer.ip_protocol == tunnels::kIpProtocolUdp;
}

/// Refuses `keys` for protocols of which `applies` is false, and names the others.
template <class Applies>
bool check_applies(
    const TomlTable& table,
    const ProtocolDescriptor& protocol,
    std::initializer_list<std::string_view> keys,
    Applies applies
) {
    if (applies(protocol)) {
        return true;
    }
    std::vector<std::string_view> others;
    for (const ProtocolDescriptor& other : tunnels::kProtocols) {
        if (applies(other)) {
            others.push_back(other.name);
        }
    }
    const std::string reason = "does not apply to type = " + quote(protocol.name) +
                               "; valid: " + listing(others) + " tunnels";
    for (const std::string_view key : keys) {
        table.refuse(key, reason);
    }
    return false;
}

bool check_feature(
    const TomlTable& table,
    const ProtocolDescriptor& protocol,
    std::initializer_list<std::string_view> keys,
    bool Features::*feature
) {
    return check_applies(table, protocol, keys, [feature](const ProtocolDescriptor& candidate) {
        return candidate.features.*feature;
    });
}

const ProtocolDescriptor* read_type(const TomlTable& table, TunnelConfig& tunnel, bool& wants_v6) {
    std::array<std::string_view, tunnels::kProtocolCount + kTypeAliasesV6.size()> names;
    for (std::size_t i = 0; i < tunnels::kProtocolCount; ++i) {
        names[i] = tunnels::kProtocols[i].name;
    }
    for (std::size_t i = 0; i < kTypeAliasesV6.size(); ++i) {
        names[tunnels::kProtocolCount + i] = kTypeAliasesV6[i].word;
    }
    table.require("type", listing(names));
    const std::optional<std::size_t> index = table.choice("type", names);
    if (!index) {
        return nullptr;
    }
    wants_v6 = *index >= tunnels::kProtocolCount;
    tunnel.type = wants_v6 ? kTypeAliasesV6[*index - tunnels::kProtocolCount].type : names[*index];
    const std::optional<std::uint8_t> protocol = tunnels::find_protocol(tunnel.type);
    return protocol ? &tunnels::kProtocols[*protocol] : nullptr;
}

void read_packet_type(
    const TomlTable& table, const ProtocolDescriptor& protocol, TunnelConfig& tunnel
) {
    const Features& features = protocol.features;
    tunnel.packet_type = features.ethernet ? Payload::ethernet : Payload::ip;
    table.read("packet_type", kPacketTypeWords, tunnel.packet_type);
    const bool is_l2 = tunnel.packet_type == Payload::ethernet;
    if (is_l2 ? !features.ethernet : !features.ip) {
        const Payload other = is_l2 ? Payload::ip : Payload::ethernet;
        table.invalid(
            "packet_type",
            "is nothing that " + std::string(protocol.name) + " carries",
            quote(word_of(kPacketTypeWords, other))
        );
    }
}

void read_endpoints(const TomlTable& table, bool wants_v6, TunnelConfig& tunnel) {
    std::optional<tunnels::IpAddress> remote_ip;
    table.require("remote_ip", "the IPv4 or IPv6 address of the peer, or \"flow\"");
    table.read("remote_ip", Alternative{kFlowWord, &tunnel.remote_flow}, remote_ip);
    table.read("local_ip", Alternative{kFlowWord, &tunnel.local_flow}, tunnel.local_ip);
    if (wants_v6 && (tunnel.remote_flow || (remote_ip && remote_ip->is_v4()))) {
        table.invalid("remote_ip", "does not fit type = \"ip6gre\"", "an IPv6 address");
    }
    if (tunnel.local_flow && remote_ip) {
        table.invalid(
            "local_ip",
            "needs remote_ip = \"flow\"",
            "an address, no such key, or \"flow\" for both"
        );
    }
    if (!remote_ip) {
        return;
    }
    tunnel.remote_ip = *remote_ip;
    if (tunnel.local_ip && tunnel.local_ip->is_v4() != remote_ip->is_v4()) {
        const std::string family = remote_ip->is_v4() ? "IPv4" : "IPv6";
        table.invalid(
            "local_ip",
            "is not of the family of remote_ip = " + quote(remote_ip->to_string()),
            "an " + family + " address"
        );
    }
}

void check_nvgre(const TomlTable& table, const TunnelConfig& tunnel) {
    if (tunnel.packet_type != Payload::ethernet) {
        table.invalid("nvgre", "carries Ethernet frames", "true with packet_type = \"l2\"");
    }
    if (!(tunnel.in_key || tunnel.in_key_flow) || !(tunnel.out_key || tunnel.out_key_flow)) {
        table.invalid("nvgre", "needs a key in both directions", "true with key, the VSID");
    }
    // RFC 7637 section 3.2: the C and S bits are zero.
    for (const std::string_view key : {"csum", "seq"}) {
        if (key == "csum" ? tunnel.csum : tunnel.seq) {
            table.invalid(key, "contradicts nvgre = true, whose header has no such field", "false");
        }
    }
}

void read_keys(const TomlTable& table, const ProtocolDescriptor& protocol, TunnelConfig& tunnel) {
    table.read("nvgre", tunnel.nvgre);
    check_feature(table, protocol, {"nvgre"}, &Features::nvgre_key);
    const Range range{0, tunnel.nvgre ? kVsidMax : (std::uint64_t{1} << protocol.key_bits) - 1};
    const std::string note =
        tunnel.nvgre ? " for an NVGRE VSID" : " for " + std::string(protocol.name);
    for (const std::string_view single : {"in_key", "out_key"}) {
        if (table.has("key")) {
            table.refuse(
                single,
                "cannot stand beside key, which sets both directions; valid: key "
                "alone, or in_key and out_key"
            );
        }
    }
    table.read("key", range, Alternative{kFlowWord, &tunnel.in_key_flow}, tunnel.in_key, note);
    tunnel.out_key = tunnel.in_key;
    tunnel.out_key_flow = tunnel.in_key_flow;
    table.read("in_key", range, Alternative{kFlowWord, &tunnel.in_key_flow}, tunnel.in_key, note);
    table.read(
        "out_key", range, Alternative{kFlowWord, &tunnel.out_key_flow}, tunnel.out_key, note
    );
}

void read_source_ports(const TomlTable& table, TunnelConfig& tunnel) {
    table.read("src_port_min", kSourcePortRange, tunnel.src_port_min);
    table.read("src_port_max", kSourcePortRange, tunnel.src_port_max);
    if (tunnel.src_port_min <= tunnel.src_port_max) {
        return;
    }
    const auto other = [&](std::string_view key, std::uint16_t value) {
        return std::string(key) + " = " + std::to_string(value) +
               (table.has(key) ? "" : ", the default");
    };
    if (table.has("src_port_min")) {
        table.invalid(
            "src_port_min",
            "is above " + other("src_port_max", tunnel.src_port_max),
            "a minimum that is not above the maximum"
        );
    } else {
        table.invalid(
            "src_port_max",
            "is below " + other("src_port_min", tunnel.src_port_min),
            "a maximum that is not below the minimum"
        );
    }
}

/// Keys of tunnels in UDP, and `csum`, which a protocol with a checksum of its own knows too.
void read_udp(const TomlTable& table, const ProtocolDescriptor& protocol, TunnelConfig& tunnel) {
    check_applies(
        table,
        protocol,
        {"dst_port", "src_port_min", "src_port_max", "udp6_zero_csum_rx", "udp6_zero_csum_tx"},
        is_udp
    );
    check_applies(table, protocol, {"csum"}, [](const ProtocolDescriptor& candidate) {
        return is_udp(candidate) || candidate.features.checksum;
    });
    tunnel.dst_port = protocol.outer.default_udp_port;
    table.read("dst_port", kUdpPortRange, tunnel.dst_port);
    read_source_ports(table, tunnel);
    table.read("csum", tunnel.csum);
    table.read("udp6_zero_csum_rx", tunnel.udp6_zero_csum_rx);
    table.read("udp6_zero_csum_tx", tunnel.udp6_zero_csum_tx);
    if (tunnel.udp6_zero_csum_tx && tunnel.remote_ip.is_v4()) {
        table.invalid(
            "udp6_zero_csum_tx",
            "needs IPv6, and remote_ip = " + quote(tunnel.remote_ip.to_string()) + " is IPv4",
            "true with an IPv6 remote_ip"
        );
    }
}

/// Keys of the outer IP header and of packets that do not fit.
void read_outer(const TomlTable& table, TunnelConfig& tunnel) {
    table.read("tos", Range{0, 252}, Alternative{kInheritWord, &tunnel.tos_inherit}, tunnel.tos);
    if ((tunnel.tos & 3U) != 0) {
        table.invalid(
            "tos",
            "sets the two lowest bits, which carry ECN",
            "a multiple of 4, 0-252, or \"inherit\""
        );
    }
    table.read("ttl", Range{1, 255}, Alternative{kInheritWord, &tunnel.ttl_inherit}, tunnel.ttl);
    table.read("df", tunnel.df);
    table.read("egress_mark", Range{0, 0xffffffff}, tunnel.egress_mark);
    table.read("ecn", kEcnWords, tunnel.ecn);
    dataplane::Oversize oversize{};
    table.read("oversize", kOversizeWords, oversize);
    if (!table.has("oversize")) {
        return;
    }
    tunnel.oversize = oversize;
    if (oversize != dataplane::Oversize::fragment_outer || !tunnel.remote_ip.is_v4()) {
        return;
    }
    if (!table.has("df")) {
        tunnel.df = false;
    } else if (tunnel.df) {
        table.invalid(
            "oversize",
            "contradicts df = true, which forbids fragments",
            "df = false beside it, or another word"
        );
    }
}

void read_options(const TomlTable& table, TunnelConfig& tunnel) {
    std::vector<std::string> texts;
    table.read_list("options", kGeneveOptionRule, texts);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        std::optional<GeneveOption> option = parse_geneve_option(texts[i]);
        if (!option || option->data.size() % 4 != 0 ||
            option->data.size() > kGeneveOptionDataBytesMax) {
            table.invalid_element(
                "options",
                i,
                option ? "has data of a wrong length" : "is not an option",
                kGeneveOptionRule
            );
            continue;
        }
        const bool repeated =
            std::any_of(tunnel.options.begin(), tunnel.options.end(), [&](const auto& other) {
                return other.option_class == option->option_class && other.type == option->type;
            });
        if (repeated) {
            table.invalid_element(
                "options", i, "repeats the class and type of another", "each class and type once"
            );
        }
        bytes += kGeneveOptionHeaderBytes + option->data.size();
        tunnel.options.push_back(std::move(*option));
    }
    if (bytes > tunnels::kOptionsBytesMax) {
        table.fail(
            "options",
            "options have " + std::to_string(bytes) +
                " bytes with a header of 4 bytes each; valid: at most " +
                std::to_string(tunnels::kOptionsBytesMax)
        );
    }
}

/// Keys of what only some protocols can do.
void read_extensions(
    const TomlTable& table, const ProtocolDescriptor& protocol, TunnelConfig& tunnel
) {
    check_feature(table, protocol, {"seq", "late"}, &Features::sequence);
    check_feature(table, protocol, {"gbp", "gbp_id", "gbp_admit"}, &Features::group_policy);
    check_feature(table, protocol, {"options"}, &Features::options);
    table.read("seq", tunnel.seq);
    table.read("late", kLateWords, tunnel.late);
    table.read("gbp", tunnel.gbp);
    table.read("gbp_id", kGroupRange, tunnel.gbp_id);
    table.read("gbp_admit", kGroupRange, tunnel.gbp_admit);
    for (const std::string_view key : {"gbp_id", "gbp_admit"}) {
        if (!tunnel.gbp) {
            table.refuse(
                key, "needs a tunnel that carries group policy; valid: gbp = true beside it"
            );
        }
    }
    read_options(table, tunnel);
}

}  // namespace

TunnelConfig read_tunnel(const TomlTable& table) {
    TunnelConfig tunnel;
    read_common(table, tunnel);
    bool wants_v6 = false;
    const ProtocolDescriptor* protocol = read_type(table, tunnel, wants_v6);
    read_endpoints(table, wants_v6, tunnel);
    if (protocol != nullptr) {
        read_packet_type(table, *protocol, tunnel);
        read_keys(table, *protocol, tunnel);
        read_udp(table, *protocol, tunnel);
        read_extensions(table, *protocol, tunnel);
    }
    if (tunnel.nvgre) {
        check_nvgre(table, tunnel);
    }
    read_outer(table, tunnel);
    read_encryption(table, tunnel);
    return tunnel;
}

}  // namespace culvert::ctl
