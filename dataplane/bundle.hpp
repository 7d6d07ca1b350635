// SPDX-License-Identifier: GPL-2.0-or-later
//
// Consecutive packets of one burst that the kernel can take as one super-frame: in-order TCP
// segments of one connection, which the receiving host's stack then sees once instead of thirty
// times (what GRO does in a driver), and packets of one tunnel flow, which leave as one UDP
// super-frame ("train") and are cut again by the device or the kernel before a wire. Nothing is
// written to the packets and nothing waits for more to come, so that no packet is delayed or
// overtaken. Left alone: whatever has a pending offload, an IP option, an extension header, a
// fragment, padding, a wrong checksum, or a TCP flag other than ACK and PSH. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/uio.h>

#include "dataplane/packet.hpp"
#include "dataplane/virtio_header.hpp"

namespace culvert::dataplane {

/// The kernel takes no more vectors in one message (UIO_MAXIOV is 1024).
inline constexpr std::size_t kBundleVectorsMax = 256;

struct Bundle {
    /// Ethernet with two tags, IPv6 or IPv4, and the longest TCP header.
    static constexpr std::size_t kHeaderBytesMax = 14 + 8 + 40 + 60;

    std::size_t packets = 1;         ///< Taken from the front of the burst.
    std::uint16_t header_bytes = 0;  ///< In `header`; 0: one packet, which goes as it is.
    bool is_train = false;           ///< UDP.
    VirtioHeader virtio{};
    std::array<std::byte, kHeaderBytesMax> header;
};

/// Fills `bundle` from the front of `burst`, which is not empty. Trains are made of packets that
/// the switch encapsulated itself (packet::is_encapsulated()), and only when `trains` is set.
/// Checksums of TCP segments are verified before the receiver is told that it need not.
void gather(std::span<rte_mbuf* const> burst, bool trains, Bundle& bundle) noexcept;

/// The same with no more than the first packet.
void gather_alone(const rte_mbuf* packet, Bundle& bundle) noexcept;

/// Vectors that write_vectors() needs.
[[nodiscard]] std::size_t
vector_count(const Bundle& bundle, std::span<rte_mbuf* const> burst) noexcept;

/// Lays `bundle`, gathered from the front of `burst`, out for a system call, its virtio header
/// first. Returns how many vectors were written. Valid as long as bundle and packets are.
std::size_t
write_vectors(Bundle& bundle, std::span<rte_mbuf* const> burst, std::span<iovec> vectors) noexcept;

}  // namespace culvert::dataplane
