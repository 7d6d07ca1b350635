// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets that a worker has met, by what their headers look like, as KnownPeers knows tunnel
// packets: one with these headers is of this SA, and the host's firewall lets it in. Forgotten with
// each new snapshot. Direct mapped. One worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/limits.hpp"
#include "dataplane/security_association.hpp"
#include "tunnels/header_match.hpp"

namespace culvert::dataplane {

struct alignas(64) KnownEspPacket {
    tunnels::HeaderMatch match;
    InboundSa* association = nullptr;   ///< Of the snapshot.
    std::uint16_t in_port = kPortNone;  ///< None: empty.
    std::uint16_t esp_offset = 0;
};

class KnownEsp {
public:
    KnownEsp() = default;
    KnownEsp(const KnownEsp&) = delete;  // A pointer into it would be of the other.
    KnownEsp& operator=(const KnownEsp&) = delete;

    /// To be called before each use, with the version of the snapshot in use.
    void follow(std::uint64_t version) noexcept {
        if (version_ != version) [[unlikely]] {
            known_ = {};
            version_ = version;
        }
    }
    /// What is known of a frame that came in by `in_port`, or nullptr. Precondition: the frame's
    /// bytes are all there.
    [[nodiscard]] const KnownEspPacket*
    find(std::uint16_t in_port, std::span<const std::byte> frame) noexcept {
        if (frame.size() < tunnels::HeaderMatch::kBytesMax) {
            return nullptr;
        }
        if (is_of(*last_, in_port, frame)) [[likely]] {
            return last_;
        }
        const KnownEspPacket& known = known_[index(frame.data())];
        if (!is_of(known, in_port, frame)) {
            return nullptr;
        }
        last_ = &known;
        return last_;
    }
    void insert(const KnownEspPacket& known, std::span<const std::byte> frame) noexcept {
        known_[index(frame.data())] = known;
    }

private:
    [[nodiscard]] static bool is_of(
        const KnownEspPacket& known, std::uint16_t in_port, std::span<const std::byte> frame
    ) noexcept {
        return known.in_port == in_port && tunnels::matches(known.match, frame);
    }
    /// By where the SPI stands of an untagged packet, of IPv4 or IPv6, with UDP or without: other
    /// bytes that are the same in each packet do as well.
    [[nodiscard]] static std::size_t index(const std::byte* frame) noexcept {
        constexpr std::size_t kIp = sizeof(tunnels::EthernetHeader);
        const bool is_v4 = (frame[kIp] >> 4U) == std::byte{4};
        const std::byte protocol = frame[kIp + (is_v4 ? 9U : 6U)];
        const std::size_t udp = protocol == std::byte{tunnels::kIpProtocolUdp} ? 8 : 0;
        const std::size_t at = kIp + (is_v4 ? 20U : 40U) + udp;
        const auto spi = tunnels::load<tunnels::Be32>(frame + at).host();
        return (spi * 0x9e3779b1U >> 16U) % kKnownEsp;
    }

    std::array<KnownEspPacket, kKnownEsp> known_{};
    const KnownEspPacket* last_ = known_.data();
    std::uint64_t version_ = 0;
};

}  // namespace culvert::dataplane
