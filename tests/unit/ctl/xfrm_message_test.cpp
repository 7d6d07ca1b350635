// SPDX-License-Identifier: GPL-2.0-or-later
//
// The parser of XFRM messages against what Debian's kernel sent (tests/vectors/xfrm_*.hex say after
// which command), whole, cut off anywhere, and changed. Every input lies in a heap block of exactly
// its size, so that the address sanitizer sees a read past the end.
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include <linux/xfrm.h>
#include <netinet/in.h>

#include "ctl/netlink_bytes.hpp"
#include "ctl/xfrm_message.hpp"
#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::ctl {
namespace {

using tests::from_hex;
using tests::prefix;
using tests::vector_file;
using tunnels::EspAlgorithm;
using tunnels::IpAddress;
using Block = std::vector<std::byte>;

constexpr const char* kCipherKey =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr const char* kShortKey = "00112233445566778899aabbccddeeff";
constexpr const char* kSalt = "01020304";
constexpr const char* kIntegrityKey =
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

tunnels::Secret secret_of(const std::string& hex) {
    return tunnels::Secret(from_hex(hex));
}

IpAddress address(const char* text) {
    return *IpAddress::parse(text);
}

XfrmSa read_sa(const Block& bytes) {
    const auto messages = parse_xfrm(bytes);
    if (messages.size() != 1 || !std::holds_alternative<XfrmSa>(messages.front())) {
        ADD_FAILURE() << "not one SA, but " << messages.size() << " messages";
        return {};
    }
    return std::get<XfrmSa>(messages.front());
}

// What the vectors of IPv4 have in common, with when the kernel said it was added.
XfrmSa expected_sa(std::uint32_t spi, std::uint32_t reqid, const XfrmSa& read) {
    XfrmSa expected;
    expected.sa.spi = spi;
    expected.sa.source = address("172.20.0.2");
    expected.sa.destination = address("172.20.0.4");
    expected.sa.reqid = reqid;
    expected.sa.added_s = read.sa.added_s;
    EXPECT_GT(read.sa.added_s, 1'700'000'000U);
    return expected;
}

// Overwrites a part of one attribute's value. Precondition: it is there.
Block change(Block message, unsigned type, std::size_t offset, const Block& by) {
    const auto whole = message;
    visit_messages(whole, [&](std::uint16_t, Bytes body) {
        xfrm_usersa_info info{};
        EXPECT_TRUE(take(body, info));
        return visit_attributes(body, [&](unsigned found, Bytes value) {
            if (found == type) {
                std::memcpy(
                    message.data() + (value.data() - whole.data()) + offset, by.data(), by.size()
                );
            }
            return true;
        });
    });
    EXPECT_NE(message, whole);
    return message;
}

// Overwrites a part of the SA behind the message's header.
Block change_info(Block message, std::size_t offset, const Block& by) {
    std::memcpy(message.data() + sizeof(nlmsghdr) + offset, by.data(), by.size());
    return message;
}

TEST(XfrmMessage, ReadsAesGcmWithExtendedNumbersAndLimits) {
    const XfrmSa read = read_sa(vector_file("xfrm_gcm256_esn"));
    XfrmSa expected = expected_sa(0x1001, 0x43000001, read);
    expected.sa.algorithm = EspAlgorithm::aes_gcm_256;
    expected.sa.algorithm_name = "rfc4106(gcm(aes))";
    expected.sa.key = secret_of(std::string(kCipherKey) + kSalt);
    expected.sa.extended = true;
    expected.sa.replay_window = 64;
    expected.sa.soft = {1'000'000, 3000, 3300};
    expected.sa.hard = {2'000'000, 4000, 3600};
    expected.replay = {2, 64};
    EXPECT_EQ(read, expected);
}

TEST(XfrmMessage, ReadsTheSelector) {
    const XfrmSa read = read_sa(vector_file("xfrm_gcm128"));
    XfrmSa expected = expected_sa(0x1002, 2, read);
    expected.sa.selector = {IPPROTO_UDP, 4789, 0};
    expected.sa.algorithm = EspAlgorithm::aes_gcm_128;
    expected.sa.algorithm_name = "rfc4106(gcm(aes))";
    expected.sa.key = secret_of(std::string(kShortKey) + kSalt);
    expected.sa.replay_window = 32;
    expected.replay = {std::nullopt, 32};
    EXPECT_EQ(read, expected);
}

TEST(XfrmMessage, JoinsTheKeysOfCipherAndIntegrity) {
    const XfrmSa read = read_sa(vector_file("xfrm_cbc128_sha256"));
    XfrmSa expected = expected_sa(0x1003, 3, read);
    expected.sa.algorithm = EspAlgorithm::aes_cbc_128_sha256;
    expected.sa.algorithm_name = "cbc(aes) hmac(sha256)";
    expected.sa.key = secret_of(std::string(kShortKey) + kIntegrityKey);
    expected.sa.replay_window = 32;
    expected.replay = {std::nullopt, 32};
    EXPECT_EQ(read, expected);
}

TEST(XfrmMessage, ReadsChaCha20) {
    const XfrmSa read = read_sa(vector_file("xfrm_chacha20"));
    EXPECT_EQ(read.sa.algorithm, EspAlgorithm::chacha20_poly1305);
    EXPECT_EQ(read.sa.key, secret_of(std::string(kCipherKey) + kSalt));
}

TEST(XfrmMessage, ReadsUdpEncapsulation) {
    const XfrmSa read = read_sa(vector_file("xfrm_espinudp"));
    EXPECT_EQ(read.sa.algorithm, EspAlgorithm::aes_gcm_128);
    EXPECT_EQ(read.sa.source, address("172.20.0.4"));
    EXPECT_EQ(read.sa.destination, address("172.20.0.2"));
    EXPECT_EQ(read.sa.udp_source, 4500);
    EXPECT_EQ(read.sa.udp_destination, 4501);
}

TEST(XfrmMessage, ReadsTunnelModeOverIpv6WithAMark) {
    const XfrmSa read = read_sa(vector_file("xfrm_tunnel_ipv6"));
    EXPECT_TRUE(read.sa.tunnel_mode);
    EXPECT_EQ(read.sa.source, address("fd20::2"));
    EXPECT_EQ(read.sa.destination, address("fd20::4"));
    EXPECT_EQ(read.sa.algorithm, EspAlgorithm::aes_gcm_128);
    EXPECT_EQ(read.mark, (XfrmMark{7, 0xff}));
}

TEST(XfrmMessage, AnSaThatCannotBeUsedSaysWhyAndHasNoKey) {
    const auto refused = [](const Block& bytes, const char* name) {
        const XfrmSa read = read_sa(bytes);
        EXPECT_EQ(read.sa.algorithm, std::nullopt) << name;
        EXPECT_EQ(read.sa.key.size(), 0U) << name;
        EXPECT_EQ(read.sa.algorithm_name, name);
        EXPECT_NE(read.sa.spi, 0U);
    };
    refused(
        vector_file("xfrm_sha256_96"), "cbc(aes) hmac(sha256) (key of 128 bits, ICV of 96 bits)"
    );
    refused(vector_file("xfrm_null"), "ecb(cipher_null) hmac(sha256) (without encryption)");
    const Block gcm = vector_file("xfrm_gcm128");
    refused(
        change(gcm, XFRMA_ALG_AEAD, offsetof(xfrm_algo_aead, alg_icv_len), from_hex("40")),
        "rfc4106(gcm(aes)) (key of 160 bits, ICV of 64 bits)"
    );
    refused(
        change(gcm, XFRMA_ALG_AEAD, offsetof(xfrm_algo_aead, alg_key_len), from_hex("98")),
        "rfc4106(gcm(aes)) (key of 152 bits, ICV of 128 bits)"
    );
    refused(
        change(gcm, XFRMA_ALG_AEAD, offsetof(xfrm_algo_aead, alg_key), Block(20)),
        "rfc4106(gcm(aes)) (its key is hidden)"
    );
    refused(
        change_info(gcm, offsetof(xfrm_usersa_info, mode), from_hex("04")),
        "rfc4106(gcm(aes)) (in a mode that is neither transport nor tunnel)"
    );
    refused(
        change(vector_file("xfrm_espinudp"), XFRMA_ENCAP, 0, from_hex("07")),
        "rfc4106(gcm(aes)) (encapsulated otherwise than in RFC 3948)"
    );
}

TEST(XfrmMessage, ReadsHowFarSequenceNumbersCame) {
    // struct xfrm_replay_state_esn: words, oseq, seq, oseq_hi, seq_hi.
    const XfrmSa extended = read_sa(change(
        vector_file("xfrm_gcm256_esn"),
        XFRMA_REPLAY_ESN_VAL,
        4,
        from_hex("05000000 06000000 07000000 08000000")
    ));
    EXPECT_EQ(extended.sa.next_sequence, 0x700000005U);
    EXPECT_EQ(extended.sa.received_sequence, 0x800000006U);
    const XfrmSa plain = read_sa(
        change(vector_file("xfrm_gcm128"), XFRMA_REPLAY_VAL, 0, from_hex("05000000 06000000"))
    );
    EXPECT_EQ(plain.sa.next_sequence, 5U);
    EXPECT_EQ(plain.sa.received_sequence, 6U);
}

TEST(XfrmMessage, RemovalsAreThoseOfEspThatAreFinal) {
    const auto to_peer = [](std::uint32_t spi) {
        return std::vector<XfrmMessage>{KernelSaRemoved{spi, address("172.20.0.4")}};
    };
    EXPECT_EQ(parse_xfrm(vector_file("xfrm_delete")), to_peer(0x1001));
    EXPECT_EQ(parse_xfrm(vector_file("xfrm_expire_hard")), to_peer(0x100a));
    EXPECT_EQ(parse_xfrm(vector_file("xfrm_flush")), std::vector<XfrmMessage>{XfrmFlush{}});
    EXPECT_TRUE(parse_xfrm(vector_file("xfrm_expire_soft")).empty());
    // The protocol of a flush stands behind the header: any, and AH.
    const Block flush = vector_file("xfrm_flush");
    EXPECT_EQ(parse_xfrm(change_info(flush, 0, from_hex("ff"))).size(), 1U);
    EXPECT_EQ(parse_xfrm(change_info(flush, 0, from_hex("00"))).size(), 1U);
    EXPECT_TRUE(parse_xfrm(change_info(flush, 0, from_hex("33"))).empty());
}

TEST(XfrmMessage, PassesOverWhatIsNoUsableSaOfEsp) {
    EXPECT_TRUE(parse_xfrm(vector_file("xfrm_ah")).empty());
    const Block gcm = vector_file("xfrm_gcm128");
    // A number that the kernel keeps for an IKE daemon: no algorithms yet.
    Block larval = prefix(gcm, sizeof(nlmsghdr) + sizeof(xfrm_usersa_info));
    larval[0] = std::byte{sizeof(nlmsghdr) + sizeof(xfrm_usersa_info)};
    larval[1] = std::byte{0};
    EXPECT_TRUE(parse_xfrm(larval).empty());
    // What follows is read.
    larval.insert(larval.end(), gcm.begin(), gcm.end());
    EXPECT_EQ(parse_xfrm(larval).size(), 1U);
    EXPECT_TRUE(
        parse_xfrm(change_info(gcm, offsetof(xfrm_usersa_info, family), from_hex("07"))).empty()
    );
}

TEST(XfrmMessage, AnUpdateIsAnSaToo) {
    Block update = vector_file("xfrm_gcm128");
    const XfrmSa added = read_sa(update);
    update[offsetof(nlmsghdr, nlmsg_type)] = std::byte{XFRM_MSG_UPDSA};
    EXPECT_EQ(read_sa(update), added);
}

TEST(XfrmMessage, WhatIsCutOffEndsTheParse) {
    for (const char* name :
         {"xfrm_gcm256_esn",
          "xfrm_cbc128_sha256",
          "xfrm_espinudp",
          "xfrm_delete",
          "xfrm_flush",
          "xfrm_expire_hard"}) {
        const Block whole = vector_file(name);
        Block twice = whole;
        twice.insert(twice.end(), whole.begin(), whole.end());
        EXPECT_EQ(parse_xfrm(twice).size(), 2U) << name;
        for (std::size_t size = 0; size < whole.size(); ++size) {
            EXPECT_TRUE(parse_xfrm(prefix(whole, size)).empty()) << name << " " << size;
            EXPECT_EQ(parse_xfrm(prefix(twice, whole.size() + size)).size(), 1U) << name;
        }
    }
}

TEST(XfrmMessage, ContradictionsEndTheParse) {
    const Block gcm = vector_file("xfrm_gcm128");
    // A key longer than its attribute, and a name without an end.
    EXPECT_TRUE(
        parse_xfrm(
            change(gcm, XFRMA_ALG_AEAD, offsetof(xfrm_algo_aead, alg_key_len), from_hex("ffffffff"))
        )
            .empty()
    );
    EXPECT_TRUE(parse_xfrm(change(gcm, XFRMA_ALG_AEAD, 0, Block(64, std::byte{'a'}))).empty());
    // A bitmap larger than any, and a window larger than its bitmap.
    const Block esn = vector_file("xfrm_gcm256_esn");
    EXPECT_TRUE(parse_xfrm(change(esn, XFRMA_REPLAY_ESN_VAL, 0, from_hex("81000000"))).empty());
    EXPECT_TRUE(parse_xfrm(change(esn, XFRMA_REPLAY_ESN_VAL, 20, from_hex("41000000"))).empty());
}

}  // namespace
}  // namespace culvert::ctl
