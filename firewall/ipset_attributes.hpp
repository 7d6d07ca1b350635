// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's listing of an IP set (IPSET_CMD_LIST), read from the bytes of its netlink
// attributes. Pure: the messages are fetched by ipset.cpp. Any bytes are survived, and a listing
// that is not understood in every part gives a set without tuples. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firewall/ipset.hpp"

namespace culvert::firewall {

/// A set of more elements is not read. Hash sets hold 65536 of them unless told otherwise.
constexpr std::size_t kIpsetElementsMax = std::size_t{1} << 20U;

/// Put together from the messages of one listing, in order.
class IpsetListing {
public:
    /// `attributes` is a message of IPSET_CMD_LIST behind its struct nfgenmsg.
    void add(std::span<const std::byte> attributes);
    [[nodiscard]] Ipset finish() const;
    /// Of everything that finish() would return.
    [[nodiscard]] std::uint64_t fingerprint() const;

private:
    void read_type(std::span<const std::byte> name);
    void read_header(std::span<const std::byte> attributes);
    void read_elements(std::span<const std::byte> attributes);
    void read_element(std::span<const std::byte> attributes);

    std::string name_;
    std::string type_;
    std::optional<Family> family_;
    std::vector<Ipset::Part> parts_;
    std::optional<std::uint8_t> netmask_bits_;  ///< Addresses are compared up to there only.
    bool holds_nets_ = false;
    bool is_readable_ = true;
    std::size_t width_ = 0;  ///< Intervals of a tuple; 0 until the type is known.
    std::vector<Interval> intervals_;
};

}  // namespace culvert::firewall
