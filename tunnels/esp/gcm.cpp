// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-GCM (RFC 4106) and AES-GMAC (RFC 4543) of ESP, through IPsec-MB's direct calls.

#include "tunnels/esp/aead.hpp"

namespace culvert::tunnels {

namespace {

void gcm_in_pieces(
    const EspBurst& burst, const GcmCalls& calls, std::size_t i, std::byte* icv
) noexcept {
    const GcmExpandedKey& gcm = burst.key.gcm;
    gcm_context_data& context = burst.scratch.gcm;
    const AeadHead head = head_of(burst, i);
    gcm.init(
        &gcm.key, &context, octets(burst.scratch.nonces[i].data()), octets(head.data), head.bytes
    );
    for_each_part(burst.packets[i], kAeadFrontBytes, [&](std::byte* data, std::size_t bytes) {
        calls.update(&gcm.key, &context, octets(data), octets(data), bytes);
    });
    calls.finalize(&gcm.key, &context, octets(icv), kEspIcvBytes);
}

/// `icv`: where packet i's goes.
template <typename IcvOf>
void gcm(const EspBurst& burst, const GcmCalls& calls, IcvOf icv) noexcept {
    const gcm_key_data& key = burst.key.gcm.key;
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        const EspPacket& packet = burst.packets[i];
        if (packet.pieces.size() != 1) [[unlikely]] {
            gcm_in_pieces(burst, calls, i, icv(i));
            continue;
        }
        const EspPiece& piece = packet.pieces.front();
        std::uint8_t* const body = octets(piece.data) + kAeadFrontBytes;
        const AeadHead head = head_of(burst, i);
        calls.whole(
            &key,
            &burst.scratch.gcm,
            body,
            body,
            piece.bytes - kAeadFrontBytes - kEspIcvBytes,
            octets(burst.scratch.nonces[i].data()),
            octets(head.data),
            head.bytes,
            octets(icv(i)),
            kEspIcvBytes
        );
    }
}

/// All but the ICV is authenticated, IV included (RFC 4543 section 3.3).
void gmac(const EspBurst& burst, std::size_t i, std::byte* icv) noexcept {
    const GcmExpandedKey& gcm = burst.key.gcm;
    gcm_context_data& context = burst.scratch.gcm;
    gcm.gmac_init(&gcm.key, &context, octets(burst.scratch.nonces[i].data()), kAeadNonceBytes);
    std::size_t front = 0;
    if (burst.extended) {
        gcm.gmac_update(
            &gcm.key, &context, octets(burst.scratch.heads[i].data()), kEspHeaderBytes + 4
        );
        front = kEspHeaderBytes;
    }
    for_each_part(burst.packets[i], front, [&](std::byte* data, std::size_t bytes) {
        gcm.gmac_update(&gcm.key, &context, octets(data), bytes);
    });
    gcm.gmac_finalize(&gcm.key, &context, octets(icv), kEspIcvBytes);
}

}  // namespace

void seal_gcm(const EspBurst& burst) noexcept {
    prepare_seal(burst);
    gcm(burst, burst.key.gcm.seal, [&](std::size_t i) { return icv_of(burst.packets[i]); });
}

void open_gcm(const EspBurst& burst) noexcept {
    prepare_open(burst);
    gcm(burst, burst.key.gcm.open, [&](std::size_t i) { return burst.scratch.icvs[i].data(); });
    judge_icvs(burst);
}

void seal_gmac(const EspBurst& burst) noexcept {
    prepare_seal(burst);
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        gmac(burst, i, icv_of(burst.packets[i]));
    }
}

void open_gmac(const EspBurst& burst) noexcept {
    prepare_open(burst);
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        gmac(burst, i, burst.scratch.icvs[i].data());
    }
    judge_icvs(burst);
}

}  // namespace culvert::tunnels
