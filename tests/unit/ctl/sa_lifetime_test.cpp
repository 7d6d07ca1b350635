// SPDX-License-Identifier: GPL-2.0-or-later
//
// The database of security associations: ends by packets, bytes and time, what is told of use, and
// how long packets may be.
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/sa_database_fixture.hpp"

namespace culvert::ctl {
namespace {

using namespace testing_sa;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using SaLifetimeTest = SaDatabaseTest;

// --- lifetimes ---

TEST_F(SaLifetimeTest, PacketsEndExactly) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->soft.packets = 5;
    tunnel.esp->hard.packets = 8;
    configure({tunnel});
    std::uint64_t first = 0;
    EXPECT_EQ(out()->take(4, first), 4U);
    tick();
    EXPECT_FALSE(status(0x1001).soft_expired);
    EXPECT_EQ(status(0x1001).left.packets, 4U);
    EXPECT_EQ(out()->take(100, first), 4U);
    EXPECT_EQ(take_one(*out()), 0U);
    EXPECT_TRUE(tick());
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(trouble(), "its hard lifetime of 8 packets is over: it needs a new key");
    EXPECT_TRUE(expired_.empty()) << "nobody but the log is to be told";
    restart();
    configure({tunnel});
    EXPECT_EQ(out(), nullptr) << "a restart gives it no more";
}

TEST_F(SaLifetimeTest, ASoftEndIsAWarningAlone) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->soft.packets = 5;
    configure({tunnel});
    std::uint64_t first = 0;
    EXPECT_NE(out()->take(6, first), 0U);
    tick();
    EXPECT_TRUE(status(0x1001).soft_expired);
    EXPECT_NE(out(), nullptr);
    EXPECT_EQ(take_one(*out()), 7U);
}

TEST_F(SaLifetimeTest, BytesEndAtTheNextLook) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->hard.bytes = 1000;
    configure({tunnel});
    out()->bytes += 999;
    tick();
    ASSERT_NE(out(), nullptr);
    EXPECT_EQ(status(0x1001).left.bytes, 1U);
    out()->bytes += 1;
    in(0x1000)->bytes += 1500;
    EXPECT_TRUE(tick());
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(in(0x1000), nullptr);
    EXPECT_EQ(status(0x1000).bytes, 1500U) << "what was counted is still shown";
    restart();
    configure({tunnel});
    EXPECT_EQ(out(), nullptr) << "a key that has ended does not come back";
}

TEST_F(SaLifetimeTest, SecondsEndByAClockThatNobodySets) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->soft.seconds = 50;
    tunnel.esp->hard.seconds = 100;
    configure({tunnel});
    EXPECT_FALSE(database_->tick(kMillion * 5, uptime_s_));
    ASSERT_NE(out(), nullptr);
    tick(49);
    EXPECT_FALSE(status(0x1001).soft_expired);
    EXPECT_EQ(status(0x1001).left.seconds, 51U);
    tick(1);
    EXPECT_TRUE(status(0x1001).soft_expired);
    EXPECT_TRUE(status(0x1000).soft_expired);
    tick(50);
    EXPECT_EQ(out(), nullptr);
    EXPECT_EQ(in(0x1000), nullptr);
}

TEST_F(SaLifetimeTest, ALongerLifetimeKeepsTheSa) {
    EspTunnel tunnel = configured("t1");
    tunnel.esp->hard.packets = 10;
    configure({tunnel});
    const auto before = out();
    std::uint64_t first = 0;
    EXPECT_EQ(before->take(6, first), 6U);
    tunnel.esp->hard.packets = 20;
    configure({tunnel});
    EXPECT_EQ(out(), before);
    tick();
    EXPECT_EQ(before->take(100, first), 14U);
}

TEST_F(SaLifetimeTest, AShorterLifetimeHoldsAtOnce) {
    configure({configured("t1")});
    EspTunnel tunnel = configured("t1");
    tunnel.esp->hard.packets = 10;
    configure({tunnel});
    std::uint64_t first = 0;
    EXPECT_EQ(out()->take(100, first), 10U);
}

TEST_F(SaLifetimeTest, EndsOfNegotiatedSasAreTold) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    association.soft.packets = 3;
    association.hard.packets = 5;
    association.soft.seconds = 1;
    follow({kernel_in(0x10), association});
    tick(50);
    EXPECT_TRUE(expired_.empty()) << "the kernel watches the time itself";
    std::uint64_t first = 0;
    EXPECT_NE(out()->take(3, first), 0U);
    tick();
    tick();
    EXPECT_THAT(expired_, ElementsAre(std::pair(0x11U, false))) << "once";
    EXPECT_NE(out()->take(100, first), 0U);
    tick();
    EXPECT_THAT(expired_, ElementsAre(std::pair(0x11U, false), std::pair(0x11U, true)));
    EXPECT_EQ(out(), nullptr);
}

