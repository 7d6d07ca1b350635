// SPDX-License-Identifier: GPL-2.0-or-later
//
// The mirror of the underlay: how events change it, and the difference of two of it. Maps and sets
// in order, so that differences come in a fixed order. Any thread.
#include "ctl/underlay_mirror.hpp"

#include <variant>

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;

void apply_event(UnderlayMirror& mirror, const LinkEvent& link) {
    if (link.removed) {
        mirror.links.erase(link.ifindex);
    } else {
        mirror.links[link.ifindex] = link;
    }
}

void apply_event(UnderlayMirror& mirror, const AddressEvent& event) {
    const std::tuple key{event.ifindex, event.address, event.prefix_bits};
    if (!event.removed) {
        mirror.prefixes.insert(key);
        mirror.addresses[event.ifindex].insert(event.address);
        return;
    }
    mirror.prefixes.erase(key);
    const auto other = mirror.prefixes.lower_bound({event.ifindex, event.address, std::uint8_t{0}});
    if (other != mirror.prefixes.end() && std::get<0>(*other) == event.ifindex &&
        std::get<1>(*other) == event.address) {
        return;
    }
    const auto on_link = mirror.addresses.find(event.ifindex);
    if (on_link != mirror.addresses.end() && on_link->second.erase(event.address) != 0 &&
        on_link->second.empty()) {
        mirror.addresses.erase(on_link);
    }
}

void apply_event(UnderlayMirror& mirror, const NeighbourEvent& event) {
    if (event.removed) {
        mirror.neighbours.erase({event.ifindex, event.address});
    } else {
        mirror.neighbours[{event.ifindex, event.address}] = event;
    }
}

void apply_event(UnderlayMirror&, const RouteEvent&) {}

AddressEvent to_event(const std::tuple<int, IpAddress, std::uint8_t>& prefix, bool removed) {
    const auto& [ifindex, address, prefix_bits] = prefix;
    return {removed, ifindex, address, prefix_bits};
}

LinkEvent removal_of(LinkEvent link) {
    link.removed = true;
    return link;
}

NeighbourEvent removal_of(NeighbourEvent neighbour) {
    neighbour.removed = true;
    neighbour.mac.reset();
    return neighbour;
}

// The values of `before` whose key is not in `after`, as removals.
template <class Map>
void append_removed(const Map& before, const Map& after, std::vector<NetlinkEvent>& events) {
    for (const auto& [key, value] : before) {
        if (!after.contains(key)) {
            events.emplace_back(removal_of(value));
        }
    }
}

template <class Map>
void append_changed(const Map& before, const Map& after, std::vector<NetlinkEvent>& events) {
    for (const auto& [key, value] : after) {
        const auto old = before.find(key);
        if (old == before.end() || !(old->second == value)) {
            events.emplace_back(value);
        }
    }
}

}  // namespace

void UnderlayMirror::apply(const NetlinkEvent& event) {
    std::visit([this](const auto& value) { apply_event(*this, value); }, event);
}

std::vector<NetlinkEvent> differences(const UnderlayMirror& before, const UnderlayMirror& after) {
    std::vector<NetlinkEvent> events;
    append_removed(before.neighbours, after.neighbours, events);
    for (const auto& prefix : before.prefixes) {
        if (!after.prefixes.contains(prefix)) {
            events.emplace_back(to_event(prefix, true));
        }
    }
    append_removed(before.links, after.links, events);
    append_changed(before.links, after.links, events);
    for (const auto& prefix : after.prefixes) {
        if (!before.prefixes.contains(prefix)) {
            events.emplace_back(to_event(prefix, false));
        }
    }
    append_changed(before.neighbours, after.neighbours, events);
    return events;
}

std::vector<NetlinkEvent> detach_link(UnderlayMirror& mirror, int ifindex) {
    std::vector<NetlinkEvent> events;
    for (const auto& [key, neighbour] : mirror.neighbours) {
        if (key.first == ifindex) {
            events.emplace_back(removal_of(neighbour));
        }
    }
    for (const auto& prefix : mirror.prefixes) {
        if (std::get<0>(prefix) == ifindex) {
            events.emplace_back(to_event(prefix, true));
        }
    }
    for (const NetlinkEvent& event : events) {
        mirror.apply(event);
    }
    return events;
}

}  // namespace culvert::ctl
