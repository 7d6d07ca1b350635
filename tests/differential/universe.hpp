// SPDX-License-Identifier: GPL-2.0-or-later
//
// What random rule sets and the packets they are tried with are made of: a few addresses and ports
// that both draw from, so that rules meet packets often. The same seed makes the same ones in every
// run of a build. Values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "firewall/header.hpp"

namespace culvert::test {

class Random {
public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    [[nodiscard]] std::uint64_t next() { return engine_(); }
    /// 0 to `count` - 1.
    [[nodiscard]] unsigned below(std::size_t count) {
        return static_cast<unsigned>(engine_() % count);
    }
    /// Both ends belong to it.
    [[nodiscard]] unsigned between(unsigned low, unsigned high) {
        return low + below(std::size_t{high} - low + 1);
    }
    [[nodiscard]] bool chance(unsigned percent) { return below(100) < percent; }
    template <class Container>
    [[nodiscard]] const auto& pick(const Container& values) {
        return values[below(std::size(values))];
    }
    [[nodiscard]] std::string word(const std::vector<std::string>& words) { return pick(words); }

private:
    std::mt19937_64 engine_;
};

/// Of the whole run.
struct Pool {
    explicit Pool(Random& random);
    std::vector<firewall::Address> sources;
    std::vector<firewall::Address> sources6;
    std::vector<std::uint16_t> ports;
};

/// Of one rule set.
struct Universe {
    Universe(Random& random, const Pool& pool, firewall::Family of, unsigned number);

    [[nodiscard]] bool is_ipv4() const { return family == firewall::Family::ipv4; }

    firewall::Family family;
    firewall::Address destination;  ///< No other rule set's of the run, by `number`.
    std::vector<firewall::Address> sources;
    std::vector<std::uint16_t> ports;
};

[[nodiscard]] firewall::Address flip_low_bits(Random& random, firewall::Address address);
/// Contains the address more often than not.
[[nodiscard]] firewall::Prefix random_prefix(Random& random, const firewall::Address& address);
/// Such as "255.0.255.3", as a number.
[[nodiscard]] firewall::Value random_mask(Random& random, firewall::Family family);
/// At or near one of the universe's.
[[nodiscard]] firewall::Address random_source(Random& random, const Universe& universe);
[[nodiscard]] std::uint16_t random_port(Random& random, const Universe& universe);
struct PortRange {
    std::uint16_t low = 0;
    std::uint16_t high = 0;
};
[[nodiscard]] PortRange random_port_range(Random& random, const Universe& universe);

/// Packets whose states KernelInput can make.
[[nodiscard]] std::vector<firewall::Header>
random_headers(Random& random, const Universe& universe, std::size_t count);
/// `header` with other values in the fields that `read` does not name.
[[nodiscard]] firewall::Header
change_unread(Random& random, const firewall::Header& header, const firewall::FieldSet& read);

[[nodiscard]] std::string to_string(const firewall::Header& header);

}  // namespace culvert::test
