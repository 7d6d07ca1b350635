// SPDX-License-Identifier: GPL-2.0-or-later
//
// Recognises a gratuitous ARP (RFC 5227 section 3): a broadcast by which a host says where it is.
// Any thread.
#pragma once

#include <cstddef>
#include <span>

namespace culvert::dataplane {

/// Of a frame with at most one VLAN tag; it may be cut off anywhere.
[[nodiscard]] bool is_gratuitous_arp(std::span<const std::byte> frame) noexcept;

}  // namespace culvert::dataplane
