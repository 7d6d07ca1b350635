// SPDX-License-Identifier: GPL-2.0-or-later
//
// How tunnels reach their peers, in the words of ovs-vswitchd(8)'s "Route" and "Tunnel neighbour"
// verbs. Routes and neighbours are the kernel's, so there is none to add or delete here.

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "ctl/route_table.hpp"
#include "ctl/sentence.hpp"
#include "ctl/show_ovs.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

/// The bits of a prefix in IPv6's (mapped) form, where IPv4's are the last 32.
bool covers(const AddressEvent& prefix, const IpAddress& address) {
    if (prefix.address.is_v4() != address.is_v4()) {
        return false;
    }
    unsigned bits = prefix.prefix_bits + (address.is_v4() ? 96U : 0U);
    for (std::size_t i = 0; bits != 0 && i < address.bytes.size(); ++i) {
        const unsigned here = std::min(bits, 8U);
        const auto mask = static_cast<std::uint8_t>(0xff00U >> here);
        if (((prefix.address.bytes[i] ^ address.bytes[i]) & mask) != 0) {
            return false;
        }
        bits -= here;
    }
    return true;
}

/// The source address of packets that take the route; nothing: the kernel has none to give.
std::optional<IpAddress> source_of(const OvsView& view, const HostRoute& route) {
    if (route.source) {
        return route.source;
    }
    if (route.local) {
        return route.prefix;
    }
    const IpAddress& towards = route.gateway ? *route.gateway : route.prefix;
    std::optional<IpAddress> other;
    for (const AddressEvent& one : view.underlay.prefixes(route.ifindex)) {
        if (covers(one, towards)) {
            return one.address;
        }
        if (!other && one.address.is_v4() == towards.is_v4()) {
            other = one.address;
        }
    }
    return other;
}

std::string device_name(const OvsView& view, int ifindex) {
    const auto link = view.underlay.link(ifindex);
    return link ? link->name : std::string();
}

/// A local address's route leads to `lo`; tools want the interface that has it.
int device_of(const OvsView& view, const IpAddress& address, int otherwise) {
    for (const auto& [ifindex, addresses] : view.underlay.addresses()) {
        if (addresses.contains(address)) {
            return ifindex;
        }
    }
    return otherwise;
}

}  // namespace

Result<std::string> ovs_route_show(const OvsView& view, const Arguments& /*arguments*/) {
    auto routes = read_host_routes();
    if (!routes) {
        return tl::unexpected(routes.error());
    }
    std::stable_sort(routes->begin(), routes->end(), [](const HostRoute& a, const HostRoute& b) {
        const auto width = [](const HostRoute& r) {
            return r.prefix_bits + (r.prefix.is_v4() ? 96 : 0);
        };
        return a.local != b.local ? a.local : width(a) > width(b);
    });
    std::string text = "Route Table:\n";
    for (const HostRoute& route : *routes) {
        const auto source = source_of(view, route);
        const std::string device = device_name(view, route.ifindex);
        if (!source || device.empty()) {
            continue;
        }
        text += fmt::format(
            "Cached: {}/{} dev {}{} SRC {}{}\n",
            route.prefix.to_string(),
            route.prefix_bits,
            device,
            route.gateway ? " GW " + route.gateway->to_string() : "",
            source->to_string(),
            route.local ? " local" : ""
        );
    }
    if (routes->size() == kHostRoutesMax) {
        text += fmt::format("(only the first {} routes)\n", kHostRoutesMax);
    }
    return text;
}

Result<std::string> ovs_route_lookup(const OvsView& view, const Arguments& arguments) {
    const auto address = IpAddress::parse(arguments[0]);
    std::uint32_t mark = 0;
    bool valid = address.has_value();
    if (valid && arguments.size() == 2) {
        constexpr std::string_view kMark = "pkt_mark=";
        const std::string& word = arguments[1];
        const char* const end = word.data() + word.size();
        valid = word.starts_with(kMark);
        if (valid) {
            const auto [stop, error] = std::from_chars(word.data() + kMark.size(), end, mark);
            valid = error == std::errc{} && stop == end;
        }
    }
    if (!valid) {
        return tl::unexpected(std::string("Invalid parameters"));
    }
    const auto route = view.underlay.route(*address, std::nullopt, mark);
    if (!route) {
        return tl::unexpected(std::string("Not found"));
    }
    const int ifindex = route->local ? device_of(view, *address, route->ifindex) : route->ifindex;
    return fmt::format(
        "src {}\ngateway {}\ndev {}\n",
        route->source.to_string(),
        route->next_hop == *address ? "::" : route->next_hop.to_string(),
        device_name(view, ifindex)
    );
}

Result<std::string> ovs_neigh_show(const OvsView& view, const Arguments& /*arguments*/) {
    std::string text = fmt::format("{:<46}{:<20}{}\n", "IP", "MAC", "Bridge");
    text += std::string(74, '=') + "\n";
    for (const auto& [name, bridge] : view.model.bridges) {
        for (const auto& [index, port] : view.model.ports) {
            if (port.bridge != bridge.index || port.role != PortRole::local || port.ifindex == 0) {
                continue;
            }
            for (const NeighbourEvent& one : view.underlay.neighbours(port.ifindex)) {
                if (one.mac && !one.address.is_multicast()) {
                    text += fmt::format(
                        "{:<46}{:<20}{}\n", one.address.to_string(), one.mac->to_string(), name
                    );
                }
            }
        }
    }
    return text;
}

}  // namespace culvert::ctl
