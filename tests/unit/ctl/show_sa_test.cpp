// SPDX-License-Identifier: GPL-2.0-or-later
//
// Security associations as they are shown, and a tunnel's keys in a database.
#include "ctl/show_sa.hpp"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ctl/tunnel_encryption.hpp"

namespace culvert::ctl {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::Pair;

SaStatus outbound() {
    SaStatus status;
    status.tunnel = "t1";
    status.outbound = true;
    status.current = true;
    status.spi = 0x1001;
    status.source = *tunnels::IpAddress::parse("10.0.0.1");
    status.destination = *tunnels::IpAddress::parse("fd00::2");
    status.algorithm = tunnels::EspAlgorithm::aes_gcm_256;
    status.algorithm_name = "aes-gcm-256";
    status.extended = true;
    status.age_s = 12;
    status.packets = 34;
    status.bytes = 5600;
    status.sequence = 34;
    status.hard.packets = 100;
    status.left.packets = 66;
    return status;
}

SaStatus inbound() {
    SaStatus status = outbound();
    status.outbound = false;
    status.by_ike = true;
    status.spi = 0x1000;
    status.mode = EspMode::tunnel;
    status.udp_source = 4500;
    status.udp_destination = 4501;
    status.replay_window = 1024;
    status.replayed = 3;
    status.late = 4;
    status.not_authentic = 5;
    status.malformed = 6;
    return status;
}

TEST(ShowSa, ATableHasALineForEach) {
    EXPECT_EQ(
        association_table({outbound(), inbound()}).to_text(),
        "tunnel  direction  spi         algorithm    age_s  packets  bytes  replay_drops  left_s  "
        "left_packets  left_bytes  state     trouble\n"
        "t1      out        0x00001001  aes-gcm-256     12       34   5600             -       -  "
        "          66           -  in use    -\n"
        "t1      in         0x00001000  aes-gcm-256     12       34   5600             7       -  "
        "          66           -  accepted  -\n"
    );
    const Json json = association_table({inbound()}).to_json();
    EXPECT_EQ(json[0]["replay_drops"], 7);
    EXPECT_EQ(json[0]["left_s"], nullptr);
}

TEST(ShowSa, AStateIsOneWord) {
    SaStatus status = outbound();
    status.soft_expired = true;
    EXPECT_EQ(state_word(status), "expiring");
    status.current = false;
    EXPECT_EQ(state_word(status), "waits") << "until an older one is deleted";
    status.trouble = "its key is too short";
    EXPECT_EQ(state_word(status), "not used");
    status = inbound();
    status.current = false;
    EXPECT_EQ(state_word(status), "not used");
}

TEST(ShowSa, AllOfOne) {
    EXPECT_EQ(association_json(inbound()), Json::parse(R"({
        "spi": "0x00001000", "direction": "in", "tunnel": "t1", "state": "accepted",
        "trouble": null, "keys": "ike", "algorithm": "aes-gcm-256", "mode": "tunnel",
        "source": "10.0.0.1", "destination": "fd00::2", "udp_source": 4500,
        "udp_destination": 4501, "esn": true, "sequence": 34, "age_s": 12, "packets": 34,
        "bytes": 5600, "replay_window": 1024,
        "drops": {"replayed": 3, "late": 4, "not_authentic": 5, "malformed": 6},
        "soft": {"bytes": null, "packets": null, "seconds": null},
        "hard": {"bytes": null, "packets": 100, "seconds": null},
        "left": {"bytes": null, "packets": 66, "seconds": null}, "soft_expired": false})"));
    const Json json = association_json(outbound());
    EXPECT_EQ(json["keys"], "configured");
    EXPECT_EQ(json["udp_source"], nullptr);
    EXPECT_FALSE(json.contains("drops"));
}

TEST(TunnelEncryption, HasKeysInADatabase) {
    TunnelEncryption state;
    EXPECT_THAT(interface_status_of(state), ElementsAre(Pair("esp", "no key")));
    state.trouble = "nobody answers";
    EXPECT_THAT(
        interface_status_of(state),
        ElementsAre(Pair("esp", "no key"), Pair("esp_trouble", "nobody answers"))
    );
    state = {true, 0x1000, 0xfedcba98, tunnels::EspAlgorithm::chacha20_poly1305, ""};
    EXPECT_THAT(
        interface_status_of(state),
        ElementsAre(
            Pair("esp", "established"),
            Pair("esp_algorithm", "chacha20-poly1305"),
            Pair("esp_spi_in", "0x00001000"),
            Pair("esp_spi_out", "0xfedcba98")
        )
    );
}

}  // namespace
}  // namespace culvert::ctl
