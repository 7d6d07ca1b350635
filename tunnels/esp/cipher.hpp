// SPDX-License-Identifier: GPL-2.0-or-later
//
// What EspKey and EspEngine are made of: expanded keys, one thread's buffers, and for each family
// of algorithms a function that seals or opens one burst. Nobody outside of this folder includes
// it. The choice of IPsec-MB's interfaces is explained in docs/decisions/0015-ciphers-of-esp.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include <intel-ipsec-mb.h>

#include "tunnels/esp/esp.hpp"

namespace culvert::tunnels {

/// Packets that are worked on together.
inline constexpr std::size_t kEspBurst = 32;
inline constexpr std::size_t kEspIcvBytes = 16;
/// Room for packets in several pieces of which a cipher needs one: more than the longest one.
inline constexpr std::size_t kEspGatherBytes = std::size_t{128} << 10U;

struct IpsecMbDeleter {
    void operator()(IMB_MGR* manager) const noexcept { free_mb_mgr(manager); }
};
using IpsecMb = std::unique_ptr<IMB_MGR, IpsecMbDeleter>;
/// IPsec-MB with the code for this CPU.
[[nodiscard]] IpsecMb make_ipsec_mb();

/// AES-GCM of one key length and direction.
struct GcmCalls {
    aes_gcm_enc_dec_t whole;
    aes_gcm_enc_dec_update_t update;
    aes_gcm_enc_dec_finalize_t finalize;
};

struct GcmExpandedKey {
    gcm_key_data key;
    GcmCalls seal;
    GcmCalls open;
    aes_gcm_init_t init;
    aes_gmac_init_t gmac_init;
    aes_gmac_update_t gmac_update;
    aes_gmac_finalize_t gmac_finalize;
};

struct CbcExpandedKey {
    using RoundKeys = std::array<std::uint32_t, std::size_t{15} * 4>;
    using Digest = std::array<std::uint32_t, 8>;

    alignas(16) RoundKeys encipher;
    alignas(16) RoundKeys decipher;
    alignas(16) RoundKeys iv;  ///< Of a random key: makes numbers unpredictable.
    alignas(16) Digest inner;  ///< HMAC's two first blocks, hashed.
    alignas(16) Digest outer;
    IMB_KEY_SIZE_BYTES key_bytes;
    aes_cfb_t encipher_iv;
};

/// Trivially copyable, so that it can be wiped.
struct alignas(64) EspExpandedKey {
    union {
        GcmExpandedKey gcm;
        CbcExpandedKey cbc;
        std::array<std::byte, 32> chacha;
    };
    std::uint32_t salt;  ///< As it stands in memory.
};

/// Buffers of one engine.
struct EspScratch {
    using Block = std::array<std::byte, 16>;

    alignas(64) std::array<Block, kEspBurst> nonces;
    alignas(64) std::array<Block, kEspBurst> heads;  ///< SPI and 64-bit number: RFC 4106 section 5.
    alignas(64) std::array<Block, kEspBurst> icvs;
    alignas(64) gcm_context_data gcm;
    alignas(64) chacha20_poly1305_context_data chacha;
    alignas(64) std::array<IMB_JOB, kEspBurst> jobs;
    std::array<EspPacket*, kEspBurst> packets;
    std::array<std::byte*, kEspBurst> whole;  ///< The packet in one piece.
    alignas(64) std::array<std::byte, kEspGatherBytes> gather;
};

struct EspBurst {
    const EspExpandedKey& key;
    EspScratch& scratch;
    IMB_MGR* manager;
    std::uint32_t spi_be;  ///< Of seal.
    bool extended;
    std::span<EspPacket> packets;  ///< At most kEspBurst.
};

/// As many of the burst as can be worked on at once, the first ones; how many: all, but for CBC
/// what fits into the room to gather them.
[[nodiscard]] std::size_t seal_gcm(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t open_gcm(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t seal_gmac(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t open_gmac(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t seal_cbc(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t open_cbc(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t seal_chacha(const EspBurst& burst) noexcept;
[[nodiscard]] std::size_t open_chacha(const EspBurst& burst) noexcept;

inline std::uint8_t* octets(std::byte* bytes) noexcept {
    return reinterpret_cast<std::uint8_t*>(bytes);
}
inline const std::uint8_t* octets(const std::byte* bytes) noexcept {
    return reinterpret_cast<const std::uint8_t*>(bytes);
}

/// Compares as one value: no time tells where they differ.
[[nodiscard]] inline bool is_same_icv(const std::byte* a, const std::byte* b) noexcept {
    std::array<std::uint64_t, 2> x{};
    std::array<std::uint64_t, 2> y{};
    std::memcpy(x.data(), a, sizeof x);
    std::memcpy(y.data(), b, sizeof y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/// The ESP header: SPI and the low half of the number, in one store, as what is read next is read
/// in one.
inline void write_header(std::byte* at, std::uint32_t spi_be, std::uint64_t sequence_be) noexcept {
    const std::uint64_t header = (sequence_be & 0xffffffff00000000U) | spi_be;
    std::memcpy(at, &header, sizeof header);
}

/// Where the ICV stands.
[[nodiscard]] inline std::byte* icv_of(const EspPacket& packet) noexcept {
    const EspPiece& last = packet.pieces.back();
    return last.data + last.bytes - kEspIcvBytes;
}

/// Calls `visit(data, bytes)` for what stands in each piece between the first `front` bytes of the
/// packet and its ICV, where there is something.
template <typename Visit>
void for_each_part(const EspPacket& packet, std::size_t front, Visit visit) {
    const std::size_t last = packet.pieces.size() - 1;
    for (std::size_t i = 0; i <= last; ++i) {
        const EspPiece& piece = packet.pieces[i];
        const std::size_t begin = i == 0 ? front : 0;
        const std::size_t end = piece.bytes - (i == last ? kEspIcvBytes : 0);
        if (end > begin) {
            visit(piece.data + begin, end - begin);
        }
    }
}

}  // namespace culvert::tunnels
