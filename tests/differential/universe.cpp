// SPDX-License-Identifier: GPL-2.0-or-later
//
// See universe.hpp.
#include "tests/differential/universe.hpp"

#include <algorithm>

#include "tests/differential/kernel_input.hpp"

namespace culvert::test {

using firewall::Address;
using firewall::Family;
using firewall::Field;
using firewall::FieldSet;
using firewall::Header;
using firewall::Prefix;
using firewall::State;
using firewall::Value;

namespace {

constexpr std::size_t kPoolSources = 12;
constexpr std::size_t kPoolPorts = 12;

// Networks that senders are in, by their first 16 bits; the last ones are exempt from conntrack.
constexpr std::uint16_t kNetworks[] = {0xc0a8, 0xac14, 0xc612, 0x2c07, 0xac1f};
constexpr std::uint16_t kNetworks6[] = {0x2001, 0x2a00, 0xfd20, 0xfe08, 0xfd31};

Value random_value(Random& random) {
    return (Value{random.next()} << 64U) | random.next();
}

Address random_address(Random& random, Family family) {
    if (family == Family::ipv4) {
        return {family, (Value{random.pick(kNetworks)} << 16U) | random.below(0x10000)};
    }
    const Value network = Value{random.pick(kNetworks6)} << 112U;
    return {family, network | (random_value(random) >> 16U)};
}

bool is_untracked(const Address& address) {
    return firewall::parse_prefix(kUntrackedNetwork)->contains(address) ||
           firewall::parse_prefix(kUntrackedNetwork6)->contains(address);
}

bool has_state(const Header& one, const Header& other) {
    return one.source == other.source && one.protocol == other.protocol &&
           one.source_port == other.source_port && one.destination_port == other.destination_port;
}

// `before`: of the same destination, sent earlier.
State random_state(Random& random, const Header& header, const std::vector<Header>& before) {
    if (is_untracked(header.source)) {
        return State::untracked;
    }
    if (header.protocol == firewall::kProtocolTcp) {
        return State::fresh;  // Answers to it would be segments of another kind.
    }
    const bool is_answer = std::any_of(before.begin(), before.end(), [&](const Header& earlier) {
        return earlier.state == State::established && has_state(earlier, header);
    });
    if (header.protocol == firewall::kProtocolUdp && random.chance(8)) {
        return State::invalid;
    }
    return is_answer || random.chance(12) ? State::established : State::fresh;
}

Header random_header(Random& random, const Universe& universe) {
    Header header;
    header.source = random_source(random, universe);
    header.destination = universe.destination;
    header.protocol = random.chance(40) ? firewall::kProtocolUdp : random.pick(kProtocols);
    if (header.has_ports()) {
        header.source_port = random_port(random, universe);
        header.destination_port = random_port(random, universe);
    }
    header.interface_in = firewall::value_of_interface(kInterface);
    return header;
}

}  // namespace

Pool::Pool(Random& random) {
    for (std::size_t i = 0; i < kPoolSources; ++i) {
        sources.push_back(random_address(random, Family::ipv4));
        sources6.push_back(random_address(random, Family::ipv6));
    }
    ports = {1, 53, 500, 4500, 4789, 6081, 0xffff};
    while (ports.size() < kPoolPorts) {
        ports.push_back(static_cast<std::uint16_t>(random.between(1, 0xffff)));
    }
}

Universe::Universe(Random& random, const Pool& pool, Family of, unsigned number) : family(of) {
    constexpr unsigned kFirst = 0x100;  // Behind the addresses that tests use by hand.
    destination = {family, 0x0a630000 + Value{kFirst + number}};
    if (family == Family::ipv6) {
        destination.value = (Value{0xfd99} << 112U) | (Value{random.next()} << 40U) | number;
    }
    for (int i = 0; i < 4; ++i) {
        sources.push_back(random.pick(is_ipv4() ? pool.sources : pool.sources6));
        ports.push_back(random.pick(pool.ports));
    }
}

Address flip_low_bits(Random& random, Address address) {
    const unsigned bits = address.family == Family::ipv4 ? 16 : 112;
    for (unsigned flips = random.between(1, 2); flips > 0; --flips) {
        // Mostly the lowest ones, where prefixes end.
        address.value ^= Value{1} << random.below(random.chance(50) ? 8 : bits);
    }
    return address;
}

Prefix random_prefix(Random& random, const Address& address) {
    const unsigned width = bits_of(address.family);
    const unsigned bits = random.chance(40) ? width : random.between(width / 4, width);
    return {
        {address.family, address.value & firewall::prefix_mask(width, bits)},
        static_cast<std::uint8_t>(bits),
    };
}

Value random_mask(Random& random, Family family) {
    return (random_value(random) | random_value(random)) & firewall::max_value(bits_of(family));
}

Address random_source(Random& random, const Universe& universe) {
    const Address source = random.pick(universe.sources);
    return random.chance(25) ? flip_low_bits(random, source) : source;
}

std::uint16_t random_port(Random& random, const Universe& universe) {
    const unsigned port = random.pick(universe.ports);
    if (random.chance(70)) {
        return static_cast<std::uint16_t>(port);
    }
    const unsigned near =
        random.chance(50) ? port - 1 + 2 * random.below(2) : random.below(0x10000);
    return static_cast<std::uint16_t>(std::clamp(near, 1U, 0xffffU));
}

PortRange random_port_range(Random& random, const Universe& universe) {
    const auto [low, high] =
        std::minmax({random_port(random, universe), random_port(random, universe)});
    return random.chance(40) ? PortRange{low, low} : PortRange{low, high};
}

std::vector<Header> random_headers(Random& random, const Universe& universe, std::size_t count) {
    std::vector<Header> headers;
    while (headers.size() < count) {
        Header header = random_header(random, universe);
        header.state = random_state(random, header, headers);
        // The host's answer to a segment changes what the next one of the connection is.
        const bool is_second =
            header.protocol == firewall::kProtocolTcp &&
            std::any_of(headers.begin(), headers.end(), [&](const Header& earlier) {
                return has_state(earlier, header);
            });
        if (!is_second) {
            headers.push_back(header);
        }
    }
    return headers;
}

Header change_unread(Random& random, const Header& header, const FieldSet& read) {
    const auto is_read = [&](Field field) { return read[static_cast<std::size_t>(field)]; };
    Header changed = header;
    const Value all = firewall::max_value(bits_of(header.source.family));
    if (!is_read(Field::source)) {
        changed.source.value = random_value(random) & all;
    }
    if (!is_read(Field::destination)) {
        changed.destination.value = random_value(random) & all;
    }
    if (!is_read(Field::protocol)) {
        changed.protocol = random.pick(kProtocols);
    }
    const bool has_ports = changed.has_ports();
    if (!is_read(Field::source_port)) {
        changed.source_port =
            has_ports ? static_cast<std::uint16_t>(random.next()) : std::uint16_t{0};
    }
    if (!is_read(Field::destination_port)) {
        changed.destination_port =
            has_ports ? static_cast<std::uint16_t>(random.next()) : std::uint16_t{0};
    }
    if (!is_read(Field::interface_in)) {
        changed.interface_in = firewall::value_of_interface(random.chance(50) ? "eth0" : "cv");
    }
    if (!is_read(Field::state)) {
        constexpr State kStates[] = {
            State::invalid, State::established, State::related, State::fresh, State::untracked};
        changed.state = random.pick(kStates);
    }
    return changed;
}

std::string to_string(const Header& header) {
    std::string text = firewall::to_string(header.source) + " > " +
                       firewall::to_string(header.destination) + " protocol " +
                       std::to_string(header.protocol);
    if (header.has_ports()) {
        text += " port " + std::to_string(header.source_port) + " > " +
                std::to_string(header.destination_port);
    }
    return text + " state " + std::to_string(static_cast<unsigned>(header.state));
}

}  // namespace culvert::test
