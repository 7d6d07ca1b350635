// SPDX-License-Identifier: GPL-2.0-or-later
//
// The xt matches that look at what netfilter knows of a packet: conntrack, state, mark, addrtype,
// iprange, icmp, icmp6 and esp. Of conntrack only the state is known, and that nothing was
// translated; addresses before NAT, status and lifetime are unknown. Pure; any thread.
#include "firewall/xt_match.hpp"

#include <array>
#include <utility>

#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_esp.h>
#include <linux/netfilter/xt_iprange.h>
#include <linux/netfilter/xt_mark.h>

namespace culvert::firewall::xt {

namespace {

// A state as a match has it, as we have it, and its name, in the order of iptables' listing.
struct StateBit {
    unsigned bit;
    State state;
    std::string_view name;
};
constexpr std::array<StateBit, 5> kConntrackStates = {{
    {XT_CONNTRACK_STATE_INVALID, State::invalid, "INVALID"},
    {8, State::fresh, "NEW"},
    {4, State::related, "RELATED"},
    {2, State::established, "ESTABLISHED"},
    {XT_CONNTRACK_STATE_UNTRACKED, State::untracked, "UNTRACKED"},
}};
// xt_state numbers one of them in another way.
constexpr unsigned kStateUntracked = 64;

std::string state_names(unsigned mask) {
    std::string text;
    const auto add = [&text](std::string_view name) {
        text += text.empty() ? "" : ",";
        text += name;
    };
    for (const StateBit& state : kConntrackStates) {
        if ((mask & state.bit) != 0) {
            add(state.name);
        }
    }
    if ((mask & XT_CONNTRACK_STATE_SNAT) != 0) {
        add("SNAT");
    }
    if ((mask & XT_CONNTRACK_STATE_DNAT) != 0) {
        add("DNAT");
    }
    return text;
}

void where_state(const Reading& reading, unsigned mask, bool negated) {
    std::vector<Interval> intervals;
    for (const StateBit& state : kConntrackStates) {
        if ((mask & state.bit) != 0) {
            const auto value = static_cast<Value>(state.state);
            intervals.push_back({value, value});
        }
    }
    reading.where(Field::state, std::move(intervals), negated);
}

void read_ctstate(const Reading& reading, unsigned mask, bool negated, bool is_alias) {
    const std::string_view sign = negated ? "! " : "";
    const std::string_view option = is_alias ? "--state " : "--ctstate ";
    reading.say(std::string(sign) + std::string(option) + state_names(mask));
    // SNAT and DNAT hold for no tunnel packet: its address was translated nowhere.
    where_state(reading, mask, negated);
}

std::string address_types(unsigned mask) {
    constexpr std::array<std::string_view, 12> kNames = {
        "UNSPEC",
        "UNICAST",
        "LOCAL",
        "BROADCAST",
        "ANYCAST",
        "MULTICAST",
        "BLACKHOLE",
        "UNREACHABLE",
        "PROHIBIT",
        "THROW",
        "NAT",
        "XRESOLVE"};
    std::string text;
    for (unsigned i = 0; i < kNames.size(); ++i) {
        if ((mask >> i & 1U) != 0) {
            text += text.empty() ? "" : ",";
            text += kNames.at(i);
        }
    }
    return text;
}

struct AddressTypes {
    unsigned source = 0;
    unsigned destination = 0;
    bool source_negated = false;
    bool destination_negated = false;
    bool of_interface = false;
};

// Revision 0 is of IPv4, where a mask is "any of these types"; with IPv6 several types are a
// conjunction.
std::optional<AddressTypes> address_types_of(const Extension& match) {
    AddressTypes types;
    if (match.revision == 0) {
        const auto info = info_of<xt_addrtype_info>(match.info);
        if (!info) {
            return std::nullopt;
        }
        types = {info->source, info->dest, info->invert_source != 0, info->invert_dest != 0, false};
        return types;
    }
    const auto info = info_of<xt_addrtype_info_v1>(match.info);
    if (match.revision != 1 || !info) {
        return std::nullopt;
    }
    types.source = info->source;
    types.destination = info->dest;
    types.source_negated = (info->flags & XT_ADDRTYPE_INVERT_SOURCE) != 0;
    types.destination_negated = (info->flags & XT_ADDRTYPE_INVERT_DEST) != 0;
    types.of_interface =
        (info->flags & (XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT)) != 0;
    return types;
}

Value address_value(const nf_inet_addr& address, Family family) {
    std::array<std::uint8_t, sizeof(nf_inet_addr)> bytes{};
    std::memcpy(bytes.data(), &address, bytes.size());
    return value_of(bytes.data(), bits_of(family) / 8);
}

void where_address(
    const Reading& reading,
    Field field,
    const nf_inet_addr& low_end,
    const nf_inet_addr& high_end,
    bool negated
) {
    const Value low = address_value(low_end, reading.family);
    const Value high = address_value(high_end, reading.family);
    const std::string_view option = field == Field::source ? "--src-range " : "--dst-range ";
    reading.say(
        (negated ? "! " : "") + std::string(option) + to_string(Address{reading.family, low}) +
        '-' + to_string(Address{reading.family, high})
    );
    std::vector<Interval> intervals;
    if (low <= high) {
        intervals.push_back({low, high});
    }
    reading.where(field, std::move(intervals), negated);
}

}  // namespace

bool read_conntrack(const Reading& reading) {
    const auto revision = reading.match.revision;
    unsigned flags = 0;
    unsigned inverse = 0;
    unsigned states = 0;
    const auto take = [&](const auto& info) {
        if (!info) {
            return false;
        }
        flags = info->match_flags;
        inverse = info->invert_flags;
        states = info->state_mask;
        return true;
    };
    const auto bytes = reading.match.info;
    const bool is_known = (revision == 1 && take(info_of<xt_conntrack_mtinfo1>(bytes))) ||
                          (revision == 2 && take(info_of<xt_conntrack_mtinfo2>(bytes))) ||
                          (revision == 3 && take(info_of<xt_conntrack_mtinfo3>(bytes)));
    if (!is_known) {
        return false;
    }
    const bool is_alias = (flags & XT_CONNTRACK_STATE_ALIAS) != 0;
    reading.say(is_alias ? "-m state" : "-m conntrack");
    if ((flags & XT_CONNTRACK_STATE) != 0) {
        read_ctstate(reading, states, (inverse & XT_CONNTRACK_STATE) != 0, is_alias);
    }
    // Without a connection and without a state that is asked for, the kernel answers no; that is
    // a part of what is unknown here.
    constexpr unsigned kKnown = XT_CONNTRACK_STATE | XT_CONNTRACK_STATE_ALIAS;
    if ((flags & ~kKnown) != 0 || (flags & XT_CONNTRACK_STATE) == 0) {
        reading.say("...");
        reading.unknown("beside its state");
    }
    return true;
}

bool read_state(const Reading& reading) {
    const auto mask = info_of<std::uint32_t>(reading.match.info);
    if (reading.match.revision != 0 || !mask) {
        return false;
    }
    unsigned states = *mask & 15U;
    if ((*mask & kStateUntracked) != 0) {
        states |= XT_CONNTRACK_STATE_UNTRACKED;
    }
    reading.say("-m state --state " + state_names(states));
    where_state(reading, states, false);
    return true;
}

bool read_mark(const Reading& reading) {
    const auto info = info_of<xt_mark_mtinfo1>(reading.match.info);
    if (reading.match.revision != 1 || !info || info->invert > 1) {
        return false;
    }
    std::string text = info->invert != 0 ? "-m mark ! --mark " : "-m mark --mark ";
    text += hexadecimal(info->mark);
    if (info->mask != 0xffffffff) {
        text += '/' + hexadecimal(info->mask);
    }
    reading.say(text);
    reading.where(Field::mark, {{info->mark, info->mark}}, info->invert != 0, info->mask);
    return true;
}

bool read_addrtype(const Reading& reading) {
    const auto types = address_types_of(reading.match);
    if (!types) {
        return false;
    }
    reading.say("-m addrtype");
    if (types->source != 0) {
        reading.say(
            (types->source_negated ? "! --src-type " : "--src-type ") + address_types(types->source)
        );
        reading.unknown("src-type");
    }
    if (types->destination == 0) {
        return true;
    }
    reading.say(
        (types->destination_negated ? "! --dst-type " : "--dst-type ") +
        address_types(types->destination)
    );
    // Packets of tunnels come to an address of the host.
    const bool is_local =
        types->destination == XT_ADDRTYPE_LOCAL ||
        (reading.family == Family::ipv4 && (types->destination & XT_ADDRTYPE_LOCAL) != 0);
    if (!is_local || types->of_interface) {
        reading.unknown("dst-type");
    } else if (types->destination_negated) {
        reading.never();
    }
    return true;
}

bool read_iprange(const Reading& reading) {
    const auto info = info_of<xt_iprange_mtinfo>(reading.match.info);
    if (reading.match.revision != 1 || !info) {
        return false;
    }
    reading.say("-m iprange");
    if ((info->flags & IPRANGE_SRC) != 0) {
        const bool negated = (info->flags & IPRANGE_SRC_INV) != 0;
        where_address(reading, Field::source, info->src_min, info->src_max, negated);
    }
    if ((info->flags & IPRANGE_DST) != 0) {
        const bool negated = (info->flags & IPRANGE_DST_INV) != 0;
        where_address(reading, Field::destination, info->dst_min, info->dst_max, negated);
    }
    return true;
}

bool read_icmp(const Reading& reading) {
    // As struct ipt_icmp and struct ip6t_icmp.
    struct Icmp {
        std::uint8_t type;
        std::uint8_t code[2];
        std::uint8_t inverse;
    };
    constexpr std::uint8_t kAnyType = 0xff;
    const auto info = info_of<Icmp>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    const bool is_v6 = reading.match.name == "icmp6";
    const bool is_any = !is_v6 && info->type == kAnyType;
    std::string text = is_v6 ? "-m icmp6 " : "-m icmp ";
    text += (info->inverse & 1U) != 0 ? "! " : "";
    text += is_v6 ? "--icmpv6-type " : "--icmp-type ";
    text += is_any ? "any" : std::to_string(info->type);
    if (!is_any && (info->code[0] != 0 || info->code[1] != 0xff)) {
        text += '/' + std::to_string(info->code[0]);
        if (info->code[1] != info->code[0]) {
            text += '-' + std::to_string(info->code[1]);
        }
    }
    reading.say(text);
    reading.where_protocol({is_v6 ? kProtocolIcmp6 : kProtocolIcmp});
    if (!is_any || info->inverse != 0) {
        reading.unknown("type");
    }
    return true;
}

bool read_esp(const Reading& reading) {
    const auto info = info_of<xt_esp>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    reading.say("-m esp");
    reading.where_protocol({kProtocolEsp});
    if (info->spis[0] == 0 && info->spis[1] == 0xffffffff && info->invflags == 0) {
        return true;
    }
    std::string text = (info->invflags & XT_ESP_INV_SPI) != 0 ? "! --espspi " : "--espspi ";
    text += std::to_string(info->spis[0]);
    if (info->spis[1] != info->spis[0]) {
        text += ':' + std::to_string(info->spis[1]);
    }
    reading.say(text);
    reading.unknown("espspi");
    return true;
}

}  // namespace culvert::firewall::xt
