// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of inbound SAs. See sa_table.hpp.

#include "dataplane/sa_table.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace culvert::dataplane {

namespace {

constexpr std::uint32_t hash(std::uint32_t spi) noexcept {
    return spi * 0x9e3779b1U;
}

}  // namespace

SaTable::SaTable(
    const std::vector<std::shared_ptr<InboundSa>>& associations, Surroundings surroundings
)
    : surroundings_(std::move(surroundings)), udp_ports_{tunnels::kEspUdpPort} {
    std::ranges::sort(surroundings_.host_spis);
    for (const auto& association : associations) {
        const SaParameters& parameters = association->parameters();
        surroundings_.remotes.push_back(parameters.source);
        const std::uint16_t port = parameters.udp_destination;
        if (port != 0 && !has_udp_port(port)) {
            udp_ports_.push_back(port);
        }
    }
    std::ranges::sort(surroundings_.remotes);
    if (associations.empty()) {
        return;
    }
    const std::size_t slots = std::bit_ceil(associations.size() * 2);
    slots_.resize(slots);
    shift_ = 32U - static_cast<unsigned>(std::countr_zero(slots));
    for (const auto& association : associations) {
        std::size_t at = hash(association->parameters().spi) >> shift_;
        while (slots_[at].spi != 0) {
            at = (at + 1) % slots;
        }
        slots_[at] = {association->parameters().spi, association};
    }
}

InboundSa* SaTable::find(std::uint32_t spi, const tunnels::IpAddress& destination) const noexcept {
    if (slots_.empty()) {
        return nullptr;
    }
    for (std::size_t at = hash(spi) >> shift_; slots_[at].spi != 0; at = (at + 1) % slots_.size()) {
        InboundSa* association = slots_[at].association.get();
        if (slots_[at].spi == spi && association->parameters().destination == destination) {
            return association;
        }
    }
    return nullptr;
}

bool SaTable::has_udp_port(std::uint16_t port) const noexcept {
    return std::ranges::find(udp_ports_, port) != udp_ports_.end();
}

bool SaTable::knows(const tunnels::IpAddress& remote) const noexcept {
    return std::ranges::binary_search(surroundings_.remotes, remote);
}

bool SaTable::is_of_host(std::uint32_t spi) const noexcept {
    return std::ranges::binary_search(surroundings_.host_spis, spi);
}

}  // namespace culvert::dataplane
