// SPDX-License-Identifier: GPL-2.0-or-later
//
// Netlink attributes as the kernel writes them, walked without trusting a length in them. Values;
// any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include <linux/netlink.h>

namespace culvert::firewall {

struct Attribute {
    std::uint16_t type = 0;  ///< Without the flags for nesting and byte order.
    std::span<const std::byte> value;
};

/// Takes the first attribute off `bytes`; nothing at the end and where no whole one is left.
[[nodiscard]] inline std::optional<Attribute> next_attribute(std::span<const std::byte>& bytes) {
    nlattr header{};
    if (bytes.size() < sizeof(header)) {
        return std::nullopt;
    }
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) {
        return std::nullopt;
    }
    const std::size_t aligned = (header.nla_len + std::size_t{3}) & ~std::size_t{3};
    Attribute attribute;
    attribute.type = static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK);
    attribute.value = bytes.subspan(sizeof(header), header.nla_len - sizeof(header));
    bytes = bytes.subspan(aligned < bytes.size() ? aligned : bytes.size());
    return attribute;
}

/// An integer in network byte order of exactly this many bytes.
[[nodiscard]] inline std::optional<std::uint64_t>
big_endian(std::span<const std::byte> value, std::size_t bytes) {
    if (value.size() != bytes || bytes > sizeof(std::uint64_t)) {
        return std::nullopt;
    }
    std::uint64_t number = 0;
    for (const std::byte byte : value) {
        number = number << 8U | std::to_integer<std::uint64_t>(byte);
    }
    return number;
}

}  // namespace culvert::firewall
