// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP (RFC 4303, 4106, 7634, 3602, 4868) by the letter on top of OpenSSL, sharing no code with what
// is tested: the other end of an SA. Bytes in, bytes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tunnels/esp/algorithm.hpp"

namespace culvert::testing {

struct ReferenceSa {
    tunnels::EspAlgorithm algorithm{};
    std::vector<std::byte> key;
    std::uint32_t spi = 0;
    bool extended = false;
};

/// What stands in an ESP packet.
struct ReferencePayload {
    std::vector<std::byte> bytes;
    std::uint8_t next_header = 0;
};

class ReferenceEsp {
public:
    using Bytes = std::vector<std::byte>;

    explicit ReferenceEsp(ReferenceSa association)
        : sa_(std::move(association)), row_(&tunnels::row_of(sa_.algorithm)) {}

    /// `padding`: bytes of it, else as few as there can be.
    [[nodiscard]] Bytes seal(
        std::uint64_t sequence,
        const ReferencePayload& payload,
        std::optional<std::size_t> padding = std::nullopt
    ) const {
        Bytes plain = payload.bytes;
        const std::size_t missing =
            (row_->block_bytes - (plain.size() + 2) % row_->block_bytes) % row_->block_bytes;
        const std::size_t pad = padding.value_or(missing);
        for (std::size_t i = 1; i <= pad; ++i) {
            plain.push_back(static_cast<std::byte>(i));
        }
        plain.push_back(static_cast<std::byte>(pad));
        plain.push_back(std::byte{payload.next_header});
        return seal_plain(sequence, plain);
    }

    /// With a trailer of the test's own.
    [[nodiscard]] Bytes seal_plain(std::uint64_t sequence, const Bytes& plain) const {
        Bytes packet;
        append(packet, sa_.spi, 4);
        append(packet, sequence, 4);
        // Any IV that is not used twice will do.
        const std::size_t iv_at = packet.size();
        append(packet, sequence * 0x9e3779b97f4a7c15ULL, 8);
        packet.resize(iv_at + row_->iv_bytes, std::byte{0x5a});
        const Bytes iv = slice(packet, iv_at, row_->iv_bytes);
        Bytes tag;
        const Bytes enciphered = cipher(true, iv, sequence, plain, tag);
        packet.insert(packet.end(), enciphered.begin(), enciphered.end());
        if (is_cbc()) {
            tag = hmac(packet, sequence);
        }
        packet.insert(packet.end(), tag.begin(), tag.end());
        return packet;
    }

    /// Nothing when the packet is not authentic with this whole sequence number, or its trailer is
    /// wrong.
    [[nodiscard]] std::optional<ReferencePayload>
    open(std::uint64_t sequence, const Bytes& packet) const {
        const std::size_t front = 8U + row_->iv_bytes;
        if (packet.size() < front + row_->icv_bytes + 2) {
            return std::nullopt;
        }
        const Bytes iv = slice(packet, 8, row_->iv_bytes);
        Bytes tag = slice(packet, packet.size() - row_->icv_bytes, row_->icv_bytes);
        const Bytes inside = slice(packet, front, packet.size() - front - row_->icv_bytes);
        if (is_cbc() && hmac(slice(packet, 0, packet.size() - row_->icv_bytes), sequence) != tag) {
            return std::nullopt;
        }
        Bytes plain = cipher(false, iv, sequence, inside, tag);
        if (plain.size() < 2) {
            return std::nullopt;
        }
        const auto pad = std::to_integer<std::size_t>(plain[plain.size() - 2]);
        ReferencePayload payload;
        payload.next_header = std::to_integer<std::uint8_t>(plain.back());
        if (pad + 2 > plain.size()) {
            return std::nullopt;
        }
        for (std::size_t i = 1; i <= pad; ++i) {
            if (plain[plain.size() - 2 - pad + i - 1] != static_cast<std::byte>(i)) {
                return std::nullopt;
            }
        }
        plain.resize(plain.size() - 2 - pad);
        payload.bytes = std::move(plain);
        return payload;
    }

    [[nodiscard]] static std::uint32_t low_sequence(const Bytes& packet) {
        std::uint32_t value = 0;
        for (std::size_t i = 4; i < 8; ++i) {
            value = value << 8U | std::to_integer<std::uint32_t>(packet[i]);
        }
        return value;
    }

private:
    struct Free {
        void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
    };

