// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes the rule that admits packets of a tunnel, byte for byte as iptables writes
//   -s PREFIX -p PROTOCOL -m PROTOCOL --sport N --dport N -m comment --comment TEXT -j ACCEPT
// One thread.
#include <array>
#include <cstdint>
#include <cstring>

#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_tcpudp.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_entry.hpp"
#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace {

constexpr std::uint16_t kPortMax = 0xffff;

using Bytes = std::vector<std::byte>;

// Padded to eight bytes.
template <class T>
void append(Bytes& bytes, const T& object) {
    const std::size_t offset = bytes.size();
    bytes.resize(offset + (sizeof(T) + 7) / 8 * 8);
    std::memcpy(bytes.data() + offset, &object, sizeof(T));
}

template <class T>
void append_match(Bytes& bytes, std::string_view name, const T& info) {
    xt_entry_match match{};
    match.u.user.match_size = static_cast<std::uint16_t>(XT_ALIGN(sizeof match + sizeof info));
    name.copy(match.u.user.name, sizeof match.u.user.name - 1);
    append(bytes, match);
    append(bytes, info);
}

struct Ports {
    std::array<std::uint16_t, 2> source = {0, kPortMax};
    std::array<std::uint16_t, 2> destination = {0, kPortMax};
};

template <class Info>
Info with_ports(const Ports& ports) {
    Info info{};
    std::memcpy(info.spts, ports.source.data(), sizeof info.spts);
    std::memcpy(info.dpts, ports.destination.data(), sizeof info.dpts);
    return info;
}

// sctp and dccp look at the ports that their flags name, and at 0 of the others.
template <class Info>
Info with_ports_and_flags(const Selector& selector) {
    Ports ports{{0, 0}, {0, 0}};
    Info info{};
    if (selector.source_port) {
        ports.source = {*selector.source_port, *selector.source_port};
        info.flags |= XT_DCCP_SRC_PORTS;
    }
    if (selector.destination_port) {
        ports.destination = {*selector.destination_port, *selector.destination_port};
        info.flags |= XT_DCCP_DEST_PORTS;
    }
    std::memcpy(info.spts, ports.source.data(), sizeof info.spts);
    std::memcpy(info.dpts, ports.destination.data(), sizeof info.dpts);
    return info;
}

bool append_ports(Bytes& bytes, const Selector& selector) {
    Ports ports;
    if (selector.source_port) {
        ports.source = {*selector.source_port, *selector.source_port};
    }
    if (selector.destination_port) {
        ports.destination = {*selector.destination_port, *selector.destination_port};
    }
    switch (selector.protocol) {
    case kProtocolTcp:
        append_match(bytes, "tcp", with_ports<xt_tcp>(ports));
        return true;
    case kProtocolUdp:
        append_match(bytes, "udp", with_ports<xt_udp>(ports));
        return true;
    case xt::kProtocolUdpLite:
        append_match(bytes, "udplite", with_ports<xt_udp>(ports));
        return true;
    case xt::kProtocolSctp:
        append_match(bytes, "sctp", with_ports_and_flags<xt::SctpInfo>(selector));
        return true;
    case xt::kProtocolDccp:
        append_match(bytes, "dccp", with_ports_and_flags<xt_dccp_info>(selector));
        return true;
    default:
        return false;
    }
}

template <class T>
void store(T& field, Value value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes.at(bytes.size() - 1 - i) = static_cast<std::uint8_t>(value >> (8 * i));
    }
    std::memcpy(&field, bytes.data(), sizeof(T));
}

template <class Iptc>
tl::expected<Bytes, std::string> make(const Selector& selector, std::string_view comment) {
    typename Iptc::Entry entry{};
    typename Iptc::Header& header = Iptc::header(entry);
    header.proto = selector.protocol;
    if constexpr (Iptc::kFamily == Family::ipv6) {
        header.flags = IP6T_F_PROTO;
    }
    if (selector.source) {
        store(header.src, selector.source->address.value);
        store(header.smsk, prefix_mask(bits_of(selector.family), selector.source->bits));
    }
    Bytes bytes;
    append(bytes, entry);
    if ((selector.source_port || selector.destination_port) && !append_ports(bytes, selector)) {
        return tl::unexpected(
            "packets of protocol " + protocol_name(selector.protocol) +
            " have no ports; valid: tcp, udp, udplite, sctp and dccp"
        );
    }
    if (!comment.empty()) {
        xt_comment_info info{};
        comment.copy(info.comment, sizeof info.comment - 1);
        append_match(bytes, "comment", info);
    }
    entry.target_offset = static_cast<std::uint16_t>(bytes.size());
    xt_standard_target target{};
    target.target.u.user.target_size = XT_ALIGN(sizeof target);
    std::memcpy(target.target.u.user.name, IPTC_LABEL_ACCEPT, sizeof IPTC_LABEL_ACCEPT);
    append(bytes, target);
    entry.next_offset = static_cast<std::uint16_t>(bytes.size());
    std::memcpy(bytes.data(), &entry, sizeof entry);
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
