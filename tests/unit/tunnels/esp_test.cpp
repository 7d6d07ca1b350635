// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP sealed and opened again: every length, every cut into pieces, bursts of any size, and what
// must never be taken for authentic. Against packets that others made: esp_vectors_test.cpp.
#include "tunnels/esp/esp.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/esp_sample.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::clear_packet;
using tests::counting_key;
using tests::EspSample;
using tests::inside_of;
using tests::open_one;
using tests::payload_of;
using tests::seal_one;

constexpr std::uint8_t kGre = 47;
constexpr std::uint64_t kSequence = 0x300000007;

class Esp : public testing::TestWithParam<EspAlgorithm> {
protected:
    /// A sealed packet of so many payload octets.
    Bytes sealed(std::size_t payload_bytes, bool extended, std::uint64_t sequence = kSequence) {
        const EspSample sample(clear_packet(row_, payload_of(payload_bytes), kGre));
        seal_one(engine_, key_, sample, sequence, extended);
        return sample.read();
    }
    bool opens(const Bytes& packet, bool extended, std::uint64_t sequence = kSequence) {
        return open_one(engine_, key_, EspSample(packet), sequence, extended);
    }

    const EspAlgorithmRow& row_ = row_of(GetParam());
    EspKey key_{GetParam(), counting_key(GetParam())};
    EspEngine engine_;
};

