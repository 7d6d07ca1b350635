// SPDX-License-Identifier: GPL-2.0-or-later
//
// The xt matches that look at ports: tcp, udp, udplite, sctp, dccp and multiport. The kernel takes
// each only in a rule that asks for its protocol, so the protocol is the first condition here. What
// they read beside ports (TCP flags, chunk types) is unknown. Pure; any thread.
#include "firewall/xt_match.hpp"

#include <array>
#include <memory>
#include <utility>

#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_multiport.h>
#include <linux/netfilter/xt_tcpudp.h>

namespace culvert::firewall::xt {

namespace {

constexpr std::uint16_t kPortMax = 0xffff;

constexpr std::uint32_t kSctpSourcePorts = 1;
constexpr std::uint32_t kSctpDestinationPorts = 2;
constexpr std::uint32_t kSctpChunkTypes = 4;

std::string port_range(std::uint16_t low, std::uint16_t high) {
    return low == high ? std::to_string(low) : std::to_string(low) + ':' + std::to_string(high);
}

void read_ports(
    const Reading& reading, Field field, std::uint16_t low, std::uint16_t high, bool negated
) {
    if (low == 0 && high == kPortMax && !negated) {
        return;
    }
    const std::string_view option = field == Field::source_port ? "--sport " : "--dport ";
    reading.say((negated ? "! " : "") + std::string(option) + port_range(low, high));
    std::vector<Interval> intervals;
    if (low <= high) {
        intervals.push_back({low, high});
    }
    reading.where(field, std::move(intervals), negated);
}

std::string tcp_flags(std::uint8_t bits) {
    constexpr std::array<std::string_view, 6> kNames = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
    std::string text;
    for (unsigned i = 0; i < kNames.size(); ++i) {
        if ((bits >> i & 1U) != 0) {
            text += text.empty() ? "" : ",";
            text += kNames.at(i);
        }
    }
    return text.empty() ? "NONE" : text;
}

std::string multiport_text(const xt_multiport_v1& info) {
    constexpr std::array<std::string_view, 3> kOptions = {"--sports ", "--dports ", "--ports "};
    std::string text = info.invert != 0 ? "! " : "";
    text += kOptions.at(info.flags);
    for (unsigned i = 0; i < info.count; ++i) {
        text += i == 0 ? "" : ",";
        text += std::to_string(info.ports[i]);
        if (info.pflags[i] != 0) {
            text += ':' + std::to_string(info.ports[++i]);
        }
    }
    return text;
}

// The list of ports; nothing when it is one that iptables does not write.
std::optional<std::vector<Interval>> multiport_intervals(const xt_multiport_v1& info) {
    if (info.count > XT_MULTI_PORTS || info.flags > XT_MULTIPORT_EITHER || info.invert > 1) {
        return std::nullopt;
    }
    std::vector<Interval> intervals;
    for (unsigned i = 0; i < info.count; ++i) {
        const std::uint16_t low = info.ports[i];
        std::uint16_t high = low;
        if (info.pflags[i] != 0) {
            if (++i >= info.count) {
                return std::nullopt;
            }
            high = info.ports[i];
        }
        if (low <= high) {
            intervals.push_back({low, high});
        }
    }
    return intervals;
}

// One port of two is in the list.
void where_either_port(const Reading& reading, const std::vector<Interval>& list, bool negated) {
    std::vector<Interval> tuples;
    tuples.reserve(list.size() * 4);
    for (const Interval& interval : list) {
        tuples.push_back(interval);
        tuples.push_back({0, kPortMax});
        tuples.push_back({0, kPortMax});
        tuples.push_back(interval);
    }
    Match match;
    match.operands = {{Field::source_port, kPortMax}, {Field::destination_port, kPortMax}};
    match.set = std::make_shared<TupleSet>(2, std::move(tuples));
    match.negated = negated;
    reading.rule.steps.emplace_back(std::move(match));
}

}  // namespace

bool read_tcp(const Reading& reading) {
    const auto info = info_of<xt_tcp>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    const unsigned inverse = info->invflags;
    reading.say("-m tcp");
    reading.where_protocol({kProtocolTcp});
    read_ports(
        reading, Field::source_port, info->spts[0], info->spts[1], (inverse & XT_TCP_INV_SRCPT) != 0
    );
    read_ports(
        reading,
        Field::destination_port,
        info->dpts[0],
        info->dpts[1],
        (inverse & XT_TCP_INV_DSTPT) != 0
    );
    if (info->option != 0) {
        const std::string_view sign = (inverse & XT_TCP_INV_OPTION) != 0 ? "! " : "";
        reading.say(std::string(sign) + "--tcp-option " + std::to_string(info->option));
        reading.unknown("option");
    }
    if (info->flg_mask != 0 || info->flg_cmp != 0 || (inverse & XT_TCP_INV_FLAGS) != 0) {
        const std::string_view sign = (inverse & XT_TCP_INV_FLAGS) != 0 ? "! " : "";
        reading.say(
            std::string(sign) + "--tcp-flags " + tcp_flags(info->flg_mask) + ' ' +
            tcp_flags(info->flg_cmp)
        );
        reading.unknown("flags");
    }
    return true;
}

bool read_udp(const Reading& reading) {
    const auto info = info_of<xt_udp>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    const unsigned inverse = info->invflags;
    const bool is_lite = reading.match.name == "udplite";
    reading.say(is_lite ? "-m udplite" : "-m udp");
    reading.where_protocol({is_lite ? kProtocolUdpLite : kProtocolUdp});
    read_ports(
        reading, Field::source_port, info->spts[0], info->spts[1], (inverse & XT_UDP_INV_SRCPT) != 0
    );
    read_ports(
        reading,
        Field::destination_port,
        info->dpts[0],
        info->dpts[1],
        (inverse & XT_UDP_INV_DSTPT) != 0
    );
    return true;
}

bool read_sctp(const Reading& reading) {
    const auto info = info_of<SctpInfo>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    reading.say("-m sctp");
    reading.where_protocol({kProtocolSctp});
    if ((info->flags & kSctpSourcePorts) != 0) {
        read_ports(
            reading,
            Field::source_port,
            info->spts[0],
            info->spts[1],
            (info->invflags & kSctpSourcePorts) != 0
        );
    }
    if ((info->flags & kSctpDestinationPorts) != 0) {
        read_ports(
            reading,
            Field::destination_port,
            info->dpts[0],
            info->dpts[1],
            (info->invflags & kSctpDestinationPorts) != 0
        );
    }
    if ((info->flags & kSctpChunkTypes) != 0) {
        reading.say("--chunk-types ...");
        reading.unknown("chunk-types");
    }
    return true;
}

bool read_dccp(const Reading& reading) {
    const auto info = info_of<xt_dccp_info>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    reading.say("-m dccp");
    reading.where_protocol({kProtocolDccp});
    if ((info->flags & XT_DCCP_SRC_PORTS) != 0) {
        read_ports(
            reading,
            Field::source_port,
            info->spts[0],
            info->spts[1],
            (info->invflags & XT_DCCP_SRC_PORTS) != 0
        );
    }
    if ((info->flags & XT_DCCP_DEST_PORTS) != 0) {
        read_ports(
            reading,
            Field::destination_port,
            info->dpts[0],
            info->dpts[1],
            (info->invflags & XT_DCCP_DEST_PORTS) != 0
        );
    }
    if ((info->flags & (XT_DCCP_TYPE | XT_DCCP_OPTION)) != 0) {
        reading.say("--dccp-types ...");
        reading.unknown("types and options");
    }
    return true;
}

bool read_multiport(const Reading& reading) {
    xt_multiport_v1 info{};
    if (reading.match.revision == 0) {
        const auto old = info_of<xt_multiport>(reading.match.info);
        if (!old) {
            return false;
        }
        std::memcpy(&info, &*old, sizeof *old);
    } else {
        const auto read = info_of<xt_multiport_v1>(reading.match.info);
        if (reading.match.revision != 1 || !read) {
            return false;
        }
        info = *read;
    }
    auto intervals = multiport_intervals(info);
    if (!intervals) {
        return false;
    }
    reading.say("-m multiport");
    reading.say(multiport_text(info));
    reading.where_protocol(kProtocolsWithPorts);
    const bool negated = info.invert != 0;
    switch (info.flags) {
    case XT_MULTIPORT_SOURCE:
        reading.where(Field::source_port, std::move(*intervals), negated);
        break;
    case XT_MULTIPORT_DESTINATION:
        reading.where(Field::destination_port, std::move(*intervals), negated);
        break;
    default:
        where_either_port(reading, *intervals, negated);
        break;
    }
    return true;
}

}  // namespace culvert::firewall::xt
