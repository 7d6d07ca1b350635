// SPDX-License-Identifier: GPL-2.0-or-later
//
// Netlink messages and their attributes (RFC 3549) taken apart as bytes that may come from a
// fuzzer, unaligned and cut anywhere: everything is bounds-checked and copied out. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include <linux/netlink.h>

namespace culvert::ctl {

using Bytes = std::span<const std::byte>;

[[nodiscard]] constexpr std::size_t align_to_4(std::size_t length) {
    return (length + 3U) & ~std::size_t{3};
}

/// Takes a T off the front of `bytes`, with what aligns the next thing; false when it is not all
/// there.
template <class T>
[[nodiscard]] bool take(Bytes& bytes, T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (bytes.size() < sizeof(T)) {
        return false;
    }
    std::memcpy(&value, bytes.data(), sizeof(T));
    bytes = bytes.subspan(std::min(align_to_4(sizeof(T)), bytes.size()));
    return true;
}

/// Calls `visit(type, value)` for each attribute; false when one is cut off, or `visit` said so.
template <class Visit>
[[nodiscard]] bool visit_attributes(Bytes bytes, Visit visit) {
    while (!bytes.empty()) {
        nlattr attribute{};
        if (bytes.size() < sizeof(attribute)) {
            return false;
        }
        std::memcpy(&attribute, bytes.data(), sizeof(attribute));
        if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > bytes.size()) {
            return false;
        }
        const Bytes value = bytes.subspan(sizeof(attribute), attribute.nla_len - sizeof(attribute));
        if (!visit(static_cast<unsigned>(attribute.nla_type & NLA_TYPE_MASK), value)) {
            return false;
        }
        bytes = bytes.subspan(std::min(align_to_4(attribute.nla_len), bytes.size()));
    }
    return true;
}

/// Calls `visit(type, body)` for each message until one is cut off, or `visit` returned false.
template <class Visit>
void visit_messages(Bytes bytes, Visit visit) {
    while (!bytes.empty()) {
        nlmsghdr header{};
        if (bytes.size() < sizeof(header)) {
            return;
        }
        std::memcpy(&header, bytes.data(), sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > bytes.size()) {
            return;
        }
        const Bytes body = bytes.subspan(sizeof(header), header.nlmsg_len - sizeof(header));
        if (!visit(header.nlmsg_type, body)) {
            return;
        }
        bytes = bytes.subspan(std::min(align_to_4(header.nlmsg_len), bytes.size()));
    }
}

}  // namespace culvert::ctl
