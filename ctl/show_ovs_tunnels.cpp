// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tunnels in the words of tnl/ports/show, ofproto/list-tunnels and dpif/show. In OVS tunnels of a
// type and UDP port share one port of the datapath; here each is a port, and what stands for the
// shared one is the lowest of them.

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "ctl/show_ovs.hpp"

namespace culvert::ctl {

namespace {

constexpr unsigned kProtocolUdp = 17;
constexpr unsigned kProtocolGre = 47;

/// The UDP port that needs no mention.
std::uint16_t usual_port(std::string_view type) {
    return type == "vxlan" ? 4789 : type == "geneve" ? 6081 : type == "lisp" ? 4341 : 0;
}

/// "vxlan_sys_4789", "gre_sys": the shared port's name.
std::string shared_name(const TunnelConfig& tunnel) {
    const std::string_view type = tunnel.type == "geneve"      ? "genev"
                                  : tunnel.type == "vxlan-gpe" ? "vxlan"
                                                               : std::string_view(tunnel.type);
    return tunnel.dst_port == 0 ? fmt::format("{}_sys", type)
                                : fmt::format("{}_sys_{}", type, tunnel.dst_port);
}

struct SharedPort {
    std::string name;
    unsigned number = 0;
    unsigned tunnels = 0;
    std::uint16_t udp_port = 0;
};

std::vector<SharedPort> shared_ports(const OvsView& view) {
    std::vector<SharedPort> shared;
    for (const auto& [index, port] : view.model.ports) {
        if (port.role != PortRole::tunnel) {
            continue;
        }
        const std::string name = shared_name(port.tunnel);
        auto found = std::find_if(shared.begin(), shared.end(), [&](const SharedPort& one) {
            return one.name == name;
        });
        if (found == shared.end()) {
            shared.push_back({name, ovs_dp_port(port), 0, port.tunnel.dst_port});
            found = std::prev(shared.end());
        }
        ++found->tunnels;
    }
    return shared;
}

std::string key_text(const std::optional<std::uint32_t>& key, bool flow) {
    return flow ? "flow" : std::to_string(key.value_or(0));
}

std::string hex_key(const std::optional<std::uint32_t>& key, bool flow) {
    return flow ? "flow" : key.value_or(0) == 0 ? "0" : fmt::format("{:#x}", *key);
}

/// The options that differ from the default, by name, as netdev_get_config() of OVS has them.
std::map<std::string, std::string> options_of(const TunnelConfig& tunnel) {
    std::map<std::string, std::string> options;
    const bool has_in = tunnel.in_key.has_value() || tunnel.in_key_flow;
    const bool has_out = tunnel.out_key.has_value() || tunnel.out_key_flow;
    if (has_in && has_out && tunnel.in_key_flow == tunnel.out_key_flow &&
        (tunnel.in_key_flow || tunnel.in_key == tunnel.out_key)) {
        options["key"] = key_text(tunnel.in_key, tunnel.in_key_flow);
    } else {
        if (has_in) {
            options["in_key"] = key_text(tunnel.in_key, tunnel.in_key_flow);
        }
        if (has_out) {
            options["out_key"] = key_text(tunnel.out_key, tunnel.out_key_flow);
        }
    }
    options["remote_ip"] = tunnel.remote_flow ? "flow" : tunnel.remote_ip.to_string();
    if (tunnel.local_flow || tunnel.local_ip) {
        options["local_ip"] = tunnel.local_flow ? "flow" : tunnel.local_ip->to_string();
    }
    if (tunnel.dst_port != 0 && tunnel.dst_port != usual_port(tunnel.type)) {
        options["dst_port"] = std::to_string(tunnel.dst_port);
    }
    if (tunnel.tos_inherit || tunnel.tos != 0) {
        options["tos"] = tunnel.tos_inherit ? "inherit" : fmt::format("{:#x}", tunnel.tos);
    }
    if (tunnel.ttl_inherit || tunnel.ttl != 64) {
        options["ttl"] = tunnel.ttl_inherit ? "inherit" : std::to_string(tunnel.ttl);
    }
    const auto flag = [&](bool differs, const char* name, const char* value) {
        if (differs) {
            options[name] = value;
        }
    };
    flag(!tunnel.df, "df_default", "false");
    flag(tunnel.csum, "csum", "true");
    flag(tunnel.seq, "seq", "true");
    flag(tunnel.gbp, "exts", "gbp");
    if (tunnel.egress_mark != 0) {
        options["egress_pkt_mark"] = std::to_string(tunnel.egress_mark);
    }
    return options;
}

std::string tunnel_line(const SwitchPort& port) {
    const TunnelConfig& tunnel = port.tunnel;
    const std::string source = tunnel.local_flow ? "flow"
                               : tunnel.local_ip ? tunnel.local_ip->to_string()
                                                 : "::";
    std::string text = fmt::format(
        "port {}: {} ({}: {}->{}, key={}",
        ovs_dp_port(port),
        port.name,
        tunnel.type,
        source,
        tunnel.remote_flow ? "flow" : tunnel.remote_ip.to_string(),
        hex_key(tunnel.in_key, tunnel.in_key_flow)
    );
    if (tunnel.egress_mark != 0) {
        text += fmt::format(", pkt mark={}", tunnel.egress_mark);
    }
    if (tunnel.in_key != tunnel.out_key || tunnel.in_key_flow != tunnel.out_key_flow) {
        const bool none = !tunnel.out_key && !tunnel.out_key_flow;
        text += ", out_key=" + (none ? "none" : hex_key(tunnel.out_key, tunnel.out_key_flow));
    }
    text += fmt::format(
        ", {}, dp port={}",
        tunnel.packet_type == tunnels::Payload::ethernet ? "legacy_l2" : "legacy_l3",
        ovs_dp_port(port)
    );
    if (tunnel.tos_inherit) {
        text += ", tos=inherit";
    } else if (tunnel.tos != 0) {
        text += fmt::format(", tos={:x}", tunnel.tos);
    }
    text += tunnel.ttl_inherit ? ", ttl=inherit" : fmt::format(", ttl={}", tunnel.ttl);
    text += tunnel.df ? "" : ", df=false";
    text += tunnel.csum ? ", csum=true" : "";
    return text + ")\n";
}

std::string match_line(
    const SharedPort& shared, const tunnels::MacAddress& mac, const tunnels::IpAddress& address
) {
    return fmt::format(
        "{} ({}) : eth(dst={}),eth_type({}),{}(dst={},proto={},frag=no){}\n",
        shared.name,
        shared.number,
        mac.to_string(),
        address.is_v4() ? "0x0800" : "0x86dd",
        address.is_v4() ? "ipv4" : "ipv6",
        address.to_string(),
        shared.udp_port == 0 ? kProtocolGre : kProtocolUdp,
        shared.udp_port == 0 ? "" : fmt::format(",udp(dst={})", shared.udp_port)
    );
}

}  // namespace

std::string ovs_port_type(const SwitchPort& port) {
    if (port.role == PortRole::tunnel) {
        std::string text = port.tunnel.type + ": ";
        const char* separator = "";
        for (const auto& [key, value] : options_of(port.tunnel)) {
            text.append(separator).append(key).append("=").append(value);
            separator = ", ";
        }
        return text;
    }
    if (port.role == PortRole::local) {
        return "tap";
    }
    switch (port.config.kind) {
    case PortKind::tap:
        return "tap";
    case PortKind::dpdk:
        return "dpdk: devargs=" + port.config.devargs;
    case PortKind::patch:
        return "patch: peer=" + port.config.peer;
    case PortKind::linux_interface:
        break;
    }
    return "system";
}

Result<std::string> ovs_tnl_ports(const OvsView& view, const Arguments& arguments) {
    if (!arguments.empty() && arguments[0] != "-v") {
        return tl::unexpected(std::string("usage: tnl/ports/show [-v]"));
    }
    std::string text = "Listening ports:\n";
    for (const SharedPort& shared : shared_ports(view)) {
        if (arguments.empty()) {
            text += fmt::format("{} ({}) ref_cnt={}\n", shared.name, shared.number, shared.tunnels);
            continue;
        }
        for (const auto& [index, port] : view.model.ports) {
            const auto& all = view.underlay.addresses();
            const auto own = port.role == PortRole::local ? all.find(port.ifindex) : all.end();
            if (own == all.end()) {
                continue;
            }
            for (const tunnels::IpAddress& address : own->second) {
                text += match_line(shared, port.mac, address);
            }
        }
    }
    return text;
}

Result<std::string> ovs_list_tunnels(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text;
    for (const auto& [index, port] : view.model.ports) {
        if (port.role == PortRole::tunnel) {
            text += tunnel_line(port);
        }
    }
    return text;
}

}  // namespace culvert::ctl
