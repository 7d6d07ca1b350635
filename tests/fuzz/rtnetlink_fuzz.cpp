// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the rtnetlink parser. Beside memory safety it checks what every event
// promises, and that a longer input never loses events of a shorter one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <linux/neighbour.h>
#include <net/if.h>

#include "ctl/underlay.hpp"

namespace {

using culvert::ctl::AddressEvent;
using culvert::ctl::LinkEvent;
using culvert::ctl::NeighbourEvent;
using culvert::ctl::NetlinkEvent;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

void check(const NetlinkEvent& event) {
    if (const auto* link = std::get_if<LinkEvent>(&event)) {
        require(link->ifindex > 0 && link->name.size() < IFNAMSIZ);
        require(link->removed || !link->name.empty());
    } else if (const auto* address = std::get_if<AddressEvent>(&event)) {
        require(address->ifindex > 0 && address->prefix_bits <= 128);
    } else if (const auto* neighbour = std::get_if<NeighbourEvent>(&event)) {
        require(neighbour->ifindex > 0);
        require(
            !neighbour->mac ||
            (!neighbour->removed &&
             (neighbour->state & (NUD_INCOMPLETE | NUD_FAILED)) != neighbour->state)
        );
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto events = culvert::ctl::parse_rtnetlink(bytes);
    for (const NetlinkEvent& event : events) {
        check(event);
    }
    const auto fewer = culvert::ctl::parse_rtnetlink(bytes.first(size / 2));
    require(fewer.size() <= events.size());
    for (std::size_t i = 0; i < fewer.size(); ++i) {
        require(fewer[i] == events[i]);
    }
    return 0;
}
