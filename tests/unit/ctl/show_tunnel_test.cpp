// SPDX-License-Identifier: GPL-2.0-or-later
//
// The details of a tunnel: every option that applies to its type, by its configuration word, then
// what was counted; the text holds what the JSON holds.
#include "ctl/show_tunnel.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/config_words.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

SwitchPort switch_port_of(const std::string& text) {
    SwitchPort port;
    port.role = PortRole::tunnel;
    const DesiredState state = state_of(text);
    if (!state.tunnels.empty()) {
        port.tunnel = state.tunnels[0];
        port.name = port.tunnel.name;
        port.vlan = port.tunnel.vlan;
    }
    return port;
}

Json details_of(const std::string& text, const PortTotals& totals = {}) {
    return tunnel_details(
        switch_port_of(text), totals, {{"state", "resolved"}, {"path_mtu", 1500}}
    );
}

TEST(ShowTunnel, NamesEveryOptionWithItsDefault) {
    const Json details = details_of(kTunnel);
    const Json expected = Json::parse(R"({
        "name": "t1", "bridge": "br0", "type": "vxlan", "packet_type": "l2",
        "remote_ip": "192.0.2.2", "local_ip": null, "in_key": null, "out_key": null,
        "dst_port": 4789, "src_port_min": 32768, "src_port_max": 61000, "tos": 0, "ttl": 64,
        "df": true, "csum": false, "udp6_zero_csum_rx": false, "udp6_zero_csum_tx": false,
        "egress_mark": 0, "ecn": "normal", "oversize": "ptb", "gbp": false, "gbp_id": null,
        "gbp_admit": null, "vlan_mode": "trunk",
        "next_hop": {"state": "resolved", "path_mtu": 1500},
        "firewall": {"verdict": "open", "enforced": false, "lets_in": true, "rule": null},
        "counters": {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0},
        "drops": {},
        "ecn_anomalies": {"inner_not_ect_outer_ect0": 0, "inner_not_ect_outer_ect1": 0,
            "inner_not_ect_outer_ce": 0, "inner_ect1_outer_ect0": 0, "inner_ce_outer_ect1": 0}
    })");
    EXPECT_EQ(details.dump(1), expected.dump(1));
}

/// Whatever the file can say about a tunnel is shown.
TEST(ShowTunnel, LeavesOutNoKeyOfTheFile) {
    std::set<std::string, std::less<>> shown{"key", "tag", "trunks", "esp", "ike"};
    const auto show = [&](const std::string& text) {
        const Json details = details_of(text);
        for (const auto& [key, value] : details.items()) {
            shown.insert(key);
        }
    };
    for (const tunnels::ProtocolDescriptor& protocol : tunnels::kProtocols) {
        show(tunnel_text(protocol.name));
    }
    show(
        kGre + "[tunnel.esp]\nspi_in = 256\nspi_out = 256\nkey_in_file = \"/a\"\n"
               "key_out_file = \"/b\"\n"
    );
    show(kGre + "[tunnel.ike]\npsk_file = \"/a\"\n");
    const auto expect_shown = [&](const Section& section, const std::string& prefix) {
        for (const std::string_view key : section.keys) {
            EXPECT_TRUE(shown.contains(prefix + std::string(key))) << prefix << key;
        }
    };
    expect_shown(kTunnelSection, "");
    expect_shown(kTunnelEspSection, "esp.");
    expect_shown(kTunnelIkeSection, "ike.");
}

TEST(ShowTunnel, WordsStandForWhatThePacketsBringAlong) {
    const Json details = details_of(
        tunnel_text("geneve", "flow") +
        "local_ip = \"flow\"\nkey = \"flow\"\ntos = \"inherit\"\nttl = \"inherit\"\n"
        "options = [\"258:0x80:00000001\"]\ntag = 5\n"
    );
    for (const char* key : {"remote_ip", "local_ip", "in_key", "out_key"}) {
        EXPECT_EQ(details[key], "flow") << key;
    }
    EXPECT_EQ(details["tos"], "inherit");
    EXPECT_EQ(details["ttl"], "inherit");
    EXPECT_EQ(details["options"], Json::array({"0x0102:0x80:00000001"}));
    EXPECT_EQ(details["vlan_mode"], "access");
    EXPECT_EQ(details["tag"], 5);
}

