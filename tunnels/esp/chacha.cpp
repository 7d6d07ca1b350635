// SPDX-License-Identifier: GPL-2.0-or-later
//
// ChaCha20-Poly1305 of ESP (RFC 7634): packets in one piece as jobs of IPsec-MB, which has no
// direct call for a whole one, others by its calls for a part.

#include "tunnels/esp/aead.hpp"

namespace culvert::tunnels {

namespace {

struct Direction {
    IMB_CIPHER_DIRECTION direction;
    IMB_CHAIN_ORDER order;
    chacha_poly_enc_dec_update_t update;
};

void in_pieces(
    const EspBurst& burst, const Direction& direction, std::size_t i, std::byte* icv
) noexcept {
    chacha20_poly1305_context_data& context = burst.scratch.chacha;
    const std::byte* const key = burst.key.chacha.data();
    const AeadHead head = head_of(burst, i);
    burst.manager->chacha20_poly1305_init(
        key, &context, burst.scratch.nonces[i].data(), head.data, head.bytes
    );
    for_each_part(burst.packets[i], kAeadFrontBytes, [&](std::byte* data, std::size_t bytes) {
        direction.update(key, &context, data, data, bytes);
    });
    burst.manager->chacha20_poly1305_finalize(&context, icv, kEspIcvBytes);
}

void write_job(
    const EspBurst& burst, const Direction& direction, std::size_t i, std::byte* icv, IMB_JOB& job
) noexcept {
    const EspPiece& piece = burst.packets[i].pieces.front();
    const AeadHead head = head_of(burst, i);
    job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job.cipher_direction = direction.direction;
    job.chain_order = direction.order;
    job.enc_keys = burst.key.chacha.data();
    job.dec_keys = burst.key.chacha.data();
    job.key_len_in_bytes = burst.key.chacha.size();
    job.src = octets(piece.data);
    job.dst = octets(piece.data) + kAeadFrontBytes;
    job.cipher_start_src_offset_in_bytes = kAeadFrontBytes;
    job.hash_start_src_offset_in_bytes = kAeadFrontBytes;
    job.msg_len_to_cipher_in_bytes = piece.bytes - kAeadFrontBytes - kEspIcvBytes;
    job.msg_len_to_hash_in_bytes = job.msg_len_to_cipher_in_bytes;
    job.iv = octets(burst.scratch.nonces[i].data());
    job.iv_len_in_bytes = kAeadNonceBytes;
    job.auth_tag_output = octets(icv);
    job.auth_tag_output_len_in_bytes = kEspIcvBytes;
    job.u.CHACHA20_POLY1305.aad = head.data;
    job.u.CHACHA20_POLY1305.aad_len_in_bytes = head.bytes;
}

/// `icv`: where packet i's goes.
template <typename IcvOf>
void work(const EspBurst& burst, const Direction& direction, IcvOf icv) noexcept {
    std::array<std::size_t, kEspBurst> whole;  // NOLINT: written before it is read.
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < burst.packets.size(); ++i) {
        if (burst.packets[i].pieces.size() == 1) {
            whole[count++] = i;
        } else {
            in_pieces(burst, direction, i, icv(i));
        }
    }
    if (count == 0) {
        return;
    }
    std::array<IMB_JOB*, kEspBurst> jobs{};
    IMB_MGR* const manager = burst.manager;
    // Nothing is left in the queue between bursts, so that there is room.
    IMB_GET_NEXT_BURST(manager, count, jobs.data());
    for (std::uint32_t k = 0; k < count; ++k) {
        write_job(burst, direction, whole[k], icv(whole[k]), *jobs[k]);
    }
    std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(manager, count, jobs.data());
    while (done < count) {
        done += IMB_FLUSH_BURST(manager, count - done, jobs.data());
    }
}

}  // namespace

std::size_t seal_chacha(const EspBurst& burst) noexcept {
    prepare_seal(burst);
    const Direction direction{
        IMB_DIR_ENCRYPT, IMB_ORDER_CIPHER_HASH, burst.manager->chacha20_poly1305_enc_update};
    work(burst, direction, [&](std::size_t i) { return icv_of(burst.packets[i]); });
    return burst.packets.size();
}

std::size_t open_chacha(const EspBurst& burst) noexcept {
    prepare_open(burst);
    const Direction direction{
        IMB_DIR_DECRYPT, IMB_ORDER_HASH_CIPHER, burst.manager->chacha20_poly1305_dec_update};
    work(burst, direction, [&](std::size_t i) { return burst.scratch.icvs[i].data(); });
    judge_icvs(burst);
    return burst.packets.size();
}

}  // namespace culvert::tunnels
