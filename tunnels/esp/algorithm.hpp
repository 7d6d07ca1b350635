// SPDX-License-Identifier: GPL-2.0-or-later
//
// The algorithms of ESP that there are, as rows: what configuration, strongSwan and Linux call them
// and how long their parts are. A key is what IKE calls KEYMAT of one direction: cipher key, then
// salt (RFC 4106 section 8.1, RFC 4543 section 5.4, RFC 7634 section 2) or authentication key
// (RFC 4868).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace culvert::tunnels {

enum class EspAlgorithm : std::uint8_t {
    aes_gcm_128,
    aes_gcm_256,
    aes_gmac_128,  ///< Authenticated, not encrypted: nothing that asks for encryption takes it.
    aes_gmac_256,
    aes_cbc_128_sha256,
    aes_cbc_256_sha256,
    chacha20_poly1305,
};

struct EspAlgorithmRow {
    EspAlgorithm algorithm;
    std::string_view name;             ///< In configuration and output.
    std::string_view ike;              ///< strongSwan's proposal keywords.
    std::string_view linux_aead;       ///< XFRMA_ALG_AEAD; empty: cipher and authentication.
    std::string_view linux_cipher;     ///< XFRMA_ALG_CRYPT.
    std::string_view linux_integrity;  ///< XFRMA_ALG_AUTH_TRUNC.
    std::uint8_t cipher_key_bytes;
    std::uint8_t salt_bytes;
    std::uint8_t integrity_key_bytes;
    std::uint8_t iv_bytes;
    std::uint8_t icv_bytes;
    std::uint8_t block_bytes;  ///< Payload, padding and trailer fill a multiple of this.
    bool encrypts;

    [[nodiscard]] constexpr std::size_t key_bytes() const noexcept {
        return std::size_t{cipher_key_bytes} + salt_bytes + integrity_key_bytes;
    }
};

inline constexpr std::array<EspAlgorithmRow, 7> kEspAlgorithms{{
    // clang-format off
    {EspAlgorithm::aes_gcm_128, "aes-gcm-128", "aes128gcm16", "rfc4106(gcm(aes))", "", "", 16, 4, 0, 8, 16, 4, true},
    {EspAlgorithm::aes_gcm_256, "aes-gcm-256", "aes256gcm16", "rfc4106(gcm(aes))", "", "", 32, 4, 0, 8, 16, 4, true},
    {EspAlgorithm::aes_gmac_128, "aes-gmac-128", "aes128gmac", "rfc4543(gcm(aes))", "", "", 16, 4, 0, 8, 16, 4, false},
    {EspAlgorithm::aes_gmac_256, "aes-gmac-256", "aes256gmac", "rfc4543(gcm(aes))", "", "", 32, 4, 0, 8, 16, 4, false},
    {EspAlgorithm::aes_cbc_128_sha256, "aes-cbc-128-sha256", "aes128-sha256", "", "cbc(aes)", "hmac(sha256)", 16, 0, 32, 16, 16, 16, true},
    {EspAlgorithm::aes_cbc_256_sha256, "aes-cbc-256-sha256", "aes256-sha256", "", "cbc(aes)", "hmac(sha256)", 32, 0, 32, 16, 16, 16, true},
    {EspAlgorithm::chacha20_poly1305, "chacha20-poly1305", "chacha20poly1305", "rfc7539esp(chacha20,poly1305)", "", "", 32, 4, 0, 8, 16, 4, true},
    // clang-format on
}};

[[nodiscard]] constexpr const EspAlgorithmRow& row_of(EspAlgorithm algorithm) noexcept {
    return kEspAlgorithms[static_cast<std::size_t>(algorithm)];
}

[[nodiscard]] constexpr std::optional<EspAlgorithm> find_esp_algorithm(std::string_view name
) noexcept {
    for (const EspAlgorithmRow& row : kEspAlgorithms) {
        if (row.name == name) {
            return row.algorithm;
        }
    }
    return std::nullopt;
}

}  // namespace culvert::tunnels
