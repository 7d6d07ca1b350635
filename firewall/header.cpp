// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fields of a header by name and width.
#include "firewall/header.hpp"

#include <array>

namespace culvert::firewall {

namespace {

struct FieldFacts {
    std::string_view name;
    unsigned bits = 0;  ///< 0: as many as an address has.
};

constexpr std::array<FieldFacts, static_cast<std::size_t>(Field::count_)> kFields = {{
    {"family", 8},
    {"source address", 0},
    {"destination address", 0},
    {"protocol", 8},
    {"source port", 16},
    {"destination port", 16},
    {"input interface", 128},
    {"conntrack state", 8},
    {"mark", 32},
}};

}  // namespace

bool Header::has_ports() const {
    return protocol == kProtocolTcp || protocol == kProtocolUdp || protocol == kProtocolDccp ||
           protocol == kProtocolSctp || protocol == kProtocolUdpLite;
}

std::string_view to_string(Field field) {
    return kFields.at(static_cast<std::size_t>(field)).name;
}

unsigned bits_of(Field field, Family family) {
    const unsigned bits = kFields.at(static_cast<std::size_t>(field)).bits;
    return bits == 0 ? bits_of(family) : bits;
}

}  // namespace culvert::firewall
