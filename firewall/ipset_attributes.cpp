// SPDX-License-Identifier: GPL-2.0-or-later
//
// Elements of IP sets as tuples of intervals. Handled are the types hash:* and bitmap:* whose parts
// are addresses, networks, ports and interfaces. MAC addresses, marks, lists of sets, masks that
// are no prefix, and sets with a "nomatch" element are left unreadable. Pure; any thread.
#include "firewall/ipset_attributes.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/ipset/ip_set.h>

#include "firewall/netlink_attributes.hpp"

namespace culvert::firewall {

namespace {

// IPSET_ATTR_BITMASK of Linux 6.2 and later.
constexpr std::uint16_t kAttributeBitmask = 12;
constexpr std::size_t kPartsMax = 3;
constexpr std::size_t kInterfaceBytesMax = 15;
constexpr unsigned kPortBits = 16;

using Bytes = std::span<const std::byte>;

std::string text_of(Bytes value) {
    std::string text;
    for (const std::byte byte : value) {
        if (byte == std::byte{0}) {
            break;
        }
        text += std::to_integer<char>(byte);
    }
    return text;
}

std::optional<std::uint8_t> byte_of(Bytes value) {
    const auto number = big_endian(value, 1);
    return number ? std::optional(static_cast<std::uint8_t>(*number)) : std::nullopt;
}

// IPSET_ATTR_IP and its like: an address nested by its family.
std::optional<Address> address_of(Bytes value) {
    const auto nested = next_attribute(value);
    if (!nested) {
        return std::nullopt;
    }
    const bool is_ipv4 = nested->type == IPSET_ATTR_IPADDR_IPV4 && nested->value.size() == 4;
    const bool is_ipv6 = nested->type == IPSET_ATTR_IPADDR_IPV6 && nested->value.size() == 16;
    if (!is_ipv4 && !is_ipv6) {
        return std::nullopt;
    }
    Address address{is_ipv4 ? Family::ipv4 : Family::ipv6, 0};
    for (const std::byte byte : nested->value) {
        address.value = address.value << 8U | std::to_integer<std::uint8_t>(byte);
    }
    return address;
}

struct Host {
    std::optional<Address> low;
    std::optional<Address> high;
    std::optional<std::uint8_t> bits;
};

struct Element {
    std::array<Host, 2> hosts;
    std::optional<std::uint8_t> protocol;
    std::optional<std::uint16_t> port;
    std::optional<std::uint16_t> port_to;
    std::string interface;
    std::uint32_t flags = 0;
};

void take(const Attribute& attribute, Element& element) {
    const Bytes value = attribute.value;
    const auto port = big_endian(value, 2);
    switch (attribute.type) {
    case IPSET_ATTR_IP:
        element.hosts[0].low = address_of(value);
        break;
    case IPSET_ATTR_IP_TO:
        element.hosts[0].high = address_of(value);
        break;
    case IPSET_ATTR_CIDR:
        element.hosts[0].bits = byte_of(value);
        break;
    case IPSET_ATTR_IP2:
        element.hosts[1].low = address_of(value);
        break;
    case IPSET_ATTR_IP2_TO:
        element.hosts[1].high = address_of(value);
        break;
    case IPSET_ATTR_CIDR2:
        element.hosts[1].bits = byte_of(value);
        break;
    case IPSET_ATTR_PROTO:
        element.protocol = byte_of(value);
        break;
    case IPSET_ATTR_PORT:
        element.port = port ? std::optional(static_cast<std::uint16_t>(*port)) : std::nullopt;
        break;
    case IPSET_ATTR_PORT_TO:
        element.port_to = port ? std::optional(static_cast<std::uint16_t>(*port)) : std::nullopt;
        break;
    case IPSET_ATTR_IFACE:
        element.interface = text_of(value);
        break;
    case IPSET_ATTR_CADT_FLAGS:
        element.flags = static_cast<std::uint32_t>(big_endian(value, 4).value_or(0));
        break;
    default:
        break;
    }
}

std::optional<Interval>
host_interval(const Host& host, Family family, std::optional<std::uint8_t> mask_bits) {
    const unsigned width = bits_of(family);
    const unsigned bits = std::min<unsigned>(host.bits.value_or(width), mask_bits.value_or(width));
    if (!host.low || host.low->family != family || host.bits.value_or(0) > width) {
        return std::nullopt;
    }
    const Value mask = prefix_mask(width, bits);
    const Value low = host.low->value & mask;
    Value high = low | (max_value(width) ^ mask);
    if (host.high) {
        if (host.high->family != family || host.high->value < low) {
            return std::nullopt;
        }
        high = std::max(high, host.high->value);
    }
    return Interval{low, high};
}

std::optional<Interval> interface_interval(const Element& element) {
    const std::string& name = element.interface;
    if (name.empty() || name.size() > kInterfaceBytesMax ||
        (element.flags & IPSET_FLAG_PHYSDEV) != 0) {
        return std::nullopt;
    }
    const Value low = value_of_interface(name);
    if ((element.flags & IPSET_FLAG_IFACE_WILDCARD) == 0) {
        return Interval{low, low};
    }
    return Interval{low, low | max_value(128 - 8 * static_cast<unsigned>(name.size()))};
}

bool port_is_compared(std::uint8_t protocol) {
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP ||
           protocol == IPPROTO_UDPLITE || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

// A protocol without ports stands in a set with the port 0, which the kernel finds in each of its
// packets; its packets have no port here, so any will do.
std::optional<std::array<Interval, 2>> port_intervals(const Element& element) {
    if (!element.port || !element.protocol) {
        return std::nullopt;
    }
    Interval ports{*element.port, element.port_to.value_or(*element.port)};
    if (ports.high < ports.low) {
        return std::nullopt;
    }
    if (!port_is_compared(*element.protocol) && ports.low == 0) {
        ports.high = max_value(kPortBits);
    }
    return std::array{Interval{*element.protocol, *element.protocol}, ports};
}

}  // namespace

void IpsetListing::add(Bytes attributes) {
    while (const auto attribute = next_attribute(attributes)) {
        switch (attribute->type) {
        case IPSET_ATTR_SETNAME:
            name_ = text_of(attribute->value);
            break;
        case IPSET_ATTR_TYPENAME:
            read_type(attribute->value);
            break;
        case IPSET_ATTR_FAMILY: {
            const auto family = byte_of(attribute->value);
            family_ = family == NFPROTO_IPV4   ? std::optional(Family::ipv4)
                      : family == NFPROTO_IPV6 ? std::optional(Family::ipv6)
                                               : std::nullopt;
            break;
        }
        case IPSET_ATTR_DATA:
            read_header(attribute->value);
            break;
        case IPSET_ATTR_ADT:
            read_elements(attribute->value);
            break;
        default:
            break;
        }
    }
    is_readable_ = is_readable_ && attributes.empty();
}

void IpsetListing::read_type(Bytes name) {
    if (!type_.empty()) {
        return;
    }
    type_ = text_of(name);
    std::string_view rest = type_;
    const std::size_t colon = rest.find(':');
    const std::string_view method = rest.substr(0, colon);
    if (colon == std::string_view::npos || (method != "hash" && method != "bitmap")) {
        is_readable_ = false;
        return;
    }
    rest.remove_prefix(colon + 1);
    while (!rest.empty()) {
        const std::string_view word = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        if (word == "ip" || word == "net") {
            parts_.push_back(Ipset::Part::address);
            holds_nets_ |= word == "net";
        } else if (word == "port") {
            parts_.push_back(Ipset::Part::port);
        } else if (word == "iface") {
            parts_.push_back(Ipset::Part::interface);
        } else {
            is_readable_ = false;
            return;
        }
    }
    const auto addresses = std::count(parts_.begin(), parts_.end(), Ipset::Part::address);
    const auto ports = std::count(parts_.begin(), parts_.end(), Ipset::Part::port);
    is_readable_ = is_readable_ && !parts_.empty() && parts_.size() <= kPartsMax &&
                   addresses <= 2 && ports <= 1;
    width_ = parts_.size() + static_cast<std::size_t>(ports);
}

void IpsetListing::read_header(Bytes attributes) {
    while (const auto attribute = next_attribute(attributes)) {
        if (attribute->type == IPSET_ATTR_NETMASK) {
            netmask_bits_ = byte_of(attribute->value);
            is_readable_ = is_readable_ && netmask_bits_ && *netmask_bits_ <= 128 && !holds_nets_;
        } else if (attribute->type == kAttributeBitmask) {
            is_readable_ = false;
        }
    }
    is_readable_ = is_readable_ && attributes.empty();
}

void IpsetListing::read_elements(Bytes attributes) {
    while (const auto attribute = next_attribute(attributes)) {
        if (!is_readable_) {
            return;
        }
        if (attribute->type == IPSET_ATTR_DATA) {
            read_element(attribute->value);
        }
    }
    is_readable_ = is_readable_ && attributes.empty();
}

void IpsetListing::read_element(Bytes attributes) {
    Element element;
    while (const auto attribute = next_attribute(attributes)) {
        take(*attribute, element);
    }
    is_readable_ = width_ > 0 && attributes.empty() && (element.flags & IPSET_FLAG_NOMATCH) == 0 &&
                   intervals_.size() / width_ < kIpsetElementsMax;
    if (type_ == "bitmap:port" && !element.protocol) {
        // The kernel looks at no other protocols' ports there.
        is_readable_ = is_readable_ && element.port;
        if (is_readable_) {
            const Value port = *element.port;
            const Value port_to = std::max(port, Value{element.port_to.value_or(*element.port)});
            for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
                intervals_.insert(intervals_.end(), {{protocol, protocol}, {port, port_to}});
            }
        }
        return;
    }
    std::size_t address = 0;
    std::vector<Interval> tuple;
    for (const Ipset::Part part : parts_) {
        if (part == Ipset::Part::port) {
            if (const auto intervals = port_intervals(element)) {
                tuple.insert(tuple.end(), intervals->begin(), intervals->end());
            }
            continue;
        }
        std::optional<Interval> interval;
        if (part == Ipset::Part::interface) {
            interval = interface_interval(element);
        } else if (family_) {
            // Only the first address is masked.
            const auto mask_bits = address == 0 ? netmask_bits_ : std::nullopt;
            interval = host_interval(element.hosts[address], *family_, mask_bits);
            ++address;
        }
        if (interval) {
            tuple.push_back(*interval);
        }
    }
    is_readable_ = is_readable_ && tuple.size() == width_;
    if (is_readable_) {
        intervals_.insert(intervals_.end(), tuple.begin(), tuple.end());
    }
}

Ipset IpsetListing::finish() const {
    Ipset set{name_, family_, parts_, nullptr};
    if (is_readable_ && width_ > 0) {
        set.tuples = std::make_shared<const TupleSet>(width_, intervals_);
    }
    return set;
}

// FNV-1a. The kernel keeps no count of changes, so that the elements themselves have to tell. Their
// order may change with the size of a hash and is left out.
std::uint64_t IpsetListing::fingerprint() const {
    constexpr std::uint64_t kBasis = 14695981039346656037U;
    constexpr std::uint64_t kPrime = 1099511628211U;
    const auto mix = [](std::uint64_t hash, std::uint64_t word) {
        hash = (hash ^ word) * kPrime;
        return hash ^ hash >> 29U;
    };
    std::uint64_t whole = mix(kBasis, is_readable_ ? intervals_.size() : ~std::uint64_t{0});
    for (const char letter : name_ + '/' + type_) {
        whole = mix(whole, static_cast<unsigned char>(letter));
    }
    std::uint64_t sum = 0;
    std::uint64_t hash = kBasis;
    for (std::size_t i = 0; i < intervals_.size(); ++i) {
        for (const Value value : {intervals_[i].low, intervals_[i].high}) {
            hash =
                mix(mix(hash, static_cast<std::uint64_t>(value)),
                    static_cast<std::uint64_t>(value >> 64U));
        }
        if ((i + 1) % width_ == 0) {
            sum += hash;
            hash = kBasis;
        }
    }
    return mix(whole, sum);
}

}  // namespace culvert::firewall
