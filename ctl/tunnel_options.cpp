// SPDX-License-Identifier: GPL-2.0-or-later
//
// Options of tunnels as keys and values. See tunnel_options.hpp.
#include "ctl/tunnel_options.hpp"

#include <fmt/format.h>

#include "ctl/config_words.hpp"
#include "tunnels/esp/algorithm.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

using tunnels::Features;

template <class T>
OptionValue number_of(const std::optional<T>& value) {
    return value ? OptionValue(std::uint64_t{*value}) : OptionValue();
}

OptionValue word_value(std::string_view word) {
    return std::string(word);
}

/// A number, an address or nothing, unless a word stands in its place.
OptionValue or_word(bool chosen, std::string_view word, OptionValue otherwise) {
    return chosen ? word_value(word) : std::move(otherwise);
}

OptionValue options_value(const std::vector<GeneveOption>& options) {
    std::vector<std::string> texts;
    for (const GeneveOption& option : options) {
        std::string text = fmt::format("{:#06x}:{:#04x}:", option.option_class, option.type);
        for (const std::uint8_t byte : option.data) {
            text += fmt::format("{:02x}", byte);
        }
        texts.push_back(std::move(text));
    }
    return texts.empty() ? OptionValue() : OptionValue(std::move(texts));
}

void add_endpoints(const TunnelConfig& tunnel, std::vector<TunnelOption>& out) {
    const OptionValue local =
        tunnel.local_ip ? OptionValue(tunnel.local_ip->to_string()) : OptionValue();
    out.push_back({"packet_type", word_value(word_of(kPacketTypeWords, tunnel.packet_type))});
    out.push_back(
        {"remote_ip", or_word(tunnel.remote_flow, kFlowWord, tunnel.remote_ip.to_string())}
    );
    out.push_back({"local_ip", or_word(tunnel.local_flow, kFlowWord, local)});
    out.push_back({"in_key", or_word(tunnel.in_key_flow, kFlowWord, number_of(tunnel.in_key))});
    out.push_back({"out_key", or_word(tunnel.out_key_flow, kFlowWord, number_of(tunnel.out_key))});
}

void add_outer(
    const TunnelConfig& tunnel,
    bool is_udp,
    const Features& features,
    std::vector<TunnelOption>& out
) {
    out.push_back({"nvgre", tunnel.nvgre, features.nvgre_key});
    out.push_back({"dst_port", std::uint64_t{tunnel.dst_port}, is_udp});
    out.push_back({"src_port_min", std::uint64_t{tunnel.src_port_min}, is_udp});
    out.push_back({"src_port_max", std::uint64_t{tunnel.src_port_max}, is_udp});
    out.push_back({"tos", or_word(tunnel.tos_inherit, kInheritWord, std::uint64_t{tunnel.tos})});
    out.push_back({"ttl", or_word(tunnel.ttl_inherit, kInheritWord, std::uint64_t{tunnel.ttl})});
    out.push_back({"df", tunnel.df});
    out.push_back({"csum", tunnel.csum, is_udp || features.checksum});
    out.push_back({"udp6_zero_csum_rx", tunnel.udp6_zero_csum_rx, is_udp});
    out.push_back({"udp6_zero_csum_tx", tunnel.udp6_zero_csum_tx, is_udp});
    out.push_back({"egress_mark", std::uint64_t{tunnel.egress_mark}});
    out.push_back({"ecn", word_value(word_of(kEcnWords, tunnel.ecn))});
    out.push_back(
        {"oversize",
         tunnel.oversize ? word_value(word_of(kOversizeWords, *tunnel.oversize)) : OptionValue()}
    );
}

OptionValue spi_value(std::uint32_t spi) {
    return fmt::format("{:#x}", spi);
}

OptionValue udp_encap_value(const std::optional<UdpEncapsulation>& ports) {
    return ports ? OptionValue(fmt::format("{} to {}", ports->local_port, ports->remote_port))
                 : OptionValue(false);
}

OptionValue text_value(const std::string& text) {
    return text.empty() ? OptionValue() : OptionValue(text);
}

