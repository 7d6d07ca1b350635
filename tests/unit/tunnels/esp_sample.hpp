// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets for tests: memory with a clear payload and its trailer, in one piece or cut anywhere.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::tests {

/// A key whose octets count from `first`.
inline tunnels::Secret counting_key(tunnels::EspAlgorithm algorithm, std::uint8_t first = 1) {
    Bytes key(row_of(algorithm).key_bytes());
    for (std::byte& octet : key) {
        octet = std::byte{first++};
    }
    return tunnels::Secret(key);
}

/// One packet. Each piece is an allocation of exactly its size, so that AddressSanitizer sees what
/// our own code does beside it, and has octets around it that must stay as they are.
class EspSample {
public:
    /// Room for a packet of `bytes` octets that is cut at `cuts`, ascending.
    explicit EspSample(std::size_t bytes, std::initializer_list<std::size_t> cuts = {})
        : EspSample(bytes, std::span(cuts.begin(), cuts.size())) {}
    EspSample(std::size_t bytes, std::span<const std::size_t> cuts) {
        std::size_t begin = 0;
        for (const std::size_t cut : cuts) {
            add_piece(cut - begin);
            begin = cut;
        }
        add_piece(bytes - begin);
    }
    /// A packet with these octets.
    explicit EspSample(const Bytes& bytes, std::initializer_list<std::size_t> cuts = {})
        : EspSample(bytes.size(), cuts) {
        write(bytes);
    }

    void write(const Bytes& bytes) {
        std::size_t at = 0;
        for (const tunnels::EspPiece& piece : pieces_) {
            std::memcpy(piece.data, bytes.data() + at, piece.bytes);
            at += piece.bytes;
        }
    }
    [[nodiscard]] Bytes read() const {
        Bytes bytes;
        for (const tunnels::EspPiece& piece : pieces_) {
            bytes.insert(bytes.end(), piece.data, piece.data + piece.bytes);
        }
        return bytes;
    }
    [[nodiscard]] tunnels::EspPacket packet(std::uint64_t sequence) const {
        return {pieces_, sequence, false};
    }
    /// Whether nothing was written beside the pieces.
    [[nodiscard]] bool margins_are_whole() const {
        for (std::size_t i = 0; i < pieces_.size(); ++i) {
            const std::byte* const data = memory_[i].get();
            const std::byte* const end = data + kMargin + pieces_[i].bytes;
            if (std::any_of(data, data + kMargin, is_not_margin) ||
                std::any_of(end, end + kMargin, is_not_margin)) {
                return false;
            }
        }
        return true;
    }

private:
    static constexpr std::size_t kMargin = 16;
    static constexpr std::byte kMarginOctet{0xa5};
    static bool is_not_margin(std::byte octet) { return octet != kMarginOctet; }

    void add_piece(std::size_t bytes) {
        memory_.push_back(std::make_unique<std::byte[]>(bytes + 2 * kMargin));
        std::fill_n(memory_.back().get(), bytes + 2 * kMargin, kMarginOctet);
        pieces_.push_back({memory_.back().get() + kMargin, static_cast<std::uint32_t>(bytes)});
    }

    std::vector<std::unique_ptr<std::byte[]>> memory_;
    std::vector<tunnels::EspPiece> pieces_;
};

/// Octets that are a function of position and length.
inline Bytes payload_of(std::size_t bytes) {
    Bytes payload(bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
        payload[i] = static_cast<std::byte>(i * 7 + bytes);
    }
    return payload;
}

/// The packet before it is sealed: nothing where header, IV and ICV will stand.
inline Bytes clear_packet(
    const tunnels::EspAlgorithmRow& row,
    std::span<const std::byte> payload,
    std::uint8_t next_header
) {
    const std::size_t front = esp_front_bytes(row);
    const std::size_t trailer = tunnels::esp_trailer_bytes(row, payload.size());
    Bytes packet(front + payload.size() + trailer + row.icv_bytes);
    std::copy(payload.begin(), payload.end(), packet.begin() + static_cast<std::ptrdiff_t>(front));
    tunnels::write_esp_trailer(
        std::span(packet).subspan(front + payload.size(), trailer), next_header
    );
    return packet;
}

/// What is enciphered of a packet: payload, padding and trailer.
inline std::span<const std::byte>
inside_of(const tunnels::EspAlgorithmRow& row, std::span<const std::byte> packet) {
    const std::size_t front = esp_front_bytes(row);
    return packet.subspan(front, packet.size() - front - row.icv_bytes);
}

inline void seal_one(
    tunnels::EspEngine& engine,
    const tunnels::EspKey& key,
    const EspSample& sample,
    std::uint64_t sequence,
    bool extended,
    std::uint32_t spi = 0x1001
) {
    tunnels::EspPacket packet = sample.packet(sequence);
    engine.seal(key, spi, extended, std::span(&packet, 1));
}

/// Whether the packet is authentic.
[[nodiscard]] inline bool open_one(
    tunnels::EspEngine& engine,
    const tunnels::EspKey& key,
    const EspSample& sample,
    std::uint64_t sequence,
    bool extended
) {
    tunnels::EspPacket packet = sample.packet(sequence);
    engine.open(key, extended, std::span(&packet, 1));
    return packet.is_authentic;
}

}  // namespace culvert::tests
