// SPDX-License-Identifier: GPL-2.0-or-later
//
// The parts of a rule of iptables' tables as bytes: matches behind the header, the target behind
// them. Objects are written field by field into bytes that are zero: iptables compares the padding
// of matches as well, and that of a structure is anything. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <linux/netfilter/xt_comment.h>

#include "firewall/iptc.hpp"

namespace culvert::firewall::entry {

using Bytes = std::vector<std::byte>;

template <class T>
void put(Bytes& bytes, std::size_t offset, const T& value) {
    std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

[[nodiscard]] inline std::size_t padded(std::size_t size) {
    return (size + 7) / 8 * 8;
}

/// Returns where the match's own bytes begin.
inline std::size_t append_match(Bytes& bytes, std::string_view name, std::size_t info_size) {
    const std::size_t at = bytes.size();
    const std::size_t size = padded(sizeof(xt_entry_match) + info_size);
    bytes.resize(at + size);
    put(bytes, at, static_cast<std::uint16_t>(size));
    constexpr std::size_t kName = offsetof(xt_entry_match, u.user.name);
    std::memcpy(bytes.data() + at + kName, name.data(), name.size());
    return at + sizeof(xt_entry_match);
}

/// Precondition: `comment` is shorter than XT_MAX_COMMENT_LEN.
inline void append_comment(Bytes& bytes, std::string_view comment) {
    const std::size_t at = append_match(bytes, "comment", sizeof(xt_comment_info));
    std::memcpy(bytes.data() + at, comment.data(), comment.size());
}

/// Appends the target, IPTC_LABEL_ACCEPT or the like, and says in the header where it is: the last
/// thing to be done.
template <class Iptc>
void finish(Bytes& bytes, std::string_view verdict) {
    using Entry = typename Iptc::Entry;
    const std::size_t target = bytes.size();
    const std::size_t size = padded(sizeof(xt_standard_target));
    bytes.resize(target + size);
    put(bytes, target, static_cast<std::uint16_t>(size));
    constexpr std::size_t kName = offsetof(xt_entry_target, u.user.name);
    std::memcpy(bytes.data() + target + kName, verdict.data(), verdict.size());
    put(bytes, offsetof(Entry, target_offset), static_cast<std::uint16_t>(target));
    put(bytes, offsetof(Entry, next_offset), static_cast<std::uint16_t>(bytes.size()));
}

}  // namespace culvert::firewall::entry
