// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keys and engine of ESP. See esp.hpp; the ciphers are in gcm.cpp, cbc.cpp and chacha.cpp.

#include "tunnels/esp/esp.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "tunnels/endian.hpp"
#include "tunnels/esp/cipher.hpp"

namespace culvert::tunnels {

static_assert(std::is_trivially_copyable_v<EspExpandedKey>, "It is wiped as bytes.");
static_assert(std::is_trivially_destructible_v<EspScratch>, "It is wiped as bytes.");

IpsecMb make_ipsec_mb() {
    IpsecMb manager(alloc_mb_mgr(0));
    int error = imb_get_errno(manager.get());
    if (manager != nullptr) {
        IMB_ARCH architecture = IMB_ARCH_NONE;
        init_mb_mgr_auto(manager.get(), &architecture);
        error = imb_get_errno(manager.get());
    }
    if (manager == nullptr || error != 0) {
        throw std::runtime_error(
            std::string(
                "Intel IPsec-MB cannot be used on this machine, it needs a CPU with AES-NI: "
            ) +
            imb_get_strerror(error)
        );
    }
    return manager;
}

namespace {

/// For what only reads the table of functions: expanding keys, on any thread.
const IMB_MGR& functions() {
    static const IpsecMb manager = make_ipsec_mb();
    return *manager;
}

void expand_gcm(GcmExpandedKey& gcm, std::span<const std::byte> key) {
    const IMB_MGR& mb = functions();
    if (key.size() == IMB_KEY_128_BYTES) {
        gcm.seal = {mb.gcm128_enc, mb.gcm128_enc_update, mb.gcm128_enc_finalize};
        gcm.open = {mb.gcm128_dec, mb.gcm128_dec_update, mb.gcm128_dec_finalize};
        gcm.init = mb.gcm128_init;
        gcm.gmac_init = mb.gmac128_init;
        gcm.gmac_update = mb.gmac128_update;
        gcm.gmac_finalize = mb.gmac128_finalize;
        mb.gcm128_pre(key.data(), &gcm.key);
    } else {
        gcm.seal = {mb.gcm256_enc, mb.gcm256_enc_update, mb.gcm256_enc_finalize};
        gcm.open = {mb.gcm256_dec, mb.gcm256_dec_update, mb.gcm256_dec_finalize};
        gcm.init = mb.gcm256_init;
        gcm.gmac_init = mb.gmac256_init;
        gcm.gmac_update = mb.gmac256_update;
        gcm.gmac_finalize = mb.gmac256_finalize;
        mb.gcm256_pre(key.data(), &gcm.key);
    }
}

/// The first block of a hash of HMAC (RFC 2104), hashed.
void hash_first_block(
    std::span<const std::byte> key, std::byte pad, CbcExpandedKey::Digest& digest
) {
    std::array<std::byte, 64> block{};
    block.fill(pad);
    for (std::size_t i = 0; i < key.size(); ++i) {
        block[i] ^= key[i];
    }
    functions().sha256_one_block(block.data(), digest.data());
    wipe(block);
}

void expand_iv_key(CbcExpandedKey& cbc) {
    std::random_device random;
    std::array<unsigned, 4> key{};
    std::generate(key.begin(), key.end(), std::ref(random));
    alignas(16) CbcExpandedKey::RoundKeys unused{};
    functions().keyexp_128(key.data(), cbc.iv.data(), unused.data());
    wipe(std::as_writable_bytes(std::span(key)));
    wipe(std::as_writable_bytes(std::span(unused)));
    cbc.encipher_iv = functions().aes128_cfb_one;
}

void expand_cbc(
    CbcExpandedKey& cbc, std::span<const std::byte> key, std::span<const std::byte> integrity
) {
    const IMB_MGR& mb = functions();
    const bool is_128 = key.size() == IMB_KEY_128_BYTES;
    cbc.key_bytes = is_128 ? IMB_KEY_128_BYTES : IMB_KEY_256_BYTES;
    (is_128 ? mb.keyexp_128 : mb.keyexp_256)(key.data(), cbc.encipher.data(), cbc.decipher.data());
    hash_first_block(integrity, std::byte{0x36}, cbc.inner);
    hash_first_block(integrity, std::byte{0x5c}, cbc.outer);
    expand_iv_key(cbc);
}

}  // namespace

EspKey::EspKey(EspAlgorithm algorithm, const Secret& key)
    : algorithm_(algorithm), expanded_(std::make_unique<EspExpandedKey>()) {
    const EspAlgorithmRow& row = row_of(algorithm);
    const auto cipher = key.bytes().first(row.cipher_key_bytes);
    const auto rest = key.bytes().subspan(row.cipher_key_bytes);
    switch (algorithm) {
    case EspAlgorithm::aes_gcm_128:
    case EspAlgorithm::aes_gcm_256:
    case EspAlgorithm::aes_gmac_128:
    case EspAlgorithm::aes_gmac_256:
        expand_gcm(expanded_->gcm, cipher);
        break;
    case EspAlgorithm::aes_cbc_128_sha256:
    case EspAlgorithm::aes_cbc_256_sha256:
        expand_cbc(expanded_->cbc, cipher, rest);
        break;
    case EspAlgorithm::chacha20_poly1305:
        std::copy(cipher.begin(), cipher.end(), expanded_->chacha.begin());
        break;
    }
    if (row.salt_bytes == sizeof expanded_->salt) {
        std::memcpy(&expanded_->salt, rest.data(), sizeof expanded_->salt);
    }
}

EspKey::~EspKey() {
    wipe(std::as_writable_bytes(std::span(expanded_.get(), 1)));
}

namespace {

/// Every worker has an engine, also on a CPU where nothing can be encrypted.
IpsecMb ipsec_mb_if_it_works() {
    try {
        return make_ipsec_mb();
    } catch (const std::runtime_error&) {
        return {};
    }
}

}  // namespace

struct EspEngine::Impl {
    IpsecMb manager = ipsec_mb_if_it_works();
    EspScratch scratch{};
};

EspEngine::EspEngine() : impl_(std::make_unique<Impl>()) {}

EspEngine::~EspEngine() {
    wipe(std::as_writable_bytes(std::span(&impl_->scratch, 1)));
}

namespace {

/// Seals or opens packets of a burst; how many of its first ones were done.
using Work = std::size_t (*)(const EspBurst&) noexcept;

struct Cipher {
    Work seal;
    Work open;
};
/// In the order of EspAlgorithm.
constexpr std::array<Cipher, kEspAlgorithms.size()> kCiphers{
    {{seal_gcm, open_gcm},
     {seal_gcm, open_gcm},
     {seal_gmac, open_gmac},
     {seal_gmac, open_gmac},
     {seal_cbc, open_cbc},
     {seal_cbc, open_cbc},
     {seal_chacha, open_chacha}}};

const Cipher& cipher_of(EspAlgorithm algorithm) noexcept {
    return kCiphers[static_cast<std::size_t>(algorithm)];
}

void work_through(Work work, EspBurst burst, std::span<EspPacket> packets) noexcept {
    while (!packets.empty()) {
        burst.packets = packets.first(std::min(packets.size(), kEspBurst));
        packets = packets.subspan(work(burst));
    }
}

}  // namespace

void EspEngine::seal(
    const EspKey& key, std::uint32_t spi, bool extended, std::span<EspPacket> packets
) noexcept {
    const EspBurst burst{
        .key = *key.expanded_,
        .scratch = impl_->scratch,
        .manager = impl_->manager.get(),
        .spi_be = swap_bytes(spi),
        .extended = extended,
        .packets = {}};
    work_through(cipher_of(key.algorithm_).seal, burst, packets);
}

void EspEngine::open(const EspKey& key, bool extended, std::span<EspPacket> packets) noexcept {
    const EspBurst burst{
        .key = *key.expanded_,
        .scratch = impl_->scratch,
        .manager = impl_->manager.get(),
        .spi_be = 0,
        .extended = extended,
        .packets = {}};
    work_through(cipher_of(key.algorithm_).open, burst, packets);
}

}  // namespace culvert::tunnels
