// SPDX-License-Identifier: GPL-2.0-or-later
//
// See ofports.hpp.

#include "ctl/ofports.hpp"

#include <utility>

namespace culvert::ctl {

namespace {

constexpr std::uint16_t kAllocatedMax = 32767;

bool can_be(std::uint16_t number) {
    return number >= 1 && number <= Ofports::kRequestMax;
}

}  // namespace

/// What interfaces that are away had when they were there.
std::map<std::string, Ofports::Place> Ofports::places_left(const std::vector<Request>& requests
) const {
    std::map<std::string, Place> left;
    for (const Request& request : requests) {
        for (const auto* past : {&places_, &left_}) {
            const auto place = past->find(request.interface);
            if (request.absent && place != past->end()) {
                left.insert(*place);
            }
        }
    }
    return left;
}

void Ofports::assign(const std::vector<Request>& requests) {
    std::map<std::string, Bridge> bridges;
    std::map<std::string, Place> places;
    const auto give = [&](const Request& request, std::uint16_t number) {
        const bool free =
            bridges[request.bridge].by_number.emplace(number, request.interface).second;
        if (free) {
            places[request.interface] = {request.bridge, number};
        }
        return free;
    };
    for (const auto& [name, bridge] : bridges_) {
        bridges[name].next = bridge.next;
    }
    std::map<std::string, Place> left = places_left(requests);
    // Who has what it requests, then the other requests, then who had one, then the rest.
    const auto place_in = [](const std::map<std::string, Place>& past, const Request& request) {
        const auto place = past.find(request.interface);
        return place != past.end() && place->second.bridge == request.bridge &&
                       place->second.ofport != kLocal
                   ? std::optional(place->second.ofport)
                   : std::nullopt;
    };
    const auto held = [&](const Request& request) { return place_in(places_, request); };
    const auto each = [&](const auto& number_of) {
        for (const Request& request : requests) {
            if (request.absent || places.contains(request.interface)) {
                continue;
            }
            const std::optional<std::uint16_t> number = number_of(request);
            if (number) {
                give(request, *number);
            }
        }
    };
    each([](const Request& request) { return request.local ? std::optional(kLocal) : std::nullopt; }
    );
    each([&](const Request& request) {
        return request.requested && request.requested == held(request) ? held(request)
                                                                       : std::nullopt;
    });
    each([](const Request& request) {
        return request.requested && can_be(*request.requested) ? request.requested : std::nullopt;
    });
    each(held);
    each([&](const Request& request) { return place_in(left_, request); });
    each([](const Request& request) {
        return request.before && can_be(*request.before) ? request.before : std::nullopt;
    });
    for (const Request& request : requests) {
        if (request.absent || places.contains(request.interface)) {
            continue;
        }
        Bridge& bridge = bridges[request.bridge];
        for (std::uint16_t tries = 0; tries < kAllocatedMax; ++tries) {
            const std::uint16_t number = bridge.next;
            bridge.next = number == kAllocatedMax ? 1 : static_cast<std::uint16_t>(number + 1);
            if (give(request, number)) {
                break;
            }
        }
    }
    std::erase_if(bridges, [](const auto& entry) { return entry.second.by_number.empty(); });
    bridges_ = std::move(bridges);
    places_ = std::move(places);
    left_ = std::move(left);
}

std::optional<std::uint16_t> Ofports::find(const std::string& interface) const {
    const auto place = places_.find(interface);
    return place == places_.end() ? std::nullopt : std::optional(place->second.ofport);
}

const std::string* Ofports::interface(const std::string& bridge, std::uint16_t ofport) const {
    const auto& numbers = of_bridge(bridge);
    const auto found = numbers.find(ofport);
    return found == numbers.end() ? nullptr : &found->second;
}

const std::map<std::uint16_t, std::string>& Ofports::of_bridge(const std::string& bridge) const {
    static const std::map<std::uint16_t, std::string> none;
    const auto found = bridges_.find(bridge);
    return found == bridges_.end() ? none : found->second.by_number;
}

}  // namespace culvert::ctl
