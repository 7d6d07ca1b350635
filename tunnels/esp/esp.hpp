// SPDX-License-Identifier: GPL-2.0-or-later
//
// Encapsulating Security Payload (RFC 4303): seal and open. What stands in an ESP packet:
//
//   SPI (4) | sequence number, low half (4) | IV | payload | padding | pad length (1)
//   | next header (1) | ICV
//
// The IV is the 64-bit sequence number, which no SA uses twice; for CBC, which wants one that
// cannot be foretold, that number enciphered under a key of this process (RFC 3602 section 3).
// Ciphers are Intel IPsec-MB's. What is not here: sequence numbers and lifetimes of an SA, IP
// headers, mbufs. Fragments of this protocol are the caller's to put together before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "tunnels/esp/algorithm.hpp"
#include "tunnels/esp/secret.hpp"

namespace culvert::tunnels {

inline constexpr std::uint8_t kIpProtocolEsp = 50;
inline constexpr std::size_t kEspHeaderBytes = 8;
inline constexpr std::uint16_t kEspUdpPort = 4500;  ///< RFC 3948.
inline constexpr std::uint32_t kEspSpiMin = 256;    ///< RFC 4303 section 2.1.

/// Header and IV: what stands in front of the payload.
[[nodiscard]] constexpr std::size_t esp_front_bytes(const EspAlgorithmRow& row) noexcept {
    return kEspHeaderBytes + row.iv_bytes;
}
/// Padding and the two octets of the trailer behind `payload_bytes`.
[[nodiscard]] constexpr std::size_t
esp_trailer_bytes(const EspAlgorithmRow& row, std::size_t payload_bytes) noexcept {
    const std::size_t used = (payload_bytes + 2) % row.block_bytes;
    return 2 + (used == 0 ? 0 : row.block_bytes - used);
}
/// The longest payload of which the whole ESP packet has at most `bytes`; 0: none.
[[nodiscard]] constexpr std::size_t
esp_payload_bytes_max(const EspAlgorithmRow& row, std::size_t bytes) noexcept {
    const std::size_t around = esp_front_bytes(row) + row.icv_bytes;
    const std::size_t inside = bytes < around ? 0 : (bytes - around) / row.block_bytes;
    return inside * row.block_bytes < 2 ? 0 : inside * row.block_bytes - 2;
}
/// Writes padding (1, 2, 3, ...: RFC 4303 section 2.4), pad length and next header into `trailer`,
/// whose size esp_trailer_bytes() said.
void write_esp_trailer(std::span<std::byte> trailer, std::uint8_t next_header) noexcept;

struct EspTrailer {
    std::uint8_t next_header = 0;
    std::uint16_t bytes = 0;  ///< Padding with the two octets: 2-257.
};
/// Reads the trailer at the end of `end`, the last bytes of the decrypted part (up to 257 of them,
/// or all there are). Nothing when the padding is longer than what is there or not the sequence of
/// RFC 4303.
[[nodiscard]] std::optional<EspTrailer> parse_esp_trailer(std::span<const std::byte> end) noexcept;

struct EspExpandedKey;

/// The expanded key of one SA. Immutable, shared by threads, wiped at the end. Not copyable.
class EspKey {
public:
    /// Precondition: `key` is of row_of(algorithm).key_bytes(), and esp_self_test() passed.
    EspKey(EspAlgorithm algorithm, const Secret& key);
    ~EspKey();
    EspKey(const EspKey&) = delete;
    EspKey& operator=(const EspKey&) = delete;

    [[nodiscard]] EspAlgorithm algorithm() const noexcept { return algorithm_; }

private:
    friend class EspEngine;
    EspAlgorithm algorithm_;
    std::unique_ptr<EspExpandedKey> expanded_;
};

/// A part of a packet that is contiguous in memory.
struct EspPiece {
    std::byte* data = nullptr;
    std::uint32_t bytes = 0;
};

/// One packet, changed where it lies.
struct EspPacket {
    /// ESP header to the end of the ICV, in order, at most 64 KiB; header and IV are whole in the
    /// first one, the ICV is whole in the last one. Most packets have one piece.
    std::span<const EspPiece> pieces;
    std::uint64_t sequence = 0;  ///< All 64 bits.
    bool is_authentic = false;   ///< Of open().
};

/// Seals and opens with one thread's buffers of IPsec-MB: each thread has its own.
class EspEngine {
public:
    /// Where IPsec-MB does not work at all (on a CPU without AES-NI) there is no key to use it
    /// with.
    EspEngine();
    ~EspEngine();
    EspEngine(const EspEngine&) = delete;
    EspEngine& operator=(const EspEngine&) = delete;

    /// Writes header and IV, enciphers payload and trailer, which are there, and writes the ICV.
    /// `extended`: the high half of the sequence number is authenticated too (RFC 4303 2.2.1).
    void seal(
        const EspKey& key, std::uint32_t spi, bool extended, std::span<EspPacket> packets
    ) noexcept;
    /// Verifies and deciphers; says of each packet whether it is authentic. One that is not may
    /// hold anything afterwards. Precondition: each has at least front, one block and ICV, and what
    /// is between front and ICV is a multiple of the block.
    void open(const EspKey& key, bool extended, std::span<EspPacket> packets) noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Seals and opens a known packet of every algorithm with the code that this CPU selects; false: no
/// key and no engine must be made. One or two milliseconds.
[[nodiscard]] bool esp_self_test() noexcept;

}  // namespace culvert::tunnels
