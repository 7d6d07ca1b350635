// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP sealed and opened in bursts of 32, beside what Intel IPsec-MB needs for the same bytes in the
// same buffers: its calls alone, the ones that are the fastest of the library for each algorithm,
// with nonces and jobs written before. No header, no IV, no comparison of ICVs, so it is a floor.
// Main thread only.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <intel-ipsec-mb.h>

#include "bench/benches.hpp"
#include "bench/measure.hpp"
#include "dataplane/limits.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::bench {

namespace {

using tunnels::EspAlgorithm;
using tunnels::EspAlgorithmRow;
using tunnels::EspPacket;
using tunnels::EspPiece;

constexpr std::size_t kPackets = dataplane::kBurstMax;
constexpr std::size_t kIcvBytes = 16;
constexpr std::size_t kBufferBytes = 2048;
/// Where the ESP header stands in the buffer of a received frame: headroom, Ethernet and IPv4.
constexpr std::size_t kEspOffset = 128 + 14 + 20;

enum class Direction : bool { seal, open };

std::array<std::byte, tunnels::Secret::kBytesMax> key_octets() {
    std::array<std::byte, tunnels::Secret::kBytesMax> octets{};
    octets.fill(std::byte{0x2b});
    return octets;
}

/// A burst of packets of one length, which begin and end as they were sealed.
class EspBurst {
public:
    EspBurst(const EspAlgorithmRow& row, std::size_t payload_bytes)
        : front_(esp_front_bytes(row)),
          inside_(payload_bytes + esp_trailer_bytes(row, payload_bytes)),
          key_(row.algorithm, tunnels::Secret(std::span(octets_).first(row.key_bytes()))) {
        for (std::size_t i = 0; i < kPackets; ++i) {
            pieces_[i] = {
                buffers_[i].data() + kEspOffset,
                static_cast<std::uint32_t>(front_ + inside_ + kIcvBytes)};
            packets_[i] = {std::span(&pieces_[i], 1), i + 1, false};
        }
        engine_.seal(key_, 0x1001, true, packets_);
        sealed_ = buffers_;
    }

    void seal() noexcept { engine_.seal(key_, 0x1001, true, packets_); }
    void open() noexcept { engine_.open(key_, true, packets_); }
    void restore() noexcept {
        for (std::size_t i = 0; i < kPackets; ++i) {
            std::memcpy(pieces_[i].data, sealed_[i].data() + kEspOffset, pieces_[i].bytes);
        }
    }
    [[nodiscard]] bool are_authentic() const noexcept {
        bool authentic = true;
        for (const EspPacket& packet : packets_) {
            authentic = authentic && packet.is_authentic;
        }
        return authentic;
    }
    [[nodiscard]] std::uint8_t* header(std::size_t i) const noexcept {
        return reinterpret_cast<std::uint8_t*>(pieces_[i].data);
    }
    [[nodiscard]] std::size_t front_bytes() const noexcept { return front_; }
    [[nodiscard]] std::size_t inside_bytes() const noexcept { return inside_; }

private:
    struct alignas(64) Buffer : std::array<std::byte, kBufferBytes> {};

    std::array<std::byte, tunnels::Secret::kBytesMax> octets_ = key_octets();
    std::size_t front_;
    std::size_t inside_;
    tunnels::EspKey key_;
    tunnels::EspEngine engine_;
    std::vector<Buffer> buffers_{kPackets};
    std::vector<Buffer> sealed_;
    std::array<EspPiece, kPackets> pieces_{};
    std::array<EspPacket, kPackets> packets_{};
};

/// The library with a key, and where nonces, jobs and ICVs are.
struct Raw {
    struct Free {
        void operator()(IMB_MGR* library) const noexcept { free_mb_mgr(library); }
    };