/// Keys are named by their files; no secret is an option.
void add_esp(const std::optional<EspConfig>& config, std::vector<TunnelOption>& out) {
    static const EspConfig none;
    const EspConfig& esp = config ? *config : none;
    const auto add = [&](std::string_view key, OptionValue value) {
        out.push_back({key, config ? std::move(value) : OptionValue(), config.has_value()});
    };
    add("esp.algorithm", word_value(tunnels::row_of(esp.algorithm).name));
    add("esp.mode", word_value(word_of(kEspModeWords, esp.mode)));
    add("esp.spi_in", spi_value(esp.spi_in));
    add("esp.spi_out", spi_value(esp.spi_out));
    add("esp.key_in_file", text_value(esp.key_in_file));
    add("esp.key_out_file", text_value(esp.key_out_file));
    add("esp.esn", esp.esn);
    add("esp.replay_window", std::uint64_t{esp.replay_window});
    add("esp.udp_encap", udp_encap_value(esp.udp_encap));
    add("esp.soft_bytes", number_of(esp.soft.bytes));
    add("esp.soft_packets", number_of(esp.soft.packets));
    add("esp.soft_s", number_of(esp.soft.seconds));
    add("esp.hard_bytes", number_of(esp.hard.bytes));
    add("esp.hard_packets", number_of(esp.hard.packets));
    add("esp.hard_s", number_of(esp.hard.seconds));
}

void add_ike(const std::optional<IkeConfig>& config, std::vector<TunnelOption>& out) {
    static const IkeConfig none;
    const IkeConfig& ike = config ? *config : none;
    const auto add = [&](std::string_view key, OptionValue value) {
        out.push_back({key, config ? std::move(value) : OptionValue(), config.has_value()});
    };
    // A database has the key itself, which is only said to be there.
    add("ike.psk", !ike.psk.empty() || !ike.psk_file.empty());
    add("ike.psk_file", text_value(ike.psk_file));
    add("ike.remote_cert", text_value(ike.remote_cert));
    add("ike.remote_name", text_value(ike.remote_name));
    add("ike.udp_encap", ike.udp_encap);
}

std::vector<TunnelOption> options_of(const TunnelConfig& tunnel) {
    const std::optional<std::uint8_t> protocol = tunnels::find_protocol(tunnel.type);
    const Features features = protocol ? tunnels::kProtocols[*protocol].features : Features{};
    const bool is_udp =
        protocol && tunnels::kProtocols[*protocol].outer.ip_protocol == tunnels::kIpProtocolUdp;
    std::vector<TunnelOption> out;
    add_endpoints(tunnel, out);
    add_outer(tunnel, is_udp, features, out);
    out.push_back({"seq", tunnel.seq, features.sequence});
    out.push_back({"late", word_value(word_of(kLateWords, tunnel.late)), features.sequence});
    out.push_back({"gbp", tunnel.gbp, features.group_policy});
    out.push_back({"gbp_id", number_of(tunnel.gbp_id), features.group_policy});
    out.push_back({"gbp_admit", number_of(tunnel.gbp_admit), features.group_policy});
    out.push_back({"options", options_value(tunnel.options), features.options});
    add_esp(tunnel.esp, out);
    add_ike(tunnel.ike, out);
    return out;
}

struct TextOf {
    std::string operator()(std::monostate /*none*/) const { return "none"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::uint64_t value) const { return std::to_string(value); }
    std::string operator()(const std::string& value) const { return value; }
    std::string operator()(const std::vector<std::string>& values) const {
        std::string text;
        for (const std::string& value : values) {
            text += (text.empty() ? "" : ", ") + value;
        }
        return "[" + text + "]";
    }
};

}  // namespace

std::vector<TunnelOption> tunnel_options(const TunnelConfig& tunnel) {
    TunnelConfig plain;
    plain.type = tunnel.type;
    if (const auto protocol = tunnels::find_protocol(tunnel.type)) {
        plain.dst_port = tunnels::kProtocols[*protocol].outer.default_udp_port;
        plain.packet_type = tunnels::kProtocols[*protocol].features.ethernet
                                ? tunnels::Payload::ethernet
                                : tunnels::Payload::ip;
    }
    std::vector<TunnelOption> options = options_of(tunnel);
    const std::vector<TunnelOption> defaults = options_of(plain);
    for (std::size_t i = 0; i < options.size(); ++i) {
        options[i].is_default = options[i].value == defaults[i].value;
    }
    return options;
}

bool is_of_encryption(std::string_view key) {
    return key.starts_with("esp.") || key.starts_with("ike.");
}

std::string text_of(const OptionValue& value) {
    return std::visit(TextOf{}, value);
}

std::string prefix_text(const EidConfig& eid) {
    return eid.prefix.to_string() + "/" + std::to_string(eid.prefix_bits);
}

}  // namespace culvert::ctl
