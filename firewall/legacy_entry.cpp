// SPDX-License-Identifier: GPL-2.0-or-later
//
// Follows ip_packet_match() and ip6_packet_match() of the kernel in what the header of a rule asks
// for, for packets that come in whole: INPUT sees no fragments and no outgoing interface. The text
// is that of `iptables -S`. One thread.
#include "firewall/legacy_entry.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "firewall/extension.hpp"
#include "firewall/iptc.hpp"
#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace {

constexpr unsigned kProtocolMax = 255;

template <class T>
T copy_of(std::span<const std::byte> bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
}

template <class T>
Value value_of_object(const T& object) {
    static_assert(sizeof(T) <= sizeof(Value));
    std::array<std::uint8_t, sizeof(T)> bytes{};
    std::memcpy(bytes.data(), &object, sizeof(T));
    return value_of(bytes.data(), sizeof(T));
}

unsigned ones(Value value) {
    return static_cast<unsigned>(
        std::popcount(static_cast<std::uint64_t>(value)) +
        std::popcount(static_cast<std::uint64_t>(value >> 64U))
    );
}

std::string mask_text(Value mask, Family family) {
    const unsigned width = bits_of(family);
    const unsigned bits = ones(mask);
    return mask == prefix_mask(width, bits) ? std::to_string(bits)
                                            : to_string(Address{family, mask});
}

template <class T>
void read_address(
    Rule& rule, Family family, Field field, const T& address, const T& mask, bool negated
) {
    const Value value = value_of_object(address);
    const Value bits = value_of_object(mask);
    if (value == 0 && bits == 0 && !negated) {
        return;
    }
    const std::string_view option = field == Field::source ? "-s " : "-d ";
    xt::say(
        rule,
        (negated ? "! " : "") + std::string(option) + to_string(Address{family, value}) + '/' +
            mask_text(bits, family)
    );
    xt::where(rule, field, {{value, value}}, negated, bits);
}

std::string interface_text(const char (&name)[IFNAMSIZ], const unsigned char (&mask)[IFNAMSIZ]) {
    std::string text;
    for (std::size_t i = 0; i < IFNAMSIZ; ++i) {
        if (mask[i] == 0) {
            return i > 0 && name[i - 1] != '\0' ? xt::printable(text) + '+' : xt::printable(text);
        }
        text += name[i];
    }
    return xt::printable(text);
}

std::string_view bounded(const char* name, std::size_t size) {
    return {name, strnlen(name, size)};
}

// As iptables names what REJECT answers with; nothing for a value that it does not know.
std::string_view reject_name(std::uint32_t with, Family family) {
    constexpr std::array<std::string_view, 9> kOfIpv4 = {
        "icmp-net-unreachable",
        "icmp-host-unreachable",
        "icmp-proto-unreachable",
        "icmp-port-unreachable",
        "",
        "icmp-net-prohibited",
        "icmp-host-prohibited",
        "tcp-reset",
        "icmp-admin-prohibited"};
    constexpr std::array<std::string_view, 9> kOfIpv6 = {
        "icmp6-no-route",
        "icmp6-adm-prohibited",
        "",
        "icmp6-addr-unreachable",
        "icmp6-port-unreachable",
        "",
        "tcp-reset",
        "icmp6-policy-fail",
        "icmp6-reject-route"};
    const auto& names = family == Family::ipv4 ? kOfIpv4 : kOfIpv6;
    return with < names.size() ? names.at(with) : "";
}

void read_verdict(std::int32_t verdict, bool is_goto, Rule& rule) {
    constexpr std::int32_t kDrop = -NF_DROP - 1;
    constexpr std::int32_t kAccept = -NF_ACCEPT - 1;
    constexpr std::int32_t kReturn = XT_RETURN;
    if (verdict >= 0) {
        rule.action = is_goto ? Action::go_to : Action::jump;
    } else if (verdict == kAccept) {
        rule.action = Action::accept;
        xt::say(rule, "-j ACCEPT");
    } else if (verdict == kDrop) {
        rule.action = Action::drop;
        xt::say(rule, "-j DROP");
    } else if (verdict == kReturn) {
        rule.action = Action::return_;
        xt::say(rule, "-j RETURN");
    } else {
        rule.action = Action::unknown;
        rule.unknown = "QUEUE";
        xt::say(rule, "-j QUEUE");
    }
}

}  // namespace

void LegacyEntryReader::read_protocol(unsigned protocol, bool negated, Rule& rule) {
    if (protocol == 0) {
        return;
    }
    auto [name, is_new] = protocol_names_.try_emplace(protocol);
    if (is_new) {
        name->second = protocol <= kProtocolMax ? protocol_name(static_cast<std::uint8_t>(protocol))
                                                : std::to_string(protocol);
    }
    xt::say(rule, (negated ? "! -p " : "-p ") + name->second);
    xt::where(rule, Field::protocol, {{protocol, protocol}}, negated);
}

