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

/// Where ICVs go.
enum class IcvTo : std::uint8_t { packet, scratch };

/// What does not change from packet to packet is in constants, and in variables of its own, as the
/// compiler has to think that a cipher changes everything else.
template <IcvTo Where, bool Extended>
void gcm(const EspBurst& burst, const GcmCalls& calls) noexcept {
    EspScratch& scratch = burst.scratch;
    const gcm_key_data* const key = &burst.key.gcm.key;
    const aes_gcm_enc_dec_t whole = calls.whole;
    const std::span<EspPacket> packets = burst.packets;
    for (std::size_t i = 0; i < packets.size(); ++i) {
        if (packets[i].pieces.size() != 1) [[unlikely]] {
            std::byte* const icv =
                Where == IcvTo::packet ? icv_of(packets[i]) : scratch.icvs[i].data();
            gcm_in_pieces(burst, calls, i, icv);
            continue;
        }
        const EspPiece piece = packets[i].pieces.front();
        std::uint8_t* const header = octets(piece.data);
        const std::uint64_t bytes = piece.bytes - kAeadFrontBytes - kEspIcvBytes;
        std::uint8_t* const body = header + kAeadFrontBytes;
        whole(
            key,
            &scratch.gcm,
            body,
            body,
            bytes,
            octets(scratch.nonces[i].data()),
            Extended ? octets(scratch.heads[i].data()) : header,
            Extended ? kAeadExtendedHeadBytes : kEspHeaderBytes,
            Where == IcvTo::packet ? body + bytes : octets(scratch.icvs[i].data()),
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
            &gcm.key, &context, octets(burst.scratch.heads[i].data()), kAeadExtendedHeadBytes
        );
        front = kEspHeaderBytes;
    }
    for_each_part(burst.packets[i], front, [&](std::byte* data, std::size_t bytes) {
        gcm.gmac_update(&gcm.key, &context, octets(data), bytes);
    });
    gcm.gmac_finalize(&gcm.key, &context, octets(icv), kEspIcvBytes);
}

}  // namespace

std::size_t seal_gcm(const EspBurst& burst) noexcept {
    prepare_seal(burst);
    if (burst.extended) {
        gcm<IcvTo::packet, true>(burst, burst.key.gcm.seal);
    } else {
        gcm<IcvTo::packet, false>(burst, burst.key.gcm.seal);
    }
    return burst.packets.size();
}

std::size_t open_gcm(const EspBurst& burst) noexcept {
    prepare_open(burst);
    if (burst.extended) {
        gcm<IcvTo::scratch, true>(burst, burst.key.gcm.open);
    } else {
        gcm<IcvTo::scratch, false>(burst, burst.key.gcm.open);
    }
    judge_icvs(burst);
    return burst.packets.size();
}

std::size_t seal_gmac(const EspBurst& burst) noexcept {
    prepare_seal(burst);
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        gmac(burst, i, icv_of(burst.packets[i]));
    }
    return burst.packets.size();
}

std::size_t open_gmac(const EspBurst& burst) noexcept {
    prepare_open(burst);
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        gmac(burst, i, burst.scratch.icvs[i].data());
    }
    judge_icvs(burst);
    return burst.packets.size();
}

}  // namespace culvert::tunnels