TEST(ShowTunnel, OversizeIsTheOneInForce) {
    EXPECT_EQ(details_of(kTunnel + "df = false\n")["oversize"], "fragment-outer");
    EXPECT_EQ(details_of(kTunnel + "df = false\noversize = \"drop\"\n")["oversize"], "drop");
}

TEST(ShowTunnel, CountsDropsByReasonAndEcnByAnomaly) {
    PortTotals totals;
    totals.rx_packets = 1;
    totals.rx_bytes = 2;
    totals.tx_packets = 3;
    totals.tx_bytes = 4;
    totals.drops[static_cast<std::size_t>(tunnels::DropReason::tunnel_mtu_exceeded)] = 5;
    totals.ecn[static_cast<std::size_t>(tunnels::EcnAnomaly::ce_in_ect1)] = 6;
    const Json details = details_of(kTunnel, totals);
    EXPECT_EQ(
        details["counters"],
        Json({{"rx_packets", 1}, {"rx_bytes", 2}, {"tx_packets", 3}, {"tx_bytes", 4}})
    );
    EXPECT_EQ(details["drops"], Json({{"tunnel_mtu_exceeded", 5}}));
    EXPECT_EQ(details["ecn_anomalies"]["inner_ce_outer_ect1"], 6);
    EXPECT_EQ(details["ecn_anomalies"]["inner_not_ect_outer_ce"], 0);
}

TEST(ShowTunnel, TextHoldsWhatTheJsonHolds) {
    const std::string text = tunnel_details_text(details_of(kTunnel + "trunks = [1, 2]\n"));
    EXPECT_THAT(text, HasSubstr("tunnel t1\n    bridge              br0\n"));
    EXPECT_THAT(text, HasSubstr("\n    local_ip            none\n"));
    EXPECT_THAT(text, HasSubstr("\n    trunks              1, 2\n"));
    EXPECT_THAT(text, HasSubstr("\n    next_hop:\n        state                       resolved\n"));
    EXPECT_THAT(text, HasSubstr("\n    drops: none\n"));
    EXPECT_THAT(text, HasSubstr("\n        inner_ce_outer_ect1         0\n"));
}

TEST(ShowTunnel, SaysHowItsEncryptionStands) {
    SwitchPort port = switch_port_of(kTunnel);
    port.tunnel.esp = EspConfig{};
    port.encryption =
        TunnelEncryption{true, 0x1000, 0x1001, tunnels::EspAlgorithm::aes_gcm_256, ""};
    EXPECT_EQ(
        tunnel_details(port, {}, {})["encryption"],
        Json::parse(R"({"state": "established", "keys": "configured", "algorithm": "aes-gcm-256",
            "spi_in": "0x00001000", "spi_out": "0x00001001"})")
    );
    port.tunnel.esp.reset();
    port.tunnel.ike = IkeConfig{};
    port.encryption = TunnelEncryption{};
    port.encryption->trouble = "nobody answers";
    const Json details = tunnel_details(port, {}, {});
    EXPECT_EQ(
        details["encryption"], Json::parse(R"({"state": "no key", "keys": "ike", "algorithm": null,
            "spi_in": null, "spi_out": null, "trouble": "nobody answers"})")
    );
    EXPECT_THAT(tunnel_details_text(details), HasSubstr("encryption:"));
    EXPECT_THAT(tunnel_details_text(details), HasSubstr("no key"));
}

}  // namespace
}  // namespace culvert::ctl
