// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-CBC with HMAC-SHA2-256-128 of ESP (RFC 3602, RFC 4868). One packet's blocks can neither be
// enciphered nor hashed side by side, so IPsec-MB works on many packets at once, which is what its
// burst calls are for. A packet in several pieces is gathered into one and scattered back.

#include <algorithm>

#include "tunnels/endian.hpp"
#include "tunnels/esp/cipher.hpp"

namespace culvert::tunnels {

namespace {

constexpr std::size_t kIvBytes = 16;
constexpr std::size_t kFrontBytes = kEspHeaderBytes + kIvBytes;

std::size_t bytes_of(const EspPacket& packet) noexcept {
    std::size_t bytes = 0;
    for (const EspPiece& piece : packet.pieces) {
        bytes += piece.bytes;
    }
    return bytes;
}

void gather(const EspPacket& packet, std::byte* to) noexcept {
    for (const EspPiece& piece : packet.pieces) {
        to = std::copy_n(piece.data, piece.bytes, to);
    }
}

void scatter(const std::byte* from, const EspPacket& packet) noexcept {
    for (const EspPiece& piece : packet.pieces) {
        std::copy_n(from, piece.bytes, piece.data);
        from += piece.bytes;
    }
}

/// A burst with each packet in one piece.
struct Gathered {
    std::array<std::uint32_t, kEspBurst> bytes;
    std::uint32_t count = 0;
};

Gathered gather_all(const EspBurst& burst) noexcept {
    EspScratch& scratch = burst.scratch;
    Gathered gathered;  // NOLINT(cppcoreguidelines-pro-type-member-init): `count` of them.
    std::size_t used = 0;
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        const EspPacket& packet = burst.packets[i];
        const std::size_t bytes = bytes_of(packet);
        if (packet.pieces.size() == 1) {
            scratch.whole[i] = packet.pieces.front().data;
        } else if (used + bytes <= kEspGatherBytes) {
            scratch.whole[i] = scratch.gather.data() + used;
            gather(packet, scratch.whole[i]);
            used += bytes;
        } else {
            break;
        }
        gathered.bytes[gathered.count++] = static_cast<std::uint32_t>(bytes);
    }
    return gathered;
}

void write_job(const EspBurst& burst, std::size_t i, std::size_t bytes, IMB_JOB& job) noexcept {
    const CbcExpandedKey& key = burst.key.cbc;
    std::byte* const packet = burst.scratch.whole[i];
    const std::size_t ciphered = bytes - kFrontBytes - kEspIcvBytes;
    job.enc_keys = key.encipher.data();
    job.dec_keys = key.decipher.data();
    job.key_len_in_bytes = key.key_bytes;
    job.src = octets(packet);
    job.dst = octets(packet) + kFrontBytes;
    job.cipher_start_src_offset_in_bytes = kFrontBytes;
    job.msg_len_to_cipher_in_bytes = ciphered;
    job.hash_start_src_offset_in_bytes = 0;
    job.msg_len_to_hash_in_bytes = kFrontBytes + ciphered + (burst.extended ? 4 : 0);
    job.iv = octets(packet) + kEspHeaderBytes;
    job.iv_len_in_bytes = kIvBytes;
    job.auth_tag_output = octets(burst.scratch.icvs[i].data());
    job.auth_tag_output_len_in_bytes = kEspIcvBytes;
    job.u.HMAC._hashed_auth_key_xor_ipad = reinterpret_cast<const std::uint8_t*>(key.inner.data());
    job.u.HMAC._hashed_auth_key_xor_opad = reinterpret_cast<const std::uint8_t*>(key.outer.data());
    job.cipher_mode = IMB_CIPHER_CBC;
    job.hash_alg = IMB_AUTH_HMAC_SHA_256;
    job.status = IMB_STATUS_BEING_PROCESSED;
}

/// The number, enciphered: with a random key of our own nobody foretells it, and two are never the
/// same (NIST SP 800-38A appendix C).
void write_iv(const CbcExpandedKey& key, std::uint64_t sequence, std::byte* iv) noexcept {
    const std::array<std::uint64_t, 2> number{swap_bytes(sequence), 0};
    const std::array<std::uint64_t, 2> zeros{};
    // CFB of zeros is the enciphered IV.
    key.encipher_iv(octets(iv), zeros.data(), number.data(), key.iv.data(), kIvBytes);
}

/// RFC 4303 section 2.2.1: the high half of the number is authenticated as if it stood behind the
/// packet, where there is room because the ICV is not there (yet, or any more).
void write_high_half(const EspBurst& burst, const Gathered& gathered) noexcept {
    if (!burst.extended) {
        return;
    }
    for (std::size_t i = 0; i < gathered.count; ++i) {
        const std::uint32_t high =
            swap_bytes(static_cast<std::uint32_t>(burst.packets[i].sequence >> 32U));
        std::memcpy(burst.scratch.whole[i] + gathered.bytes[i] - kEspIcvBytes, &high, sizeof high);
    }
}

}  // namespace