TEST_F(SaLifetimeTest, ShortNumbersOfANegotiatedSaAreASoftEnd) {
    configure({by_ike("t1")});
    KernelSa association = kernel_out(0x11);
    association.extended = false;
    association.next_sequence = 0xe0000000;
    follow({kernel_in(0x10), association});
    tick();
    EXPECT_THAT(expired_, ElementsAre(std::pair(0x11U, false)));
}

TEST_F(SaLifetimeTest, UsesAreToldWhenTheyChange) {
    configure({by_ike("t1"), configured("t2")});
    follow({kernel_in(0x10), kernel_out(0x11)});
    static_cast<void>(database_->uses());
    tick();
    EXPECT_THAT(database_->uses(), IsEmpty());
    std::uint64_t first = 0;
    EXPECT_NE(out()->take(3, first), 0U);
    out()->packets += 3;
    out()->bytes += 300;
    receive(*in(0x10), 7);
    const auto uses = database_->uses();
    ASSERT_THAT(uses, SizeIs(2)) << "those of the configured tunnel are not the kernel's";
    EXPECT_EQ(uses[0].spi, 0x10U);
    EXPECT_EQ(uses[0].sequence, 7U);
    EXPECT_FALSE(uses[0].outbound);
    EXPECT_EQ(uses[1].spi, 0x11U);
    EXPECT_EQ(uses[1].packets, 3U);
    EXPECT_EQ(uses[1].bytes, 300U);
    EXPECT_EQ(uses[1].sequence, 3U);
    EXPECT_TRUE(uses[1].outbound);
    EXPECT_EQ(uses[1].used_s, kMillion + uptime_s_);
    EXPECT_THAT(database_->uses(), IsEmpty());
}

// --- sizes ---

/// The size of a sealed packet of a plain one, computed as RFC 4303 lays it out.
std::uint32_t
sealed(EspAlgorithm algorithm, std::uint32_t ip, bool tunnel_mode, bool udp, std::uint32_t plain) {
    const auto& row = tunnels::row_of(algorithm);
    const std::uint32_t payload = tunnel_mode ? plain : plain - ip;
    return ip + (udp ? 8 : 0) + 8 + row.iv_bytes + payload +
           static_cast<std::uint32_t>(tunnels::esp_trailer_bytes(row, payload)) + row.icv_bytes;
}

TEST_F(SaLifetimeTest, ThePlainMtuIsTheLongestThatFits) {
    for (const EspAlgorithm algorithm :
         {EspAlgorithm::aes_gcm_256,
          EspAlgorithm::aes_cbc_256_sha256,
          EspAlgorithm::chacha20_poly1305}) {
        for (const bool tunnel_mode : {false, true}) {
            for (const bool udp : {false, true}) {
                for (const char* remote : {"10.0.0.2", "fd00::2"}) {
                    EspTunnel tunnel = configured("t1");
                    tunnel.remote = ip(remote);
                    tunnel.local = ip(tunnel.remote.is_v4() ? "10.0.0.1" : "fd00::1");
                    tunnel.esp->algorithm = algorithm;
                    const std::size_t key = tunnels::row_of(algorithm).key_bytes();
                    tunnel.esp->key_in = secret("in" + std::to_string(uptime_s_), key);
                    tunnel.esp->key_out = secret("out" + std::to_string(uptime_s_), key);
                    tunnel.esp->mode = tunnel_mode ? EspMode::tunnel : EspMode::transport;
                    if (udp) {
                        tunnel.esp->udp_encap = UdpEncapsulation{};
                    }
                    EspTunnel keyless = tunnel;
                    keyless.local.reset();
                    configure({});
                    configure({keyless});
                    const std::uint32_t before = database_->plain_mtu("t1", 1500);
                    configure({tunnel});
                    ASSERT_NE(out(), nullptr) << trouble();
                    const std::uint32_t plain = database_->plain_mtu("t1", 1500);
                    EXPECT_EQ(before, plain) << "known before the keys";
                    const std::uint32_t header = tunnel.remote.is_v4() ? 20 : 40;
                    EXPECT_LE(sealed(algorithm, header, tunnel_mode, udp, plain), 1500U);
                    EXPECT_GT(sealed(algorithm, header, tunnel_mode, udp, plain + 1), 1500U);
                    tick();
                }
            }
        }
    }
    EXPECT_EQ(database_->plain_mtu("t1", 30), 0U);
}

}  // namespace
}  // namespace culvert::ctl
