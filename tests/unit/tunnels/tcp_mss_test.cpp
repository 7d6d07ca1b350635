// SPDX-License-Identifier: GPL-2.0-or-later
//
// MSS clamping: the option, and the checksum against one computed anew.
#include "tunnels/tcp_mss.hpp"

#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"

namespace culvert::tunnels {
namespace {

using culvert::tests::Bytes;
using culvert::tests::from_hex;
using culvert::tests::naive_sum;
using culvert::tests::octet;
using culvert::tests::prefix;
using culvert::tests::set_word;
using culvert::tests::word_at;

constexpr unsigned kSyn = 0x02;
constexpr unsigned kAck = 0x10;
constexpr unsigned kRst = 0x04;

unsigned tcp_sum(const Bytes& ip) {
    const bool v6 = octet(ip, 0) >> 4U == 6;
    const std::size_t tcp = v6 ? 40 : 20;
    const auto addresses = std::span(ip).subspan(v6 ? 8 : 12, v6 ? 32 : 8);
    const auto length = static_cast<unsigned>(ip.size() - tcp);
    return naive_sum(std::span(ip).subspan(tcp), naive_sum(addresses, length + 6));
}

/// A TCP packet with these options (a multiple of 4 bytes) and its checksum right.
Bytes packet(bool v6, const std::string& options, unsigned flags = kSyn, const Bytes& data = {}) {
    Bytes ip = from_hex(
        v6 ? "60000000 0000 06 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
           : "4500 0000 0000 4000 40 06 0000 0a000001 0a000002"
    );
    const std::size_t tcp = ip.size();
    for (const Bytes& part :
         {from_hex("c001 0050 01020304 00000000 0000 ffff 0000 0000"), from_hex(options), data}) {
        ip.insert(ip.end(), part.begin(), part.end());
    }
    const auto words = static_cast<unsigned>(5 + from_hex(options).size() / 4);
    set_word(ip, tcp + 12, words << 12U | flags);
    set_word(ip, v6 ? 4 : 2, static_cast<unsigned>(v6 ? ip.size() - tcp : ip.size()));
    set_word(ip, tcp + 16, ~tcp_sum(ip) & 0xffffU);
    return ip;
}

TEST(ClampMss, LowersTheOptionToWhatFits) {
    for (const bool v6 : {false, true}) {
        for (const unsigned flags : {kSyn, kSyn | kAck}) {
            Bytes ip = packet(v6, "020405b4 04020101", flags);
            Bytes expected = packet(v6, v6 ? "0204053c 04020101" : "02040550 04020101", flags);
            EXPECT_TRUE(clamp_mss(ip, 1400, false));
            EXPECT_EQ(ip, expected);
        }
    }
}

TEST(ClampMss, LeavesWhatFits) {
    for (const bool v6 : {false, true}) {
        for (const unsigned mtu : {1500U, 1520U, 9000U, 100000U}) {
            Bytes ip = packet(v6, v6 ? "020405a0" : "020405b4");
            const Bytes before = ip;
            EXPECT_FALSE(clamp_mss(ip, mtu, false));
            EXPECT_EQ(ip, before);
        }
        Bytes ip = packet(v6, "0204ffff");
        EXPECT_FALSE(clamp_mss(ip, 100000, false));
    }
}

TEST(ClampMss, KeepsTheChecksumRightWhereverTheOptionStands) {
    std::mt19937 random(2);
    for (unsigned round = 0; round < 20000; ++round) {
        const bool v6 = random() % 2 == 0;
        const std::size_t nops = random() % 5;
        Bytes options(nops, std::byte{1});
        const auto mss = static_cast<unsigned>(random() % 65536);
        for (const unsigned value : {2U, 4U, mss >> 8U, mss & 0xffU}) {
            options.push_back(static_cast<std::byte>(value));
        }
        options.resize((options.size() + 3) / 4 * 4);
        Bytes ip = packet(v6, std::string(options.size() * 2, '0'), kSyn, Bytes(random() % 9));
        const std::size_t tcp = v6 ? 40 : 20;
        std::copy(
            options.begin(), options.end(), ip.begin() + static_cast<std::ptrdiff_t>(tcp + 20)
        );
        set_word(ip, tcp + 4, static_cast<unsigned>(random() % 65536));
        set_word(ip, tcp + 16, 0);
        set_word(ip, tcp + 16, ~tcp_sum(ip) & 0xffffU);
        const auto mtu = static_cast<std::uint32_t>(61 + random() % 9000);
        const unsigned limit = mtu - (v6 ? 60 : 40);
        ASSERT_EQ(clamp_mss(ip, mtu, false), mss > limit);
        ASSERT_EQ(word_at(ip, tcp + 20 + nops + 2), std::min(mss, limit));
        ASSERT_EQ(tcp_sum(ip), 0xffffU) << round;
    }
}

TEST(ClampMss, AWrongChecksumStaysWrong) {
    Bytes ip = packet(false, "020405b4");
    set_word(ip, 36, word_at(ip, 36) ^ 0x0100U);
    EXPECT_TRUE(clamp_mss(ip, 1400, false));
    EXPECT_NE(tcp_sum(ip), 0xffffU);
}

TEST(ClampMss, APartialChecksumDoesNotCountTheOption) {
    for (const bool v6 : {false, true}) {
        Bytes ip = packet(v6, "020405b4");
        const std::size_t tcp = v6 ? 40 : 20;
        set_word(ip, tcp + 16, 0xbeef);
        EXPECT_TRUE(clamp_mss(ip, 1400, true));
        EXPECT_EQ(word_at(ip, tcp + 16), 0xbeefU);
        EXPECT_EQ(word_at(ip, tcp + 22), v6 ? 1340U : 1360U);
    }
}

TEST(ClampMss, ChangesNothingElse) {
    const auto unchanged = [](Bytes ip, const char* what) {
        const Bytes before = ip;
        EXPECT_FALSE(clamp_mss(ip, 1400, false)) << what;
        EXPECT_EQ(ip, before) << what;
    };
    const auto with_word = [](bool v6, std::size_t at, unsigned value) {
        Bytes ip = packet(v6, "020405b4");
        set_word(ip, at, value);
        return ip;
    };
    for (const bool v6 : {false, true}) {
        unchanged(packet(v6, "020405b4", kAck), "no SYN");
        unchanged(packet(v6, "020405b4", kRst), "no SYN");
        unchanged(packet(v6, ""), "no options");
        unchanged(packet(v6, "00000000 020405b4"), "behind the end of the options");
        unchanged(packet(v6, "01010102"), "cut off behind the kind");
        unchanged(packet(v6, "01010204"), "cut off behind the length");
        unchanged(packet(v6, "01020405"), "cut off within");
        unchanged(packet(v6, "050005b4 020405b4"), "length 0");
        unchanged(packet(v6, "050105b4 020405b4"), "length 1");
        unchanged(packet(v6, "02030505 b4010101"), "MSS of length 3");
        unchanged(packet(v6, "05ff0000 020405b4"), "length behind the header");
    }
    unchanged(with_word(false, 6, 0x2000), "first fragment");
    unchanged(with_word(false, 6, 0x0010), "later fragment");
    unchanged(with_word(false, 8, 0x4011), "UDP");
    unchanged(with_word(true, 6, 0x1140), "UDP");
    unchanged(with_word(true, 6, 0x2c40), "fragment");
    unchanged(with_word(false, 0, 0x4400), "IHL 4");
    unchanged(with_word(false, 0, 0x5500), "version 5");
    unchanged(with_word(false, 32, 0x4002), "TCP header of 16 bytes");
    unchanged(with_word(false, 2, 41), "option behind the IP packet");
    unchanged({}, "nothing");
}

TEST(ClampMss, AnMtuOfOnlyHeadersIsNoLimit) {
    for (const bool v6 : {false, true}) {
        Bytes ip = packet(v6, "020405b4");
        EXPECT_FALSE(clamp_mss(ip, v6 ? 60 : 40, false));
        EXPECT_FALSE(clamp_mss(ip, 0, false));
        EXPECT_TRUE(clamp_mss(ip, v6 ? 61 : 41, false));
        EXPECT_EQ(word_at(ip, v6 ? 62 : 42), 1U);
    }
}

TEST(ClampMss, FindsItBehindOptionsOfIpv4) {
    Bytes ip = packet(false, "020405b4");
    const Bytes options = from_hex("01010101");
    ip.insert(ip.begin() + 20, options.begin(), options.end());
    ip[0] = std::byte{0x46};
    set_word(ip, 2, static_cast<unsigned>(ip.size()));
    EXPECT_TRUE(clamp_mss(ip, 1400, false));
    EXPECT_EQ(word_at(ip, 46), 1360U);
}

TEST(ClampMss, ReadsNothingBehindTheHead) {
    for (const bool v6 : {false, true}) {
        const Bytes whole = packet(v6, "04020101 020405b4", kSyn, Bytes(9));
        const std::size_t option_end = (v6 ? 40U : 20U) + 28;
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            Bytes head = prefix(whole, size);
            EXPECT_EQ(clamp_mss(head, 1400, false), size >= option_end) << size;
        }
    }
}

}  // namespace
}  // namespace culvert::tunnels