    explicit Raw(const EspAlgorithmRow& row) : key_bytes(row.cipher_key_bytes) {
        IMB_ARCH architecture = IMB_ARCH_NONE;
        init_mb_mgr_auto(library.get(), &architecture);
        const auto octets = key_octets();
        const bool is_128 = key_bytes == IMB_KEY_128_BYTES;
        (is_128 ? library->gcm128_pre : library->gcm256_pre)(octets.data(), &gcm);
        (is_128 ? library->keyexp_128 : library->keyexp_256
        )(octets.data(), encipher.data(), decipher.data());
        std::memcpy(cipher_key.data(), octets.data(), cipher_key.size());
    }

    std::unique_ptr<IMB_MGR, Free> library{alloc_mb_mgr(0)};
    std::size_t key_bytes;
    alignas(64) gcm_key_data gcm{};
    alignas(64) gcm_context_data context{};
    alignas(16) std::array<std::uint32_t, 60> encipher{};
    alignas(16) std::array<std::uint32_t, 60> decipher{};
    alignas(16) std::array<std::uint8_t, 32> cipher_key{};
    alignas(16) std::array<std::uint32_t, 8> hashed{};  ///< Whatever HMAC begins with.
    alignas(64) std::array<std::array<std::uint8_t, 16>, kPackets> nonces{};
    alignas(64) std::array<std::array<std::uint8_t, 16>, kPackets> heads{};
    alignas(64) std::array<std::array<std::uint8_t, 16>, kPackets> icvs{};
    alignas(64) std::array<IMB_JOB, kPackets> jobs{};
};

void raw_gcm(Raw& raw, const EspBurst& burst, Direction direction) {
    const bool is_128 = raw.key_bytes == IMB_KEY_128_BYTES;
    const IMB_MGR& library = *raw.library;
    const aes_gcm_enc_dec_t call = direction == Direction::seal
                                       ? (is_128 ? library.gcm128_enc : library.gcm256_enc)
                                       : (is_128 ? library.gcm128_dec : library.gcm256_dec);
    for (std::size_t i = 0; i < kPackets; ++i) {
        std::uint8_t* const body = burst.header(i) + burst.front_bytes();
        std::uint8_t* const icv =
            direction == Direction::seal ? body + burst.inside_bytes() : raw.icvs[i].data();
        call(
            &raw.gcm,
            &raw.context,
            body,
            body,
            burst.inside_bytes(),
            raw.nonces[i].data(),
            raw.heads[i].data(),
            12,
            icv,
            kIcvBytes
        );
    }
}

void write_job(Raw& raw, const EspBurst& burst, std::size_t i, Direction direction, IMB_JOB& job) {
    const bool is_seal = direction == Direction::seal;
    job.enc_keys = raw.encipher.data();
    job.dec_keys = raw.decipher.data();
    job.key_len_in_bytes = raw.key_bytes;
    job.src = burst.header(i);
    job.dst = burst.header(i) + burst.front_bytes();
    job.cipher_start_src_offset_in_bytes = burst.front_bytes();
    job.msg_len_to_cipher_in_bytes = burst.inside_bytes();
    job.msg_len_to_hash_in_bytes = burst.front_bytes() + burst.inside_bytes() + 4;
    job.iv = burst.header(i) + tunnels::kEspHeaderBytes;
    job.iv_len_in_bytes = 16;
    job.auth_tag_output = raw.icvs[i].data();
    job.auth_tag_output_len_in_bytes = kIcvBytes;
    const auto* const hashed = reinterpret_cast<const std::uint8_t*>(raw.hashed.data());
    job.u.HMAC._hashed_auth_key_xor_ipad = hashed;
    job.u.HMAC._hashed_auth_key_xor_opad = hashed;
    job.cipher_mode = IMB_CIPHER_CBC;
    job.hash_alg = IMB_AUTH_HMAC_SHA_256;
    job.cipher_direction = is_seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.chain_order = is_seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
}

void raw_cbc(Raw& raw, Direction direction) {
    const bool is_seal = direction == Direction::seal;
    const auto key_size = static_cast<IMB_KEY_SIZE_BYTES>(raw.key_bytes);
    IMB_SUBMIT_CIPHER_BURST_NOCHECK(
        raw.library.get(),
        raw.jobs.data(),
        kPackets,
        IMB_CIPHER_CBC,
        is_seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT,
        key_size
    );
    IMB_SUBMIT_HASH_BURST_NOCHECK(
        raw.library.get(), raw.jobs.data(), kPackets, IMB_AUTH_HMAC_SHA_256
    );
}

void raw_chacha(Raw& raw, const EspBurst& burst, Direction direction) {
    const bool is_seal = direction == Direction::seal;
    std::array<IMB_JOB*, kPackets> jobs{};
    IMB_GET_NEXT_BURST(raw.library.get(), kPackets, jobs.data());
    for (std::size_t i = 0; i < kPackets; ++i) {
        // Jobs are the library's, and it may give others each time: writing them belongs to its
        // use.
        write_job(raw, burst, i, direction, *jobs[i]);
        jobs[i]->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
        jobs[i]->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
        jobs[i]->enc_keys = raw.cipher_key.data();
        jobs[i]->dec_keys = raw.cipher_key.data();
        jobs[i]->hash_start_src_offset_in_bytes = burst.front_bytes();
        jobs[i]->msg_len_to_hash_in_bytes = burst.inside_bytes();
        jobs[i]->iv = raw.nonces[i].data();
        jobs[i]->iv_len_in_bytes = 12;
        jobs[i]->auth_tag_output =
            is_seal ? burst.header(i) + burst.front_bytes() + burst.inside_bytes()
                    : raw.icvs[i].data();
        jobs[i]->u.CHACHA20_POLY1305.aad = raw.heads[i].data();
        jobs[i]->u.CHACHA20_POLY1305.aad_len_in_bytes = 12;
    }
    IMB_SUBMIT_BURST_NOCHECK(raw.library.get(), kPackets, jobs.data());
}

void ours(benchmark::State& state, EspAlgorithm algorithm, std::size_t bytes, Direction direction) {
    const auto burst = std::make_unique<EspBurst>(row_of(algorithm), bytes);
    bool right = true;
    measure_staged(
        state,
        kPackets,
        [&] { burst->restore(); },
        [&] { direction == Direction::seal ? burst->seal() : burst->open(); }
    );
    if (direction == Direction::seal) {
        burst->open();
    }
    right = burst->are_authentic();
    static_cast<void>(require(state, right, "a packet is not authentic"));
}

void floor(
    benchmark::State& state, EspAlgorithm algorithm, std::size_t bytes, Direction direction
) {
    const EspAlgorithmRow& row = row_of(algorithm);
    const auto burst = std::make_unique<EspBurst>(row, bytes);
    const auto raw = std::make_unique<Raw>(row);
    for (std::size_t i = 0; i < kPackets; ++i) {
        write_job(*raw, *burst, i, direction, raw->jobs[i]);
    }
    measure_staged(
        state,
        kPackets,
        [&] { burst->restore(); },
        [&] {
            if (row.integrity_key_bytes != 0) {
                raw_cbc(*raw, direction);
            } else if (algorithm == EspAlgorithm::chacha20_poly1305) {
                raw_chacha(*raw, *burst, direction);
            } else {
                raw_gcm(*raw, *burst, direction);
            }
        }
    );
}

}  // namespace

void add_esp_benches(Suite& suite) {
    for (const EspAlgorithm algorithm :
         {EspAlgorithm::aes_gcm_128,
          EspAlgorithm::aes_gcm_256,
          EspAlgorithm::aes_cbc_128_sha256,
          EspAlgorithm::chacha20_poly1305}) {
        for (const std::size_t bytes : {64U, 256U, 1420U}) {
            for (const Direction direction : {Direction::seal, Direction::open}) {
                const std::string name =
                    std::string(direction == Direction::seal ? "seal/" : "open/") +
                    std::string(row_of(algorithm).name) + "/" + std::to_string(bytes);
                suite.add("esp/" + name, [=](benchmark::State& state) {
                    ours(state, algorithm, bytes, direction);
                });
                suite.add_beside(
                    "esp/" + name,
                    "floor/ipsec_mb/esp/" + name,
                    [=](benchmark::State& state) { floor(state, algorithm, bytes, direction); }
                );
            }
        }
    }
}

}  // namespace culvert::bench