template <class Iptc>
void LegacyEntryReader::read_header(const typename Iptc::Header& header, Rule& rule) {
    const auto inverts = [&header](unsigned flag) { return (header.invflags & flag) != 0; };
    const bool no_source = inverts(IPT_INV_SRCIP);
    const bool no_destination = inverts(IPT_INV_DSTIP);
    read_address(rule, family_, Field::source, header.src, header.smsk, no_source);
    read_address(rule, family_, Field::destination, header.dst, header.dmsk, no_destination);

    const Value in_mask = value_of_object(header.iniface_mask);
    const bool no_interface = inverts(IPT_INV_VIA_IN);
    if (in_mask != 0 || no_interface) {
        xt::say(
            rule,
            (no_interface ? "! -i " : "-i ") + interface_text(header.iniface, header.iniface_mask)
        );
        const Value name = value_of_object(header.iniface) & in_mask;
        xt::where(rule, Field::interface_in, {{name, name}}, no_interface, in_mask);
    }
    const Value out_mask = value_of_object(header.outiface_mask);
    if (out_mask != 0 || inverts(IPT_INV_VIA_OUT)) {
        xt::say(
            rule,
            (inverts(IPT_INV_VIA_OUT) ? "! -o " : "-o ") +
                interface_text(header.outiface, header.outiface_mask)
        );
        const bool differs = (value_of_object(header.outiface) & out_mask) != 0;
        if (differs != inverts(IPT_INV_VIA_OUT)) {
            xt::never(rule);
        }
    }
    if constexpr (Iptc::kFamily == Family::ipv4) {
        read_protocol(header.proto, inverts(IPT_INV_PROTO), rule);
        const bool asks_for_fragments = (header.flags & IPT_F_FRAG) != 0;
        if (asks_for_fragments) {
            xt::say(rule, inverts(IPT_INV_FRAG) ? "! -f" : "-f");
        }
        if (asks_for_fragments != inverts(IPT_INV_FRAG)) {
            xt::never(rule);
        }
    } else if ((header.flags & IP6T_F_PROTO) != 0) {
        read_protocol(header.proto, inverts(IP6T_INV_PROTO), rule);
    }
}

tl::expected<void, std::string>
LegacyEntryReader::read_matches(std::span<const std::byte> matches, Rule& rule) {
    while (!matches.empty()) {
        if (matches.size() < sizeof(xt_entry_match)) {
            return tl::unexpected(std::string("a match is cut short"));
        }
        const auto match = copy_of<xt_entry_match>(matches);
        const std::size_t size = match.u.match_size;
        if (size < sizeof(xt_entry_match) || size > matches.size()) {
            return tl::unexpected(
                "a match of " + std::to_string(size) + " bytes stands where " +
                std::to_string(matches.size()) + " are left"
            );
        }
        const Extension extension{
            bounded(match.u.user.name, sizeof match.u.user.name),
            match.u.user.revision,
            matches.first(size).subspan(sizeof(xt_entry_match))};
        read_match(extension, family_, sets_, rule);
        matches = matches.subspan(size);
    }
    return {};
}

tl::expected<void, std::string>
LegacyEntryReader::read_target_of(std::span<const std::byte> bytes, bool is_goto, Rule& rule) {
    if (bytes.size() < sizeof(xt_entry_target)) {
        return tl::unexpected(std::string("the target is cut short"));
    }
    const auto target = copy_of<xt_entry_target>(bytes);
    const std::size_t size = target.u.target_size;
    if (size < sizeof(xt_entry_target) || size > bytes.size()) {
        return tl::unexpected(
            "a target of " + std::to_string(size) + " bytes stands where " +
            std::to_string(bytes.size()) + " are left"
        );
    }
    const auto info = bytes.first(size).subspan(sizeof(xt_entry_target));
    const Extension extension{
        bounded(target.u.user.name, sizeof target.u.user.name), target.u.user.revision, info};
    if (!extension.name.empty()) {
        read_target(extension, rule);
        if (extension.name == "REJECT" && info.size() >= sizeof(std::uint32_t)) {
            const auto name = reject_name(copy_of<std::uint32_t>(info), family_);
            if (!name.empty()) {
                xt::say(rule, "--reject-with " + std::string(name));
            }
        }
        return {};
    }
    if (info.size() < sizeof(std::int32_t)) {
        return tl::unexpected(std::string("the verdict is missing"));
    }
    read_verdict(copy_of<std::int32_t>(info), is_goto, rule);
    return {};
}

template <class Iptc>
tl::expected<Rule, std::string> LegacyEntryReader::read_as(std::span<const std::byte> bytes) {
    using Entry = typename Iptc::Entry;
    if (bytes.size() < sizeof(Entry)) {
        return tl::unexpected(std::string("the rule is cut short"));
    }
    const auto entry = copy_of<Entry>(bytes);
    const std::size_t target = entry.target_offset;
    const std::size_t end = entry.next_offset;
    if (target < sizeof(Entry) || end < target || end > bytes.size()) {
        return tl::unexpected(
            "its target at " + std::to_string(target) + " and its end at " + std::to_string(end) +
            " do not fit into " + std::to_string(bytes.size()) + " bytes"
        );
    }
    Rule rule;
    rule.packets = entry.counters.pcnt;
    rule.bytes = entry.counters.bcnt;
    const typename Iptc::Header& header = Iptc::header(entry);
    read_header<Iptc>(header, rule);
    const auto matches = bytes.first(target).subspan(sizeof(Entry));
    if (auto read = read_matches(matches, rule); !read) {
        return tl::unexpected(read.error());
    }
    const bool is_goto = (header.flags & Iptc::kGotoFlag) != 0;
    if (auto read = read_target_of(bytes.first(end).subspan(target), is_goto, rule); !read) {
        return tl::unexpected(read.error());
    }
    return rule;
}

tl::expected<Rule, std::string> LegacyEntryReader::read(std::span<const std::byte> entry) {
    return family_ == Family::ipv4 ? read_as<Iptc4>(entry) : read_as<Iptc6>(entry);
}

}  // namespace culvert::firewall