std::size_t seal_cbc(const EspBurst& burst) noexcept {
    EspScratch& scratch = burst.scratch;
    const CbcExpandedKey& key = burst.key.cbc;
    const Gathered gathered = gather_all(burst);
    for (std::size_t i = 0; i < gathered.count; ++i) {
        const std::uint64_t sequence = burst.packets[i].sequence;
        write_header(scratch.whole[i], burst.spi_be, swap_bytes(sequence));
        write_iv(key, sequence, scratch.whole[i] + kEspHeaderBytes);
        write_job(burst, i, gathered.bytes[i], scratch.jobs[i]);
        scratch.jobs[i].cipher_direction = IMB_DIR_ENCRYPT;
        scratch.jobs[i].chain_order = IMB_ORDER_CIPHER_HASH;
    }
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(
        burst.manager,
        scratch.jobs.data(),
        gathered.count,
        IMB_CIPHER_CBC,
        IMB_DIR_ENCRYPT,
        key.key_bytes
    );
    write_high_half(burst, gathered);
    IMB_SUBMIT_HASH_BURST_NOCHECK(
        burst.manager, scratch.jobs.data(), gathered.count, IMB_AUTH_HMAC_SHA_256
    );
    for (std::size_t i = 0; i < gathered.count; ++i) {
        const EspPacket& packet = burst.packets[i];
        if (packet.pieces.size() != 1) {
            scatter(scratch.whole[i], packet);
        }
        std::memcpy(icv_of(packet), scratch.icvs[i].data(), kEspIcvBytes);
    }
    return gathered.count;
}

std::size_t open_cbc(const EspBurst& burst) noexcept {
    EspScratch& scratch = burst.scratch;
    const Gathered gathered = gather_all(burst);
    for (std::size_t i = 0; i < gathered.count; ++i) {
        // What was received; the nonces are not used by CBC.
        std::memcpy(scratch.nonces[i].data(), icv_of(burst.packets[i]), kEspIcvBytes);
        write_job(burst, i, gathered.bytes[i], scratch.jobs[i]);
        scratch.jobs[i].cipher_direction = IMB_DIR_DECRYPT;
        scratch.jobs[i].chain_order = IMB_ORDER_HASH_CIPHER;
    }
    write_high_half(burst, gathered);
    IMB_SUBMIT_HASH_BURST_NOCHECK(
        burst.manager, scratch.jobs.data(), gathered.count, IMB_AUTH_HMAC_SHA_256
    );
    // Only what is authentic is deciphered.
    std::uint32_t authentic = 0;
    for (std::size_t i = 0; i < gathered.count; ++i) {
        EspPacket& packet = burst.packets[i];
        packet.is_authentic = is_same_icv(scratch.icvs[i].data(), scratch.nonces[i].data());
        if (packet.is_authentic) {
            scratch.jobs[authentic++] = scratch.jobs[i];
        }
    }
    if (authentic != 0) {
        IMB_SUBMIT_CIPHER_BURST_NOCHECK(
            burst.manager,
            scratch.jobs.data(),
            authentic,
            IMB_CIPHER_CBC,
            IMB_DIR_DECRYPT,
            burst.key.cbc.key_bytes
        );
    }
    for (std::size_t i = 0; i < gathered.count; ++i) {
        const EspPacket& packet = burst.packets[i];
        if (packet.pieces.size() != 1 && packet.is_authentic) {
            scatter(scratch.whole[i], packet);
        }
    }
    return gathered.count;
}

}  // namespace culvert::tunnels
