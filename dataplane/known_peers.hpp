// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tunnel peers whose packets a worker has met, by what their headers look like: such a packet needs
// neither parsing nor the peer table. Filled by decap(), which judges the first packet of a peer
// and any that is unlike it; forgotten with each new snapshot. A peer whose packets the host's
// firewall tells apart by the UDP source port is not put in, as that port is not compared. Direct
// mapped: peers that meet in a slot take turns. One worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <nmmintrin.h>

#include "dataplane/frame_reader.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/header_match.hpp"

namespace culvert::dataplane {

struct alignas(64) KnownPeer {
    tunnels::HeaderMatch match;
    std::uint16_t in_port = kPortNone;  ///< Port that the tunnel packets come in by; none: empty.
    std::uint16_t tunnel_port = kPortNone;
    std::uint32_t association = 0;  ///< That its packets were opened by (packet_marks.hpp).
    std::uint16_t bridge = 0;       ///< Of the tunnel's port.
    bool is_l3 = false;             ///< What comes out are bare IP packets.
    FrameReader reader;             ///< Of the frames that come out.
};

class KnownPeers {
public:
    KnownPeers() = default;
    KnownPeers(const KnownPeers&) = delete;  // A pointer into it would be of the other.
    KnownPeers& operator=(const KnownPeers&) = delete;

    /// To be called before each use, with the version of the snapshot in use.
    void follow(std::uint64_t version) noexcept {
        if (version_ != version) [[unlikely]] {
            peers_ = {};
            version_ = version;
        }
    }

    /// The peer of a frame that came in by `in_port`, opened by `association` or in clear, or
    /// nullptr. Packets of a peer come in runs. Precondition: the frame's bytes are all there.
    [[nodiscard]] const KnownPeer* find(
        std::uint16_t in_port, std::uint32_t association, std::span<const std::byte> frame
    ) noexcept {
        if (frame.size() < tunnels::HeaderMatch::kBytesMax) {
            return nullptr;
        }
        if (is_of(*last_, in_port, association, frame)) [[likely]] {
            return last_;
        }
        const KnownPeer& peer = peers_[index(frame.data())];
        if (!is_of(peer, in_port, association, frame)) {
            return nullptr;
        }
        last_ = &peer;
        return last_;
    }

    void insert(const KnownPeer& peer, std::span<const std::byte> frame) noexcept {
        peers_[index(frame.data())] = peer;
    }

private:
    [[nodiscard]] static bool is_of(
        const KnownPeer& peer,
        std::uint16_t in_port,
        std::uint32_t association,
        std::span<const std::byte> frame
    ) noexcept {
        return peer.in_port == in_port && peer.association == association &&
               tunnels::matches(peer.match, frame);
    }

    /// Where packets of a peer and key stand; kBytesMax bytes of the frame are there. Read as if
    /// IPv4: of the others any bytes do that are the same for each packet of a peer.
    [[nodiscard]] static std::size_t index(const std::byte* frame) noexcept {
        const auto word = [&](std::size_t at) noexcept {
            return tunnels::load<tunnels::Be32>(frame + at).memory_order();
        };
        constexpr std::byte kUdp{tunnels::kIpProtocolUdp};
        constexpr std::size_t kTagType = 12;
        const bool tagged = frame[kTagType] == std::byte{0x81};
        const std::size_t ip = tagged ? 18 : 14;
        // The VNI behind UDP, or the key of GRE.
        const std::size_t key = ip + (frame[ip + 9] == kUdp ? 32 : 24);
        return _mm_crc32_u32(word(ip + 12), word(key)) % kKnownPeers;
    }

    std::array<KnownPeer, kKnownPeers> peers_{};
    const KnownPeer* last_ = peers_.data();
    std::uint64_t version_ = 0;
};

}  // namespace culvert::dataplane
