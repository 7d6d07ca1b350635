// SPDX-License-Identifier: GPL-2.0-or-later
//
// One packet for each algorithm, as RFC 4303 and the RFC of the algorithm say it is, made with
// Python's cryptography 38: the key is 00 01 02 ... (and 80 81 82 ... for HMAC), the SPI 0x1001,
// the number 0x0102030405060708 with its high half authenticated, the IV this number (of CBC: c0 c1
// ...), and the payload 53 octets 01 02 ... of protocol 47. See esp_self_test().

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string_view>

#include "tunnels/esp/cipher.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::tunnels {

namespace {

struct Known {
    EspAlgorithm algorithm;
    std::string_view sealed;  ///< Hexadecimal.
};

constexpr std::array<Known, kEspAlgorithms.size()> kKnown{{
    {EspAlgorithm::aes_gcm_128,
     "00001001050607080102030405060708915454a4d53be0f914b252c6d0588d5c4ad482cb15b08301"
     "c4d3d23c5ab54d78a34f70372d03443a60ff9f98aff2714c652baf112716711b2d0113e20dc47dff"
     "9e09974abbd99329"},
    {EspAlgorithm::aes_gcm_256,
     "000010010506070801020304050607087ec8fb4b3adeff861adb34225ab7ce153a6612547e4c209b"
     "77d409beed37ff3b581941a1d0b00397c3d30268fad104beb85e40e713800fcfc23aea75a0ffb566"
     "6d7659eb1eecf6c7"},
    {EspAlgorithm::aes_gmac_128,
     "000010010506070801020304050607080102030405060708090a0b0c0d0e0f101112131415161718"
     "191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343501012f6ad3a2aea9564791"
     "97c095e2e5b1d3b4"},
    {EspAlgorithm::aes_gmac_256,
     "000010010506070801020304050607080102030405060708090a0b0c0d0e0f101112131415161718"
     "191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343501012fa38297e0f15dfcb4"
     "10ea49a28bd8e71c"},
    {EspAlgorithm::aes_cbc_128_sha256,
     "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf787f558c073829b69da78cc7ae7f031d"
     "43e4025ea40f3a6057ce766cb6c23a77a53561453da96dc7d87a3e68f901b27e5f52774f79a57e73"
     "2634454618f84e3a132bcf55e4588897be6ecf958154510f"},
    {EspAlgorithm::aes_cbc_256_sha256,
     "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf0e6c05a2df55c367924652b602efd355"
     "2ef09b52fe10e92b6697d4dc4e860a75561efeebfee5a8427243b7e483ab509fd05587af5cbc5138"
     "b2f8968f9a16a1cbc06233d388bd3d5fdcedb6798d609995"},
    {EspAlgorithm::chacha20_poly1305,
     "00001001050607080102030405060708542ea0c780772701d41d65860855f64dc7a7ae9d36d1c683"
     "8a19129feddfe71708f640adfe8dd320806b034e9f982005d7983557e9e31d0a37cbdb3a65c7ff38"
     "fee28477bf8cc75e"},
}};
constexpr std::uint32_t kSpi = 0x1001;
constexpr std::uint64_t kSequence = 0x0102030405060708;
constexpr std::size_t kPayloadBytes = 53;
constexpr std::uint8_t kNextHeader = 47;
constexpr std::size_t kBytesMax = 128;

std::byte nibble(char digit) noexcept {
    return static_cast<std::byte>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

Secret key_of(const EspAlgorithmRow& row) noexcept {
    std::array<std::byte, Secret::kBytesMax> key{};
    for (std::size_t i = 0; i < row.key_bytes(); ++i) {
        const std::size_t integrity = row.key_bytes() - row.integrity_key_bytes;
        key[i] = static_cast<std::byte>(i < integrity ? i : 0x80 + i - integrity);
    }
    return Secret(std::span(key).first(row.key_bytes()));
}

/// A packet in one piece, or cut into three at odd places.
class Sample {
public:
    explicit Sample(std::size_t bytes) : bytes_(bytes) {}

    std::span<std::byte> bytes() noexcept { return std::span(buffer_).first(bytes_); }

    EspPacket packet(bool in_pieces) noexcept {
        const auto whole = static_cast<std::uint32_t>(bytes_);
        if (!in_pieces) {
            pieces_[0] = {buffer_.data(), whole};
            return {std::span(pieces_).first(1), kSequence, false};
        }
        pieces_ = {
            {{buffer_.data(), 29}, {buffer_.data() + 29, 18}, {buffer_.data() + 47, whole - 47}}};
        return {pieces_, kSequence, false};
    }

private:
    std::size_t bytes_;
    std::array<std::byte, kBytesMax> buffer_{};
    std::array<EspPiece, 3> pieces_{};
};

void write_clear(const EspAlgorithmRow& row, Sample& sample) noexcept {
    const auto inside = sample.bytes().subspan(esp_front_bytes(row));
    for (std::size_t i = 0; i < kPayloadBytes; ++i) {
        inside[i] = static_cast<std::byte>(i + 1);
    }
    write_esp_trailer(
        inside.subspan(kPayloadBytes, esp_trailer_bytes(row, kPayloadBytes)), kNextHeader
    );
}

bool is_clear(const EspAlgorithmRow& row, Sample& sample) noexcept {
    const auto inside = sample.bytes().subspan(esp_front_bytes(row));
    for (std::size_t i = 0; i < kPayloadBytes; ++i) {
        if (inside[i] != static_cast<std::byte>(i + 1)) {
            return false;
        }
    }
    const auto trailer = parse_esp_trailer(inside.first(inside.size() - row.icv_bytes));
    return trailer && trailer->next_header == kNextHeader &&
           trailer->bytes == esp_trailer_bytes(row, kPayloadBytes);
}

/// Opens what is known, seals the same, and does not open what was changed.
bool passes(EspEngine& engine, const Known& known, bool in_pieces) {
    const EspAlgorithmRow& row = row_of(known.algorithm);
    const EspKey key(known.algorithm, key_of(row));
    Sample sample(known.sealed.size() / 2);
    std::array<std::byte, kBytesMax> expected{};
    for (std::size_t i = 0; i < sample.bytes().size(); ++i) {
        expected[i] = nibble(known.sealed[2 * i]) << 4U | nibble(known.sealed[2 * i + 1]);
        sample.bytes()[i] = expected[i];
    }
    EspPacket packet = sample.packet(in_pieces);
    engine.open(key, true, std::span(&packet, 1));
    if (!packet.is_authentic || !is_clear(row, sample)) {
        return false;
    }
    Sample sealed(sample.bytes().size());
    write_clear(row, sealed);
    packet = sealed.packet(in_pieces);
    engine.seal(key, kSpi, true, std::span(&packet, 1));
    // What CBC makes has an unpredictable IV: that it opens is all that can be said.
    if (row.iv_bytes == 8 &&
        !std::equal(sealed.bytes().begin(), sealed.bytes().end(), expected.begin())) {
        return false;
    }
    Sample changed = sealed;
    changed.bytes()[esp_front_bytes(row) + 20] ^= std::byte{0x10};
    packet = changed.packet(in_pieces);
    engine.open(key, true, std::span(&packet, 1));
    if (packet.is_authentic) {
        return false;
    }
    packet = sealed.packet(in_pieces);
    engine.open(key, true, std::span(&packet, 1));
    return packet.is_authentic && is_clear(row, sealed);
}

bool all_pass() {
    const IpsecMb manager = make_ipsec_mb();
    // IPsec-MB tests itself when it is made; it says so if it can.
    if ((manager->features & IMB_FEATURE_SELF_TEST) != 0 &&
        (manager->features & IMB_FEATURE_SELF_TEST_PASS) == 0) {
        return false;
    }
    EspEngine engine;
    return std::all_of(kKnown.begin(), kKnown.end(), [&engine](const Known& known) {
        return passes(engine, known, false) && passes(engine, known, true);
    });
}

}  // namespace

bool esp_self_test() noexcept {
    try {
        return all_pass();
    } catch (const std::exception&) {
        return false;
    }
}

}  // namespace culvert::tunnels
