// SPDX-License-Identifier: GPL-2.0-or-later
//
// What GCM and ChaCha20-Poly1305 have in common in ESP: an IV of 8 octets that is the sequence
// number, a nonce of salt and IV, and the header as additional data. A burst is gone through once
// to write them and once to encipher, so that the vector loads of a cipher do not wait for stores
// of other widths that are still under way. Nobody outside of this folder includes it.
#pragma once

#include "tunnels/endian.hpp"
#include "tunnels/esp/cipher.hpp"

namespace culvert::tunnels {

inline constexpr std::size_t kAeadFrontBytes = kEspHeaderBytes + 8;
inline constexpr std::size_t kAeadNonceBytes = 12;
/// SPI and the 64-bit number.
inline constexpr std::size_t kAeadExtendedHeadBytes = kEspHeaderBytes + 4;

/// Salt and IV (RFC 4106 section 4, RFC 7634 section 2).
inline void write_nonce(EspScratch::Block& nonce, std::uint32_t salt, std::uint64_t iv) noexcept {
    const std::array<std::uint64_t, 2> words{salt | iv << 32U, iv >> 32U};
    std::memcpy(nonce.data(), words.data(), sizeof words);
}

/// Additional data of a packet with a 64-bit number: SPI, high half, low half.
inline void
write_head(EspScratch::Block& head, const std::byte* header, std::uint64_t sequence) noexcept {
    std::uint64_t spi_and_low = 0;
    std::memcpy(&spi_and_low, header, sizeof spi_and_low);
    const std::uint64_t high_be = swap_bytes(static_cast<std::uint32_t>(sequence >> 32U));
    const std::array<std::uint64_t, 2> words{
        (spi_and_low & 0xffffffffU) | high_be << 32U, spi_and_low >> 32U};
    std::memcpy(head.data(), words.data(), sizeof words);
}

struct AeadHead {
    const std::byte* data;
    std::uint64_t bytes;
};

[[nodiscard]] inline AeadHead head_of(const EspBurst& burst, std::size_t i) noexcept {
    if (burst.extended) {
        return {burst.scratch.heads[i].data(), kAeadExtendedHeadBytes};
    }
    return {burst.packets[i].pieces.front().data, kEspHeaderBytes};
}

/// Nonce and additional data of packet i.
template <bool Extended>
[[gnu::always_inline]] inline void
prepare(const EspBurst& burst, EspScratch& scratch, std::size_t i, std::uint64_t iv) noexcept {
    write_nonce(scratch.nonces[i], burst.key.salt, iv);
    if constexpr (Extended) {
        const EspPacket& packet = burst.packets[i];
        write_head(scratch.heads[i], packet.pieces.front().data, packet.sequence);
    }
}

// The burst by value: what is written into packets cannot change it, as the compiler then knows.

template <bool Extended>
void prepare_seal_of(const EspBurst burst) noexcept {
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        const EspPacket& packet = burst.packets[i];
        std::byte* const header = packet.pieces.front().data;
        const std::uint64_t iv = swap_bytes(packet.sequence);
        write_header(header, burst.spi_be, iv);
        std::memcpy(header + kEspHeaderBytes, &iv, sizeof iv);
        prepare<Extended>(burst, burst.scratch, i, iv);
    }
}

template <bool Extended>
void prepare_open_of(const EspBurst burst) noexcept {
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        std::uint64_t iv = 0;
        std::memcpy(&iv, burst.packets[i].pieces.front().data + kEspHeaderBytes, sizeof iv);
        prepare<Extended>(burst, burst.scratch, i, iv);
    }
}

/// Writes headers, IVs, nonces and additional data.
inline void prepare_seal(const EspBurst& burst) noexcept {
    burst.extended ? prepare_seal_of<true>(burst) : prepare_seal_of<false>(burst);
}

/// Nonces and additional data of received packets.
inline void prepare_open(const EspBurst& burst) noexcept {
    burst.extended ? prepare_open_of<true>(burst) : prepare_open_of<false>(burst);
}

/// Compares the ICVs that were calculated with those received.
inline void judge_icvs(const EspBurst& burst) noexcept {
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        EspPacket& packet = burst.packets[i];
        packet.is_authentic = is_same_icv(burst.scratch.icvs[i].data(), icv_of(packet));
    }
}

}  // namespace culvert::tunnels
