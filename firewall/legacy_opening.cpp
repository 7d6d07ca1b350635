// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes the rule that admits packets of a tunnel, byte for byte as iptables writes
//   -s PREFIX -p PROTOCOL -m PROTOCOL --sport N --dport N -m comment --comment TEXT -j ACCEPT
// One thread.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <type_traits>

#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_tcpudp.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_bytes.hpp"
#include "firewall/legacy_entry.hpp"
#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace {

constexpr std::uint16_t kPortMax = 0xffff;

using entry::append_match;
using entry::Bytes;
using entry::put;
using PortRange = std::array<std::uint16_t, 2>;

PortRange range_of(std::optional<std::uint16_t> port, const PortRange& other) {
    return port ? PortRange{*port, *port} : other;
}

template <class Info>
void append_tcp_or_udp(Bytes& bytes, std::string_view name, const Selector& selector) {
    constexpr PortRange kEvery = {0, kPortMax};
    const std::size_t at = append_match(bytes, name, sizeof(Info));
    put(bytes, at + offsetof(Info, spts), range_of(selector.source_port, kEvery));
    put(bytes, at + offsetof(Info, dpts), range_of(selector.destination_port, kEvery));
}

// These look at the ports that their flags name.
template <class Info>
void append_sctp_or_dccp(Bytes& bytes, std::string_view name, const Selector& selector) {
    constexpr PortRange kNone = {0, 0};
    const std::size_t at = append_match(bytes, name, sizeof(Info));
    put(bytes, at + offsetof(Info, spts), range_of(selector.source_port, kNone));
    put(bytes, at + offsetof(Info, dpts), range_of(selector.destination_port, kNone));
    const int flags = (selector.source_port ? XT_DCCP_SRC_PORTS : 0) |
                      (selector.destination_port ? XT_DCCP_DEST_PORTS : 0);
    put(bytes, at + offsetof(Info, flags), static_cast<decltype(Info::flags)>(flags));
    if constexpr (std::is_same_v<Info, xt::SctpInfo>) {
        constexpr std::uint8_t kUnused = 0xff;
        for (std::size_t i = 0; i < std::size(Info{}.flag_info); ++i) {
            put(bytes, at + offsetof(Info, flag_info) + i * sizeof(Info::flag_info[0]), kUnused);
        }
    }
}

bool append_ports(Bytes& bytes, const Selector& selector) {
    switch (selector.protocol) {
    case kProtocolTcp:
        append_tcp_or_udp<xt_tcp>(bytes, "tcp", selector);
        return true;
    case kProtocolUdp:
        append_tcp_or_udp<xt_udp>(bytes, "udp", selector);
        return true;
    case kProtocolUdpLite:
        append_tcp_or_udp<xt_udp>(bytes, "udplite", selector);
        return true;
    case kProtocolSctp:
        append_sctp_or_dccp<xt::SctpInfo>(bytes, "sctp", selector);
        return true;
    case kProtocolDccp:
        append_sctp_or_dccp<xt_dccp_info>(bytes, "dccp", selector);
        return true;
    default:
        return false;
    }
}

void put_address(Bytes& bytes, std::size_t offset, Value value, Family family) {
    const unsigned size = bits_of(family) / 8;
    for (unsigned i = 0; i < size; ++i) {
        put(bytes, offset + size - 1 - i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

template <class Iptc>
tl::expected<Bytes, std::string> make(const Selector& selector, std::string_view comment) {
    using Entry = typename Iptc::Entry;
    using Header = typename Iptc::Header;  // The first member of an entry.
    Bytes bytes(sizeof(Entry));
    put(bytes, offsetof(Header, proto), std::uint16_t{selector.protocol});
    if constexpr (Iptc::kFamily == Family::ipv6) {
        put(bytes, offsetof(Header, flags), std::uint8_t{IP6T_F_PROTO});
    }
    if (selector.source) {
        const Value mask = prefix_mask(bits_of(selector.family), selector.source->bits);
        const Value address = selector.source->address.value & mask;
        put_address(bytes, offsetof(Header, src), address, selector.family);
        put_address(bytes, offsetof(Header, smsk), mask, selector.family);
    }
    if ((selector.source_port || selector.destination_port) && !append_ports(bytes, selector)) {
        return tl::unexpected(
            "packets of protocol " + protocol_name(selector.protocol) +
            " have no ports; valid: tcp, udp, udplite, sctp and dccp"
        );
    }
    if (!comment.empty()) {
        entry::append_comment(bytes, comment);
    }
    entry::finish<Iptc>(bytes, IPTC_LABEL_ACCEPT);
    return bytes;
}

}  // namespace

tl::expected<std::vector<std::byte>, std::string>
make_legacy_entry(const Selector& selector, std::string_view comment) {
    if (comment.size() >= XT_MAX_COMMENT_LEN) {
        return tl::unexpected(
            "the comment has " + std::to_string(comment.size()) + " bytes; valid: at most " +
            std::to_string(XT_MAX_COMMENT_LEN - 1)
        );
    }
    if (selector.source && selector.source->address.family != selector.family) {
        return tl::unexpected(
            "the source " + to_string(*selector.source) + " is of another family than the rule"
        );
    }
    return selector.family == Family::ipv4 ? make<Iptc4>(selector, comment)
                                           : make<Iptc6>(selector, comment);
}

}  // namespace culvert::firewall
