// SPDX-License-Identifier: GPL-2.0-or-later
//
// ESP packets that others made: of the RFCs and of the Internet-Draft with test cases for GCM and
// GMAC (draft-mcgrew-gcm-test-01), and many more made with Python's cryptography 38
// by the letter of the RFCs (compared with scapy 2.5, which does the same, where it can do it).
#include "tunnels/esp/esp.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/esp_sample.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::clear_packet;
using tests::EspSample;
using tests::from_hex;
using tests::inside_of;
using tests::open_one;
using tests::payload_of;
using tests::seal_one;

struct Vector {
    EspAlgorithm algorithm;
    std::string_view key;  ///< With the salt or the key of HMAC behind it.
    std::uint64_t sequence;
    bool extended;
    std::string_view packet;
    std::string_view inside;  ///< Payload, padding and trailer.
};

void expect_opens(const Vector& vector) {
    const EspAlgorithmRow& row = row_of(vector.algorithm);
    const Bytes packet = from_hex(vector.packet);
    const Bytes inside = from_hex(vector.inside);
    const EspKey key(vector.algorithm, Secret(from_hex(vector.key)));
    EspEngine engine;
    const EspSample sample(packet);
    EXPECT_TRUE(open_one(engine, key, sample, vector.sequence, vector.extended)) << vector.packet;
    const Bytes opened = sample.read();
    EXPECT_TRUE(std::ranges::equal(inside_of(row, opened), inside)) << vector.packet;
    // Neither without nor with another high half.
    EXPECT_FALSE(open_one(engine, key, EspSample(packet), vector.sequence, !vector.extended));
    const std::size_t middle = esp_front_bytes(row) + inside.size() / 2;
    const EspSample in_pieces(packet, {esp_front_bytes(row), middle});
    EXPECT_TRUE(open_one(engine, key, in_pieces, vector.sequence, vector.extended));
    const Bytes gathered = in_pieces.read();
    EXPECT_TRUE(std::ranges::equal(inside_of(row, gathered), inside)) << vector.packet;
}

