// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tunnel types, the names of protocols, and the comments that mark Culvert's rules. What a rule
// says of packets is in says.cpp.
#include "firewall/opening.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <netdb.h>

namespace culvert::firewall {

namespace {

constexpr std::array<TunnelType, 9> kTunnelTypes = {{
    {"gre", kProtocolGre, std::nullopt, "GRE"},
    {"vxlan", kProtocolUdp, 4789, "VXLAN"},
    {"vxlan-gpe", kProtocolUdp, 4790, "VXLAN-GPE"},
    {"geneve", kProtocolUdp, 6081, "Geneve"},
    {"lisp", kProtocolUdp, 4341, "LISP"},
    {"stt", kProtocolTcp, 7471, "STT"},
    {"esp", kProtocolEsp, std::nullopt, "ESP"},
    {"ike", kProtocolUdp, 500, "IKE"},
    {"esp-udp", kProtocolUdp, 4500, "ESP and IKE in UDP"},
}};

/// For hosts without /etc/protocols.
constexpr std::array<std::pair<std::string_view, std::uint8_t>, 4> kProtocols = {
    {{"tcp", kProtocolTcp}, {"udp", kProtocolUdp}, {"gre", kProtocolGre}, {"esp", kProtocolEsp}}};

constexpr std::string_view kMarkWord = "culvert ";
constexpr std::string_view kAutomaticWord = "auto ";
constexpr std::string_view kTextSeparator = ": ";
constexpr std::size_t kProtocolBufferBytes = 1024;

bool is_mark_name(std::string_view name) {
    const auto is_part = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '/' || c == '.';
    };
    return !name.empty() && name != "auto" && std::all_of(name.begin(), name.end(), is_part);
}

}  // namespace

std::span<const TunnelType> tunnel_types() {
    return kTunnelTypes;
}

const TunnelType* find_tunnel_type(std::string_view name) {
    const auto* found =
        std::find_if(kTunnelTypes.begin(), kTunnelTypes.end(), [&](const TunnelType& type) {
            return type.name == name;
        });
    return found == kTunnelTypes.end() ? nullptr : found;
}

tl::expected<std::uint8_t, std::string> parse_protocol(std::string_view text) {
    std::uint8_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size()) {
        return number;
    }
    const std::string name(text);
    protoent entry{};
    protoent* found = nullptr;
    std::array<char, kProtocolBufferBytes> buffer{};
    if (getprotobyname_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
        found != nullptr && entry.p_proto >= 0 && entry.p_proto <= 255) {
        return static_cast<std::uint8_t>(entry.p_proto);
    }
    for (const auto& [known, value] : kProtocols) {
        if (known == text) {
            return value;
        }
    }
    return tl::unexpected(
        "unknown protocol \"" + name +
        "\"; valid: a name of /etc/protocols (gre, udp, tcp, esp), or a number from 0 to 255"
    );
}

std::string protocol_name(std::uint8_t protocol) {
    for (const auto& [name, value] : kProtocols) {
        if (value == protocol) {
            return std::string(name);
        }
    }
    protoent entry{};
    protoent* found = nullptr;
    std::array<char, kProtocolBufferBytes> buffer{};
    if (getprotobynumber_r(protocol, &entry, buffer.data(), buffer.size(), &found) == 0 &&
        found != nullptr) {
        return entry.p_name;
    }
    return std::to_string(protocol);
}

std::string to_string(const Selector& selector) {
    std::string text = protocol_name(selector.protocol);
    if (selector.destination_port) {
        text += " to port " + std::to_string(*selector.destination_port);
    }
    if (selector.source_port) {
        text += " from port " + std::to_string(*selector.source_port);
    }
    if (selector.source) {
        text += " from " + to_string(*selector.source);
    }
    return text;
}

std::string to_string(const Mark& mark) {
    std::string text(kMarkWord);
    text += mark.automatic ? kAutomaticWord : "";
    text += mark.name;
    if (!mark.text.empty()) {
        text += kTextSeparator;
        text += mark.text;
    }
    return text;
}

std::optional<Mark> parse_mark(std::string_view comment) {
    if (!comment.starts_with(kMarkWord)) {
        return std::nullopt;
    }
    comment.remove_prefix(kMarkWord.size());
    Mark mark;
    mark.automatic = comment.starts_with(kAutomaticWord);
    if (mark.automatic) {
        comment.remove_prefix(kAutomaticWord.size());
    }
    const std::size_t end = std::min(comment.find(kTextSeparator), comment.size());
    mark.name = comment.substr(0, end);
    if (end < comment.size()) {
        mark.text = comment.substr(end + kTextSeparator.size());
    }
    return is_mark_name(mark.name) ? std::optional(mark) : std::nullopt;
}

std::string mark_name(const Selector& selector) {
    for (const TunnelType& type : kTunnelTypes) {
        if (type.protocol == selector.protocol &&
            type.destination_port == selector.destination_port && !selector.source_port) {
            return std::string(type.name);
        }
    }
    std::string name = protocol_name(selector.protocol);
    if (selector.destination_port) {
        name += "/" + std::to_string(*selector.destination_port);
    }
    return name;
}

Header header_of(const Selector& selector, const Address& destination) {
    Header header;
    // TEST-NET-1 and the documentation prefix (RFC 5737, RFC 3849): an address that no rule knows.
    constexpr Value kAnyone4 = 0xc0000201;
    constexpr Value kAnyone6 = (Value{0x20010db800000000} << 64U) | 1U;
    header.source =
        selector.source
            ? selector.source->address
            : Address{selector.family, selector.family == Family::ipv4 ? kAnyone4 : kAnyone6};
    header.destination = destination;
    header.protocol = selector.protocol;
    header.source_port = selector.source_port.value_or(0);
    header.destination_port = selector.destination_port.value_or(0);
    return header;
}

}  // namespace culvert::firewall