std::string name_of(const testing::TestParamInfo<EspAlgorithm>& info) {
    std::string name(row_of(info.param).name);
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(
    Every,
    Esp,
    testing::Values(
        EspAlgorithm::aes_gcm_128,
        EspAlgorithm::aes_gcm_256,
        EspAlgorithm::aes_gmac_128,
        EspAlgorithm::aes_gmac_256,
        EspAlgorithm::aes_cbc_128_sha256,
        EspAlgorithm::aes_cbc_256_sha256,
        EspAlgorithm::chacha20_poly1305
    ),
    name_of
);

TEST_P(Esp, OpensWhatItSealedAtEveryLength) {
    std::vector<std::size_t> lengths{1420, 9000, 65000};
    for (std::size_t bytes = 0; bytes <= 300; ++bytes) {
        lengths.push_back(bytes);
    }
    for (const std::size_t bytes : lengths) {
        for (const bool extended : {false, true}) {
            const Bytes payload = payload_of(bytes);
            const Bytes clear = clear_packet(row_, payload, kGre);
            const EspSample sample(clear);
            seal_one(engine_, key_, sample, kSequence, extended);
            const Bytes packet = sample.read();
            ASSERT_EQ(tests::word_at(packet, 2), 0x1001U);
            ASSERT_EQ(tests::word_at(packet, 6), 7U);
            ASSERT_EQ(
                std::ranges::equal(inside_of(row_, packet), inside_of(row_, clear)), !row_.encrypts
            ) << bytes;
            ASSERT_TRUE(open_one(engine_, key_, sample, kSequence, extended)) << bytes;
            const Bytes opened = sample.read();
            const auto inside = inside_of(row_, opened);
            const auto trailer =
                parse_esp_trailer(inside.last(std::min<std::size_t>(257, inside.size())));
            ASSERT_TRUE(trailer.has_value()) << bytes;
            ASSERT_EQ(trailer->next_header, kGre);
            ASSERT_TRUE(std::ranges::equal(inside.first(inside.size() - trailer->bytes), payload))
                << bytes;
            ASSERT_TRUE(sample.margins_are_whole()) << bytes;
        }
    }
}

TEST_P(Esp, PiecesMakeNoDifference) {
    const std::size_t front = esp_front_bytes(row_);
    for (const bool extended : {false, true}) {
        const Bytes clear = clear_packet(row_, payload_of(61), kGre);
        const Bytes whole = sealed(61, extended);
        const std::size_t last = whole.size() - row_.icv_bytes;
        for (std::size_t first = front; first <= last; ++first) {
            for (std::size_t second = first; second <= last; ++second) {
                const EspSample sample(clear, {first, second});
                seal_one(engine_, key_, sample, kSequence, extended);
                ASSERT_EQ(sample.read(), whole) << first << ' ' << second;
                ASSERT_TRUE(open_one(engine_, key_, sample, kSequence, extended))
                    << first << ' ' << second;
                const Bytes opened = sample.read();
                ASSERT_TRUE(std::ranges::equal(inside_of(row_, opened), inside_of(row_, clear)))
                    << first << ' ' << second;
                ASSERT_TRUE(sample.margins_are_whole());
            }
        }
    }
}

TEST_P(Esp, LongPacketsInManyPiecesAreTheSame) {
    // Up to the longest packets, in the pieces of a chain of buffers and in tiny ones.
    for (const std::size_t bytes : {1420U, 9000U, 65000U}) {
        const Bytes clear = clear_packet(row_, payload_of(bytes), kGre);
        const Bytes whole = sealed(bytes, true);
        for (const std::size_t step : {33U, 2048U}) {
            std::vector<std::size_t> cuts;
            for (std::size_t at = 2 * step; at + row_.icv_bytes <= clear.size(); at += step) {
                cuts.push_back(at);
            }
            EspSample sample(clear.size(), cuts);
            sample.write(clear);
            seal_one(engine_, key_, sample, kSequence, true);
            ASSERT_TRUE(sample.read() == whole) << bytes << ' ' << step;
            ASSERT_TRUE(open_one(engine_, key_, sample, kSequence, true)) << bytes << ' ' << step;
            const Bytes opened = sample.read();
            ASSERT_TRUE(std::ranges::equal(inside_of(row_, opened), inside_of(row_, clear)));
        }
    }
}

/// Packet i of a burst of `count`: some are in pieces, and of the largest burst more than can be
/// gathered at a time.
std::size_t payload_bytes_in_burst(std::size_t i, std::size_t count) {
    return i % 16 == 2 && count == 80 ? 60000 : 3 * i;
}

EspSample sample_in_burst(const EspAlgorithmRow& row, std::size_t i, std::size_t count) {
    const std::size_t bytes = payload_bytes_in_burst(i, count);
    const Bytes clear = clear_packet(row, payload_of(bytes), kGre);
    if (bytes == 60000) {
        return EspSample(clear, {2000, 4000});
    }
    return i % 3 == 1 && i > 4 ? EspSample(clear, {27}) : EspSample(clear);
}

TEST_P(Esp, BurstsOfAnySizeAreTheSameAsSinglePackets) {
    constexpr std::size_t kChanged = 5;
    for (std::size_t count = 0; count <= 80; count += count < 34 ? 1 : 23) {
        std::vector<EspSample> samples;
        std::vector<EspPacket> packets;
        for (std::size_t i = 0; i < count; ++i) {
            samples.push_back(sample_in_burst(row_, i, count));
            packets.push_back(samples[i].packet(100 + i));
        }
        engine_.seal(key_, 0x1001, true, packets);
        for (std::size_t i = 0; i < count; ++i) {
            ASSERT_TRUE(
                samples[i].read() == sealed(payload_bytes_in_burst(i, count), true, 100 + i)
            ) << i
              << " of " << count;
        }
        // Among others, one that is not authentic.
        if (count > kChanged) {
            Bytes changed = samples[kChanged].read();
            changed.back() ^= std::byte{1};
            samples[kChanged].write(changed);
        }
        engine_.open(key_, true, packets);
        for (std::size_t i = 0; i < count; ++i) {
            ASSERT_EQ(packets[i].is_authentic, i != kChanged) << i << " of " << count;
            const Bytes clear =
                clear_packet(row_, payload_of(payload_bytes_in_burst(i, count)), kGre);
            const Bytes opened = samples[i].read();
            ASSERT_TRUE(
                i == kChanged || std::ranges::equal(inside_of(row_, opened), inside_of(row_, clear))
            ) << i
              << " of " << count;
        }
    }
}

TEST_P(Esp, NoChangedBitIsAuthentic) {
    for (const bool extended : {false, true}) {
        const Bytes packet = sealed(53, extended);
        for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
            Bytes changed = packet;
            changed[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
            // The number is taken from the packet, as a receiver does.
            std::uint64_t sequence = kSequence & 0xffffffff00000000U;
            for (std::size_t i = 4; i < 8; ++i) {
                sequence |= std::uint64_t{tests::octet(changed, i)} << (8 * (7 - i));
            }
            ASSERT_FALSE(opens(changed, extended, sequence)) << "bit " << bit;
            const EspSample in_pieces(changed, {31, 50});
            ASSERT_FALSE(open_one(engine_, key_, in_pieces, sequence, extended)) << "bit " << bit;
        }
        EXPECT_TRUE(opens(packet, extended));
    }
}

TEST_P(Esp, NoChangedOctetOfALongPacketIsAuthentic) {
    const Bytes packet = sealed(1420, true);
    for (std::size_t at = 0; at < packet.size(); ++at) {
        Bytes changed = packet;
        changed[at] ^= std::byte{0x80};
        // Of the sequence number too: what is authenticated is what stands in the packet.
        ASSERT_FALSE(opens(changed, true)) << at;
    }
}

TEST_P(Esp, NothingThatIsCutOffIsAuthentic) {
    const Bytes packet = sealed(253, true);
    const std::size_t least = esp_front_bytes(row_) + row_.block_bytes + row_.icv_bytes;
    for (std::size_t bytes = least; bytes < packet.size(); bytes += row_.block_bytes) {
        ASSERT_FALSE(opens(tests::prefix(packet, bytes), true)) << bytes;
        // The end is whole, what is before it is not.
        Bytes without(
            packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(bytes - row_.icv_bytes)
        );
        without.insert(without.end(), packet.end() - row_.icv_bytes, packet.end());
        ASSERT_FALSE(opens(without, true)) << bytes;
    }
}

TEST_P(Esp, AnotherKeyDoesNotOpenIt) {
    const Bytes packet = sealed(100, true);
    const Secret secret = counting_key(GetParam());
    for (std::size_t bit = 0; bit < secret.size() * 8; ++bit) {
        Bytes octets(secret.bytes().begin(), secret.bytes().end());
        octets[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        const EspKey other(GetParam(), Secret(octets));
        const EspSample sample(packet);
        // Of CBC, the key of the cipher says nothing about authenticity.
        const bool is_cipher_key = bit / 8 < row_.cipher_key_bytes;
        const bool opens = open_one(engine_, other, sample, kSequence, true);
        if (row_.integrity_key_bytes != 0 && is_cipher_key) {
            const Bytes wrong = sample.read();
            const Bytes clear = clear_packet(row_, payload_of(100), kGre);
            ASSERT_FALSE(std::ranges::equal(inside_of(row_, wrong), inside_of(row_, clear)));
        } else {
            ASSERT_FALSE(opens) << "bit " << bit;
        }
    }
}

TEST_P(Esp, TheHighHalfIsAuthenticated) {
    const Bytes packet = sealed(100, true);
    for (unsigned bit = 32; bit < 64; ++bit) {
        ASSERT_FALSE(opens(packet, true, kSequence ^ std::uint64_t{1} << bit)) << bit;
    }
    EXPECT_FALSE(opens(packet, false));
    EXPECT_FALSE(opens(sealed(100, false), true));
    // Of 32-bit numbers there is none.
    EXPECT_TRUE(opens(sealed(100, false), false, kSequence + (std::uint64_t{1} << 32U)));
}

TEST_P(Esp, NoTwoNumbersHaveOneIv) {
    std::vector<Bytes> ivs;
    for (std::uint64_t i = 0; i < 300; ++i) {
        // Both halves differ.
        const Bytes packet = sealed(20, true, i < 150 ? i + 1 : (i - 149) << 32U | 1);
        ivs.emplace_back(
            packet.begin() + kEspHeaderBytes,
            packet.begin() + static_cast<std::ptrdiff_t>(esp_front_bytes(row_))
        );
    }
    std::sort(ivs.begin(), ivs.end());
    // Number 1 and high half 1: 0x1_00000001 is different from 1.
    EXPECT_EQ(std::adjacent_find(ivs.begin(), ivs.end()), ivs.end());
}

TEST(EspCbc, IvsOfTwoKeysAreNotAlike) {
    // A key of the SA must not make its IVs foretellable.
    const EspAlgorithm algorithm = EspAlgorithm::aes_cbc_128_sha256;
    EspEngine engine;
    const EspKey one(algorithm, counting_key(algorithm));
    const EspKey other(algorithm, counting_key(algorithm));
    const Bytes clear = clear_packet(row_of(algorithm), payload_of(20), kGre);
    const EspSample a(clear);
    const EspSample b(clear);
    seal_one(engine, one, a, 1, true);
    seal_one(engine, other, b, 1, true);
    EXPECT_FALSE(std::ranges::equal(
        std::span<const std::byte>(a.read()).subspan(kEspHeaderBytes, 16),
        std::span<const std::byte>(b.read()).subspan(kEspHeaderBytes, 16)
    ));
    EXPECT_TRUE(open_one(engine, other, a, 1, true));
}

TEST(EspSelfTest, Passes) {
    EXPECT_TRUE(esp_self_test());
}

TEST(EspLengths, PayloadsFillBlocks) {
    for (const EspAlgorithmRow& row : kEspAlgorithms) {
        for (std::size_t bytes = 0; bytes < 70; ++bytes) {
            const std::size_t trailer = esp_trailer_bytes(row, bytes);
            EXPECT_EQ((bytes + trailer) % row.block_bytes, 0U);
            EXPECT_GE(trailer, 2U);
            EXPECT_LT(trailer, 2U + row.block_bytes);
        }
    }
}

TEST(EspLengths, TheLongestPayloadFits) {
    for (const EspAlgorithmRow& row : kEspAlgorithms) {
        const auto packet_bytes = [&row](std::size_t payload) {
            return esp_front_bytes(row) + payload + esp_trailer_bytes(row, payload) + row.icv_bytes;
        };
        for (std::size_t bytes = packet_bytes(1); bytes < 1600; ++bytes) {
            const std::size_t payload = esp_payload_bytes_max(row, bytes);
            ASSERT_LE(packet_bytes(payload), bytes) << row.name;
            ASSERT_GT(packet_bytes(payload + 1), bytes) << row.name;
        }
        EXPECT_EQ(esp_payload_bytes_max(row, 0), 0U);
        EXPECT_EQ(esp_payload_bytes_max(row, esp_front_bytes(row) + row.icv_bytes), 0U);
    }
}

TEST(EspTrailer, IsTheSequenceOfRfc4303) {
    Bytes trailer(2 + 5);
    write_esp_trailer(trailer, kGre);
    EXPECT_EQ(trailer, tests::from_hex("0102030405052f"));
    Bytes shortest(2);
    write_esp_trailer(shortest, 4);
    EXPECT_EQ(shortest, tests::from_hex("0004"));
}

TEST(EspTrailer, OfEveryLengthIsReadBack) {
    for (std::size_t padding = 0; padding < 256; ++padding) {
        Bytes end(padding + 2);
        write_esp_trailer(end, kGre);
        const auto trailer = parse_esp_trailer(end);
        ASSERT_TRUE(trailer.has_value()) << padding;
        EXPECT_EQ(trailer->bytes, padding + 2);
        EXPECT_EQ(trailer->next_header, kGre);
        // What is before it is not looked at.
        end.insert(end.begin(), std::byte{0xff});
        EXPECT_EQ(parse_esp_trailer(end)->bytes, padding + 2);
        // Cut off at the front.
        if (padding > 0) {
            EXPECT_FALSE(parse_esp_trailer(std::span(end).subspan(2)).has_value()) << padding;
        }
    }
}

TEST(EspTrailer, RefusesOtherPadding) {
    EXPECT_FALSE(parse_esp_trailer({}).has_value());
    EXPECT_FALSE(parse_esp_trailer(tests::from_hex("2f")).has_value());
    EXPECT_FALSE(parse_esp_trailer(tests::from_hex("000000032f")).has_value());
    EXPECT_FALSE(parse_esp_trailer(tests::from_hex("010203042f")).has_value());
    EXPECT_FALSE(parse_esp_trailer(tests::from_hex("010204032f")).has_value());
    EXPECT_TRUE(parse_esp_trailer(tests::from_hex("010203032f")).has_value());
}

}  // namespace
}  // namespace culvert::tunnels