// clang-format off
TEST(EspVectors, OpensGcmOfTheDraft) {
    const std::vector<Vector> vectors{
        {EspAlgorithm::aes_gcm_128,
         "4c80cdefbb5d10da906ac73c3613a6342e443b68",
         0x8765432100000000,
         true,
         "00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b768d1b9873"
         "6696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff62"
         "47aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
         "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000"
         "045f736970045f756470037369700963796265726369747902646b000021000101020201"},
        {EspAlgorithm::aes_gcm_128,
         "feffe9928665731c6d6a8f9467308308cafebabe",
         0x0000000a,
         false,
         "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d"
         "33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4"
         "ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
         "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d0010000010000"
         "00000000037369700963796265726369747902646b00000100010001"},
        {EspAlgorithm::aes_gcm_256,
         "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
         0x00000002,
         false,
         "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f"
         "1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8eb335f4ee"
         "cfdbf831824b4c4915956c96",
         "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee00000000070024000"
         "20bf0000020405b40101040201020201"},
        {EspAlgorithm::aes_gcm_128,
         "0000000000000000000000000000000000000000",
         0x00000001,
         false,
         "000000000000000100000000000000004688daf2f973a392732909c331d56d60f694abaa"
         "414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894bc3bd57873ed4d18"
         "1d19d4d5c8c18af3f821d496eeb096e98ad2b69e4799c71d",
         "4500003c99c500008001cb7a40679318010101010800075c020044006162636465666768"
         "696a6b6c6d6e6f707172737475767761626364656667686901020201"},
        {EspAlgorithm::aes_gcm_128,
         "3de09874b388e6491988d0c3607eae1f57690e43",
         0x1010101010101010,
         true,
         "42f67e3f101010104e280000a2fca1a3fba2caa4853cf9f0f22cb10d86dd83b0fec75691"
         "cf1a04b00d1138ec9c35791765acbd8701ad79845bf9fe3fba487bc91755e6662b4c8d0d"
         "1f5e22739530320ae0d731cc978ecafaeae88f00e80d6e48",
         "4500003c99c300008001cb7c40679318010101010800085c020043006162636465666768"
         "696a6b6c6d6e6f707172737475767761626364656667686901020201"},
        {EspAlgorithm::aes_gcm_128,
         "3de09874b388e6491988d0c3607eae1f57690e43",
         0x1010101010101010,
         true,
         "42f67e3f101010104e280000a2fca1a3fba2ca845e5df9f0f22c3e6e86dd831e1fc65792"
         "cd1af9130e1379ed369f071f35e034be95f112e4e7d05d35",
         "4500001c42a200008001441f406793b6e00000020a00f5ff01020201"},
        {EspAlgorithm::aes_gcm_128,
         "abbccddef00112233445566778899aabdecaf888",
         0x0000000000000001,
         true,
         "0000010000000001cafedebaceface7418a6fd42f72cbf4ab2a2ea901f73d814e3e7f243"
         "d95412e1c349c1d2fbec168f9190feebaf2cb01984e65863965d7472b79da345e0e78019"
         "1f0d2f0e0f496c226f2127b27db35724e7845d68651f57e65f354f75ff17015769623436",
         "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20"
         "001e8c18d75b81dc91baa0476b91b924b280389d92c963bac046ec959b6266c04722b149"
         "23010101"},
        {EspAlgorithm::aes_gcm_256,
         "abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74",
         0x156f3126dd0db99b,
         true,
         "17405e67dd0db99b616e640169766563f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde"
         "98ef67549d524a3018d9a57ff4d3a31ce673119e451626c2415771e3b7eebca614c89b35",
         "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f64"
         "6d540001"},
        {EspAlgorithm::aes_gcm_128,
         "3de09874b388e6491988d0c3607eae1f57690e43",
         0x1010101010101010,
         true,
         "42f67e3f101010104e280000a2fca1a3fba2cad12fc1f9f00d3cebf305410db83d7784b6"
         "07323d220f24b0a97d54182800cadb0f68d99ef0e0c0c89ae9bea8884e52d65bc1afd074"
         "0f742444747b5b39ab533163aad4550ee5160975cdb608c5769189609763b8e18caa81e2",
         "45000049333e00007f119182c3fb1d10c2b1d326c02831ce0035cb458003025b000001e0"
         "001e8c18d65759d52284a0352c71475c8880391c764d6e5ee0496b325ae270c038994939"
         "15010101"},
        {EspAlgorithm::aes_gcm_256,
         "abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74",
         0x156f3126dd0db99b,
         true,
         "17405e67dd0db99b616e640169766563d4b7ed86a1777f2ea13d6973d324c69e7b43f826"
         "fb56831226508bebd2dceb18d0a6df10e5487df074113e14c641024e3e6773d91a62ee42"
         "9b043a10e3efe6b012a49363412364f8c0cac587f249e56b11e24f30e44ccc76",
         "636973636f0172756c657301746865016e6574776501646566696e650174686574656368"
         "6e6f6c6f67696573017468617477696c6c01646566696e65746f6d6f72726f7701020201"},
        {EspAlgorithm::aes_gcm_128,
         "7d773d00c144c525ac619d18c84a3f47d9664267",
         0xffffffff,
         false,
         "335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270",
         "01020201"},
        {EspAlgorithm::aes_gcm_128,
         "abbccddef00112233445566778899aabdecaf888",
         0x0000000000000001,
         true,
         "0000010000000001cafedebaceface7429c9fc69a197d038ccdd14e2ddfcaa0543332164"
         "412503524303ed3c6c5f283843af8c3e",
         "746f016265016f72016e6f7401746f0162650001"},
        {EspAlgorithm::aes_gcm_256,
         "6c6567616c697a656d6172696a75616e61616e64646f69746265666f726569617475726e",
         0xffffffffffffffff,
         true,
         "796b6963ffffffff333021696765746df97ab2aa356d8edce17644ac8c78e25dd24dedbb"
         "29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe821dcc63b9d0937ba2"
         "945f669368661a329fb4c053",
         "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768"
         "696a6b6c6d6e6f707172737401020201"},
    };
    for (const Vector& vector : vectors) {
        expect_opens(vector);
    }
}

TEST(EspVectors, OpensGmacOfTheDraft) {
    expect_opens(
        {EspAlgorithm::aes_gmac_128,
         "4c80cdefbb5d10da906ac73c3613a63422433c64",
         7,
         false,
         "0000432100000007000000000000000045000030da3a00008001df3bc0a80005c0a80001"
         "0800c6cd020007006162636465666768696a6b6c6d6e6f707172737401020201f2a9a836"
         "e155106aa8dcd618e4099aaa",
         "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768"
         "696a6b6c6d6e6f707172737401020201"}
    );
}

TEST(EspVectors, OpensChaChaOfRfc7634) {
    expect_opens(
        {EspAlgorithm::chacha20_poly1305,
         "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3",
         5,
         false,
         "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6"
         "a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9"
         "befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e076aaa826"
         "6b7fb0f7b11b369907e1ad43",
         "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627"
         "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b"
         "2c2d2e2f303132333435363701020204"}
    );
}

