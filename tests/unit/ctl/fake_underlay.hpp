// SPDX-License-Identifier: GPL-2.0-or-later
//
// An underlay whose answers the test sets. Nothing is asked of a kernel. Test's thread only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ctl/underlay.hpp"

namespace culvert::testing {

class FakeUnderlay final : public ctl::Underlay {
public:
    [[nodiscard]] int event_fd() const override { return -1; }
    std::vector<ctl::NetlinkEvent> read_events() override { return {}; }

    [[nodiscard]] std::optional<ctl::LinkEvent> link(const std::string& name) const override {
        for (const auto& [ifindex, known] : known_links) {
            if (known.name == name) {
                return known;
            }
        }
        return std::nullopt;
    }
    [[nodiscard]] std::optional<ctl::LinkEvent> link(int ifindex) const override {
        const auto found = known_links.find(ifindex);
        return found == known_links.end() ? std::nullopt : std::optional(found->second);
    }
    [[nodiscard]] const std::map<int, std::set<tunnels::IpAddress>>& addresses() const override {
        return no_addresses_;
    }
    [[nodiscard]] std::optional<ctl::NeighbourEvent>
    neighbour(int ifindex, const tunnels::IpAddress& address) const override {
        const auto found = known_neighbours.find({ifindex, address});
        return found == known_neighbours.end() ? std::nullopt : std::optional(found->second);
    }
    [[nodiscard]] std::vector<ctl::AddressEvent> prefixes(int /*ifindex*/) const override {
        return {};
    }
    [[nodiscard]] std::vector<ctl::NeighbourEvent> neighbours(int ifindex) const override {
        std::vector<ctl::NeighbourEvent> all;
        for (const auto& [key, event] : known_neighbours) {
            if (key.first == ifindex) {
                all.push_back(event);
            }
        }
        return all;
    }
    [[nodiscard]] ctl::Result<ctl::Route> route(
        const tunnels::IpAddress& destination,
        const std::optional<tunnels::IpAddress>& source,
        std::uint32_t mark
    ) override {
        asked_destination = destination;
        asked_source = source;
        asked_mark = mark;
        return answer;
    }
    void probe_neighbour(int /*ifindex*/, const tunnels::IpAddress& /*address*/) override {}

    [[nodiscard]] ctl::Result<void>
    add_address(int /*ifindex*/, const tunnels::IpAddress& /*address*/, std::uint8_t /*bits*/)
        override {
        return {};
    }
    [[nodiscard]] ctl::Result<void>
    remove_address(int /*ifindex*/, const tunnels::IpAddress& /*address*/, std::uint8_t /*bits*/)
        override {
        return {};
    }
    [[nodiscard]] ctl::Result<void> set_link_up(int /*ifindex*/, bool /*up*/) override {
        return {};
    }
    [[nodiscard]] ctl::Result<void> set_link_mtu(int /*ifindex*/, std::uint32_t /*mtu*/) override {
        return {};
    }

    [[nodiscard]] std::vector<ctl::LinkEvent> links() const override {
        std::vector<ctl::LinkEvent> all;
        for (const auto& [ifindex, known] : known_links) {
            all.push_back(known);
        }
        return all;
    }
    [[nodiscard]] ctl::Result<void>
    set_link_mac(int /*ifindex*/, const tunnels::MacAddress& /*mac*/) override {
        return {};
    }
    [[nodiscard]] ctl::Result<void> remove_links(const std::vector<int>& /*all*/) override {
        return {};
    }

    ctl::Result<ctl::Route> answer = ctl::Route{};
    std::map<int, ctl::LinkEvent> known_links;
    std::map<std::pair<int, tunnels::IpAddress>, ctl::NeighbourEvent> known_neighbours;
    std::optional<tunnels::IpAddress> asked_destination;
    std::optional<tunnels::IpAddress> asked_source;
    std::uint32_t asked_mark = 0;

private:
    std::map<int, std::set<tunnels::IpAddress>> no_addresses_;
};

}  // namespace culvert::testing