    static void append(Bytes& to, std::uint64_t value, std::size_t bytes) {
        for (std::size_t i = bytes; i-- > 0;) {
            to.push_back(static_cast<std::byte>(value >> 8U * i & 0xffU));
        }
    }
    static Bytes slice(const Bytes& of, std::size_t from, std::size_t bytes) {
        const auto begin = of.begin() + static_cast<std::ptrdiff_t>(from);
        return {begin, begin + static_cast<std::ptrdiff_t>(bytes)};
    }
    static const unsigned char* raw(const Bytes& bytes) {
        return reinterpret_cast<const unsigned char*>(bytes.data());
    }
    static unsigned char* raw(Bytes& bytes) {
        return reinterpret_cast<unsigned char*>(bytes.data());
    }
    static void check(int ok) {
        if (ok != 1) {
            throw std::runtime_error("OpenSSL refuses what the test asks of it");
        }
    }
    [[nodiscard]] bool is_cbc() const { return row_->integrity_key_bytes != 0; }

    [[nodiscard]] const EVP_CIPHER* evp() const {
        switch (sa_.algorithm) {
        case tunnels::EspAlgorithm::aes_gcm_128:
            return EVP_aes_128_gcm();
        case tunnels::EspAlgorithm::aes_gcm_256:
            return EVP_aes_256_gcm();
        case tunnels::EspAlgorithm::aes_cbc_128_sha256:
            return EVP_aes_128_cbc();
        case tunnels::EspAlgorithm::aes_cbc_256_sha256:
            return EVP_aes_256_cbc();
        case tunnels::EspAlgorithm::chacha20_poly1305:
            return EVP_chacha20_poly1305();
        case tunnels::EspAlgorithm::aes_gmac_128:
        case tunnels::EspAlgorithm::aes_gmac_256:
            break;
        }
        throw std::runtime_error("no cipher");
    }

    /// Empty when what is to be deciphered is not authentic.
    Bytes cipher(
        bool enciphers, const Bytes& iv, std::uint64_t sequence, const Bytes& in, Bytes& tag
    ) const {
        const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
        const Bytes key = slice(sa_.key, 0, row_->cipher_key_bytes);
        Bytes nonce = slice(sa_.key, row_->cipher_key_bytes, row_->salt_bytes);
        nonce.insert(nonce.end(), iv.begin(), iv.end());
        check(EVP_CipherInit_ex(
            context.get(), evp(), nullptr, raw(key), raw(nonce), enciphers ? 1 : 0
        ));
        check(EVP_CIPHER_CTX_set_padding(context.get(), 0));
        int bytes = 0;
        Bytes out(in.size());
        if (!is_cbc()) {
            Bytes aad;
            append(aad, sa_.spi, 4);
            append(aad, sequence, sa_.extended ? 8 : 4);
            check(EVP_CipherUpdate(
                context.get(), nullptr, &bytes, raw(aad), static_cast<int>(aad.size())
            ));
        }
        check(
            EVP_CipherUpdate(context.get(), raw(out), &bytes, raw(in), static_cast<int>(in.size()))
        );
        if (!is_cbc() && !enciphers) {
            check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, 16, tag.data()));
        }
        Bytes rest(32);
        if (EVP_CipherFinal_ex(context.get(), raw(rest), &bytes) != 1) {
            return {};
        }
        if (!is_cbc() && enciphers) {
            tag.resize(16);
            check(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data()));
        }
        return out;
    }

    [[nodiscard]] Bytes hmac(Bytes packet, std::uint64_t sequence) const {
        if (sa_.extended) {
            append(packet, sequence >> 32U, 4);
        }
        Bytes digest(32);
        unsigned bytes = 0;
        const Bytes key = slice(sa_.key, row_->cipher_key_bytes, row_->integrity_key_bytes);
        HMAC(
            EVP_sha256(),
            key.data(),
            static_cast<int>(key.size()),
            raw(packet),
            packet.size(),
            raw(digest),
            &bytes
        );
        digest.resize(row_->icv_bytes);
        return digest;
    }

    ReferenceSa sa_;
    const tunnels::EspAlgorithmRow* row_;
};

}  // namespace culvert::testing