// Case 5 of RFC 3602; its packets have no ICV, which is HMAC-SHA-256 (Python) with the key of test
// case AUTH256-1 of RFC 4868. Then, for both key lengths and both sizes of numbers, Python's.
TEST(EspVectors, OpensCbcOfRfc3602AndOthers) {
    const std::vector<Vector> vectors{
        {EspAlgorithm::aes_cbc_128_sha256,
         "90d382b410eeba7ad938c46cec1a82bf0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
         "0b0b0b0b0b0b0b0b0b0b0b0b",
         1,
         false,
         "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e19"
         "4e120849a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52"
         "775b07d1db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a61731896e"
         "10aaf60f5e4bd414d67e268d",
         "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f101112131415161718191a1b"
         "1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536370102030405060708"
         "090a0b0c0d0e0e01"},
        {EspAlgorithm::aes_cbc_128_sha256,
         "000102030405060708090a0b0c0d0e0f808182838485868788898a8b8c8d8e8f90919293"
         "9495969798999a9b9c9d9e9f",
         0x05060708,
         false,
         "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf787f558c073829b69da78cc7"
         "ae7f031d43e4025ea40f3a6057ce766cb6c23a77a53561453da96dc7d87a3e68f901b27e"
         "5f52774f79a57e732634454618f84e3a51d79c3470b19229387cc988f39589e4",
         "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324"
         "25262728292a2b2c2d2e2f303132333435010203040506070809092f"},
        {EspAlgorithm::aes_cbc_128_sha256,
         "000102030405060708090a0b0c0d0e0f808182838485868788898a8b8c8d8e8f90919293"
         "9495969798999a9b9c9d9e9f",
         0x0102030405060708,
         true,
         "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf787f558c073829b69da78cc7"
         "ae7f031d43e4025ea40f3a6057ce766cb6c23a77a53561453da96dc7d87a3e68f901b27e"
         "5f52774f79a57e732634454618f84e3a132bcf55e4588897be6ecf958154510f",
         "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324"
         "25262728292a2b2c2d2e2f303132333435010203040506070809092f"},
        {EspAlgorithm::aes_cbc_256_sha256,
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f80818283"
         "8485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
         0x05060708,
         false,
         "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf0e6c05a2df55c367924652b6"
         "02efd3552ef09b52fe10e92b6697d4dc4e860a75561efeebfee5a8427243b7e483ab509f"
         "d05587af5cbc5138b2f8968f9a16a1cb5b878ccd6d1776b87ae3db84a2961d10",
         "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324"
         "25262728292a2b2c2d2e2f303132333435010203040506070809092f"},
        {EspAlgorithm::aes_cbc_256_sha256,
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f80818283"
         "8485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
         0x0102030405060708,
         true,
         "0000100105060708c0c1c2c3c4c5c6c7c8c9cacbcccdcecf0e6c05a2df55c367924652b6"
         "02efd3552ef09b52fe10e92b6697d4dc4e860a75561efeebfee5a8427243b7e483ab509f"
         "d05587af5cbc5138b2f8968f9a16a1cbc06233d388bd3d5fdcedb6798d609995",
         "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324"
         "25262728292a2b2c2d2e2f303132333435010203040506070809092f"},
    };
    for (const Vector& vector : vectors) {
        expect_opens(vector);
    }
}
// clang-format on

/// FNV-1a over the packets of all lengths from 0 to 300 and two long ones, with 32-bit numbers
/// around 2^32 - 16 and 64-bit ones around 2^33 - 16. What CBC makes cannot be compared: its IV is
/// random.
std::uint64_t hash_of_packets(EspAlgorithm algorithm) {
    const EspAlgorithmRow& row = row_of(algorithm);
    std::vector<std::size_t> lengths;
    for (std::size_t bytes = 0; bytes <= 300; ++bytes) {
        lengths.push_back(bytes);
    }
    lengths.insert(lengths.end(), {1420, 9000});
    const EspKey key(algorithm, tests::counting_key(algorithm, 0));
    EspEngine engine;
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        for (const bool extended : {false, true}) {
            const std::uint64_t low = (0xfffffff0 + i) & std::numeric_limits<std::uint32_t>::max();
            const std::uint64_t number =
                extended ? 0x1fffffff0 + 7 * i : std::max<std::uint64_t>(low, 1);
            const EspSample sample(
                clear_packet(row, payload_of(lengths[i]), static_cast<std::uint8_t>(lengths[i]))
            );
            seal_one(engine, key, sample, number, extended);
            for (const std::byte octet : sample.read()) {
                hash = (hash ^ std::to_integer<std::uint64_t>(octet)) * 0x100000001b3;
            }
        }
    }
    return hash;
}

TEST(EspVectors, SealsWhatPythonSeals) {
    EXPECT_EQ(hash_of_packets(EspAlgorithm::aes_gcm_128), 0x7fdea4e30866f3ea);
    EXPECT_EQ(hash_of_packets(EspAlgorithm::aes_gcm_256), 0x847e2015eb5cc362);
    EXPECT_EQ(hash_of_packets(EspAlgorithm::aes_gmac_128), 0xa0fa995b3af0f2ed);
    EXPECT_EQ(hash_of_packets(EspAlgorithm::aes_gmac_256), 0xb1c3c2f3280bbd4b);
    EXPECT_EQ(hash_of_packets(EspAlgorithm::chacha20_poly1305), 0xacd60afe5f6df2a7);
}

}  // namespace
}  // namespace culvert::tunnels
