// SPDX-License-Identifier: GPL-2.0-or-later
//
// [tunnel.esp], [tunnel.ike] and [ike] in the configuration file: what their keys mean, and the
// sentence for each mistake, also for those that two tunnels make together.
#include "ctl/toml_esp.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/tunnel_options.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;

/// The section begins at line 8.
const std::string kEsp = kGre + "[tunnel.esp]\n";
/// All that it must have, lines 9-12.
const std::string kEspKeys = "spi_in = 0x1001\nspi_out = 0x1002\nkey_in_file = \"/k/in\"\n"
                             "key_out_file = \"/k/out\"\n";
const std::string kFull = kEsp + kEspKeys;
const std::string kIke = kGre + "[tunnel.ike]\n";
const std::string kOfEsp = ": [tunnel.esp] of \"t1\": ";
const std::string kOfIke = ": [tunnel.ike] of \"t1\": ";
const std::string kAlgorithms = "\"aes-gcm-128\", \"aes-gcm-256\", \"aes-cbc-128-sha256\", "
                                "\"aes-cbc-256-sha256\", \"chacha20-poly1305\"";

EspConfig esp_of(const std::string& text) {
    return tunnel_of(text).esp.value_or(EspConfig{});
}

/// Another tunnel with its own [tunnel.esp], on lines 13-22.
std::string second(std::string_view remote_ip, std::string_view spi_in, std::string_view spi_out) {
    return concat(
        {"[[tunnel]]\nname = \"t2\"\nbridge = \"br0\"\ntype = \"gre\"\nkey = 2\nremote_ip = \"",
         remote_ip,
         "\"\n[tunnel.esp]\nspi_in = ",
         spi_in,
         "\nspi_out = ",
         spi_out,
         "\nkey_in_file = \"/k/2in\"\nkey_out_file = \"/k/2out\"\n"}
    );
}

TEST(TomlEsp, ATunnelIsInClearWithoutASection) {
    EXPECT_FALSE(tunnel_of(kGre).is_encrypted());
    EXPECT_TRUE(tunnel_of(kFull).is_encrypted());
    EXPECT_TRUE(tunnel_of(kIke + "psk_file = \"/k/psk\"\n").is_encrypted());
}

TEST(TomlEsp, DefaultsAreTheDocumentedOnes) {
    EspConfig expected;
    expected.spi_in = 0x1001;
    expected.spi_out = 0x1002;
    expected.key_in_file = "/k/in";
    expected.key_out_file = "/k/out";
    const EspConfig esp = esp_of(kFull);
    EXPECT_EQ(esp, expected);
    EXPECT_EQ(esp.algorithm, tunnels::EspAlgorithm::aes_gcm_256);
    EXPECT_EQ(esp.mode, EspMode::transport);
    EXPECT_TRUE(esp.esn);
    EXPECT_EQ(esp.replay_window, 1024U);
    EXPECT_EQ(esp.origin.line, 8U);
}

TEST(TomlEsp, ReadsEveryKey) {
    const EspConfig esp = esp_of(
        kFull + "algorithm = \"chacha20-poly1305\"\nmode = \"tunnel\"\nesn = false\n"
                "replay_window = 4096\nudp_encap = true\nsoft_bytes = 1\nsoft_packets = 2\n"
                "soft_s = 3\nhard_bytes = 4\nhard_packets = 5\nhard_s = 9223372036854775807\n"
    );
    EXPECT_EQ(esp.algorithm, tunnels::EspAlgorithm::chacha20_poly1305);
    EXPECT_EQ(esp.mode, EspMode::tunnel);
    EXPECT_FALSE(esp.esn);
    EXPECT_EQ(esp.replay_window, 4096U);
    EXPECT_EQ(esp.udp_encap, (UdpEncapsulation{4500, 4500}));
    EXPECT_EQ(esp.soft, (SaLifetime{1, 2, 3}));
    EXPECT_EQ(esp.hard, (SaLifetime{4, 5, 9223372036854775807}));
}

TEST(TomlEsp, EveryAlgorithmThatEncryptsIsRead) {
    for (const tunnels::EspAlgorithmRow& row : tunnels::kEspAlgorithms) {
        const std::string text = kFull + concat({"algorithm = \"", row.name, "\"\n"});
        if (row.encrypts) {
            EXPECT_EQ(esp_of(text).algorithm, row.algorithm) << row.name;
        } else {
            std::string expected = "f:13" + kOfEsp + "algorithm = \"";
            expected += row.name;
            expected += "\" does not encrypt, it only proves where packets are from; valid: ";
            expected += kAlgorithms;
            EXPECT_EQ(error_of(text), expected);
        }
    }
    EXPECT_EQ(
        error_of(kFull + "algorithm = \"des\"\n"),
        "f:13" + kOfEsp + "algorithm = \"des\" is unknown; valid: " + kAlgorithms
    );
}

TEST(TomlEsp, UdpEncapsulationIsATruthValueOrPorts) {
    EXPECT_FALSE(esp_of(kFull + "udp_encap = false\n").udp_encap.has_value());
    EXPECT_EQ(
        esp_of(kFull + "udp_encap = { local_port = 5000, remote_port = 6000 }\n").udp_encap,
        (UdpEncapsulation{5000, 6000})
    );
    EXPECT_EQ(
        esp_of(kFull + "udp_encap = { remote_port = 6000 }\n").udp_encap,
        (UdpEncapsulation{4500, 6000})
    );
    expect_refusals({
        {kFull + "udp_encap = 4500\n",
         "f:13" + kOfEsp +
             "\"udp_encap\" must be true, false or { local_port = 4500, remote_port = 4500 }, got "
             "the integer 4500"},
        {kFull + "udp_encap = { port = 1 }\n",
         "f:13: [tunnel.esp.udp_encap] of \"t1\": unknown key \"port\"; valid: local_port, "
         "remote_port"},
        {kFull + "udp_encap = { local_port = 0 }\n",
         "f:13: [tunnel.esp.udp_encap] of \"t1\": local_port = 0 is out of range; valid: 1-65535"},
    });
}

TEST(TomlEsp, RefusesWhatIsMissingOrOutOfRange) {
    expect_refusals({
        {kEsp + "spi_out = 256\nkey_in_file = \"/a\"\nkey_out_file = \"/b\"\n",
         "f:8" + kOfEsp + "spi_in is missing; valid: 256-4294967295"},
        {kEsp + "spi_in = 256\nkey_in_file = \"/a\"\nkey_out_file = \"/b\"\n",
         "f:8" + kOfEsp + "spi_out is missing; valid: 256-4294967295"},
        {kEsp + "spi_in = 256\nspi_out = 256\nkey_out_file = \"/b\"\n",
         "f:8" + kOfEsp +
             "key_in_file is missing; valid: the path of a file with a key in hexadecimal"},
        {kEsp + "spi_in = 256\nspi_out = 256\nkey_in_file = \"/b\"\n",
         "f:8" + kOfEsp +
             "key_out_file is missing; valid: the path of a file with a key in hexadecimal"},
        {kEsp + "spi_in = 255\n",
         "f:9" + kOfEsp + "spi_in = 255 is out of range; valid: 256-4294967295"},
        {kEsp + "spi_in = 4294967296\n",
         "f:9" + kOfEsp + "spi_in = 4294967296 is out of range; valid: 256-4294967295"},
        {kEsp + "spi_in = 256\nspi_out = 256\nkey_in_file = \"a\"\n",
         "f:11" + kOfEsp +
             "key_in_file = \"a\" is not an absolute path; valid: an absolute path of at most 4095 "
             "bytes"},
        {kEsp + "spi_in = 256\nspi_out = 256\nkey_in_file = \"/a\"\nkey_out_file = \"/a\"\n",
         "f:12" + kOfEsp +
             "key_out_file = \"/a\" is key_in_file too, and two senders with one key break its "
             "encryption; valid: a key for each direction"},
        {kFull + "mode = \"beet\"\n",
         "f:13" + kOfEsp + "mode = \"beet\" is unknown; valid: \"transport\", \"tunnel\""},
        {kFull + "replay_window = 32\n",
         "f:13" + kOfEsp + "replay_window = 32 is out of range; valid: 64-4096"},
        {kFull + "replay_window = 4097\n",
         "f:13" + kOfEsp + "replay_window = 4097 is out of range; valid: 64-4096"},
        {kFull + "replay_window = 100\n",
         "f:13" + kOfEsp +
             "replay_window = 100 is not a multiple of 64; valid: 64-4096, a multiple of 64"},
        {kFull + "key = \"00\"\n",
         "f:13" + kOfEsp +
             "unknown key \"key\"; valid: algorithm, mode, spi_in, spi_out, key_in_file, "
             "key_out_file, esn, replay_window, udp_encap, soft_bytes, soft_packets, soft_s, "
             "hard_bytes, hard_packets, hard_s"},
    });
}

TEST(TomlEsp, ASoftEndComesNotAfterTheHardOne) {
    for (const std::string_view what : {"bytes", "packets", "s"}) {
        const std::string keys = concat({"soft_", what, " = 6\nhard_", what, " = "});
        EXPECT_TRUE(tunnel_of(kFull + keys + "6\n").esp.has_value());
        EXPECT_EQ(
            error_of(kFull + keys + "5\n"),
            concat(
                {"f:13",
                 kOfEsp,
                 "soft_",
                 what,
                 " = 6 is above hard_",
                 what,
                 " = 5, so that it would never be reached; valid: 1-5"}
            )
        );
    }
}

TEST(TomlEsp, NeedsOnePeerAndOneSourceOfKeys) {
    const std::string flow = tunnel_text("gre", "flow");
    const std::string reason = "needs one peer, and remote_ip = \"flow\" is any; valid: an "
                               "address in remote_ip, or no encryption";
    expect_refusals({
        {flow + "[tunnel.esp]\n" + kEspKeys, "f:8: [[tunnel]] \"t1\": esp " + reason},
        {flow + "[tunnel.ike]\npsk_file = \"/a\"\n", "f:8: [[tunnel]] \"t1\": ike " + reason},
        {kFull + "[tunnel.ike]\npsk_file = \"/a\"\n",
         "f:13: [[tunnel]] \"t1\": ike cannot stand beside esp, whose keys are configured; valid: "
         "[tunnel.esp] or [tunnel.ike], not both"},
    });
}

TEST(TomlEsp, TunnelsOfEveryTypeAreEncrypted) {
    for (const tunnels::ProtocolDescriptor& protocol : tunnels::kProtocols) {
        EXPECT_TRUE(tunnel_of(tunnel_text(protocol.name) + "[tunnel.esp]\n" + kEspKeys).esp)
            << protocol.name;
    }
    EXPECT_TRUE(tunnel_of(tunnel_text("gre", "fd20::2") + "[tunnel.esp]\n" + kEspKeys).esp);
}

TEST(TomlEsp, SpisTellTunnelsApart) {
    EXPECT_EQ(state_of(kFull + second("192.0.2.3", "0x1003", "0x1002")).tunnels.size(), 2U);
    EXPECT_EQ(state_of(kFull + second("fd20::3", "0x1001", "0x1002")).tunnels.size(), 2U)
        << "IPv4 and IPv6 have different local addresses";
    const std::string first = "[[tunnel]] \"t1\" (f:3)";
    expect_refusals({
        {kFull + second("192.0.2.3", "0x1001", "0x1002"),
         "f:19: [tunnel.esp] of \"t2\": spi_in = 0x1001 is that of " + first +
             ", whose packets come to the same address; valid: an SPI for each tunnel"},
        {kFull + second("192.0.2.2", "0x1003", "0x1002"),
         "f:19: [tunnel.esp] of \"t2\": spi_out = 0x1002 is that of " + first +
             ", to the same remote_ip; valid: an SPI for each tunnel"},
    });
}

TEST(TomlEsp, EqualSpisMayComeToDifferentLocalAddresses) {
    const auto on = [](std::string_view a, std::string_view b) {
        return kGre + "local_ip = \"" + std::string(a) + "\"\n[tunnel.esp]\n" + kEspKeys +
               concat(
                   {"[[tunnel]]\nname = \"t2\"\nbridge = \"br0\"\ntype = \"gre\"\nremote_ip = "
                    "\"192.0.2.3\"\nlocal_ip = \"",
                    b,
                    "\"\n[tunnel.esp]\n",
                    kEspKeys}
               );
    };
    EXPECT_EQ(state_of(on("192.0.2.1", "192.0.2.9")).tunnels.size(), 2U);
    EXPECT_THAT(error_of(on("192.0.2.1", "192.0.2.1")), HasSubstr("spi_in = 0x1001 is that of"));
}

TEST(TomlEsp, APortOfEspInUdpCarriesNoTunnelInClear) {
    const std::string plain = "[[tunnel]]\nname = \"t2\"\nbridge = \"br0\"\ntype = \"vxlan\"\n"
                              "remote_ip = \"192.0.2.3\"\ndst_port = ";
    EXPECT_EQ(state_of(kFull + plain + "4500\n").tunnels.size(), 2U);
    const std::string at = ": [[tunnel]] \"t2\": dst_port = ";
    const std::string end = " of [[tunnel]] \"t1\" (f:3); valid: another UDP port";
    expect_refusals({
        {kFull + "udp_encap = true\n" + plain + "4500\n",
         "f:14" + at + "4500 is the port of ESP in UDP" + end},
        {kFull + "udp_encap = { local_port = 5000 }\n" + plain + "5000\n",
         "f:14" + at + "5000 is the port of ESP in UDP" + end},
        {kIke + "psk_file = \"/a\"\n" + plain + "4500\n",
         "f:10" + at + "4500 is the port of IKE and ESP in UDP" + end},
        {kIke + "psk_file = \"/a\"\n" + plain + "500\n",
         "f:10" + at + "500 is the port of IKE" + end},
    });
}

TEST(TomlIke, ReadsEveryKey) {
    const TunnelConfig psk = tunnel_of(kIke + "psk_file = \"/k/psk\"\nudp_encap = true\n");
    EXPECT_EQ(psk.ike->psk_file, "/k/psk");
    EXPECT_TRUE(psk.ike->psk.empty()) << "files are read after the text";
    EXPECT_TRUE(psk.ike->udp_encap);
    const std::string own = "[ike]\ncertificate = \"/c\"\nprivate_key = \"/k\"\n";
    EXPECT_EQ(tunnel_of(kIke + "remote_cert = \"/peer\"\n" + own).ike->remote_cert, "/peer");
    EXPECT_EQ(
        tunnel_of(kIke + "remote_name = \"host2\"\n" + own + "ca_cert = \"/ca\"\n")
            .ike->remote_name,
        "host2"
    );
}

TEST(TomlIke, ReadsTheDaemon) {
    EXPECT_EQ(state_of("[ike]\n").ike, IkeDaemonConfig{});
    const IkeDaemonConfig ike =
        state_of("[ike]\ncontrol = \"follow\"\nvici = \"/run/v\"\ncertificate = \"/c\"\n"
                 "private_key = \"/k\"\nca_cert = \"/ca\"\nproposals = \"p\"\n"
                 "esp_proposals = \"e\"\nrekey_s = 10\ndpd_s = 0\n")
            .ike;
    EXPECT_EQ(ike.control, IkeControl::follow);
    EXPECT_EQ(ike.vici, "/run/v");
    EXPECT_EQ(ike.certificate, "/c");
    EXPECT_EQ(ike.private_key, "/k");
    EXPECT_EQ(ike.ca_cert, "/ca");
    EXPECT_EQ(ike.proposals, "p");
    EXPECT_EQ(ike.esp_proposals, "e");
    EXPECT_EQ(ike.rekey_s, 10U);
    EXPECT_EQ(ike.dpd_s, 0U);
    expect_refusals({
        {"[ike]\ncontrol = \"auto\"\n",
         "f:2: [ike]: control = \"auto\" is unknown; valid: \"vici\", \"follow\""},
        {"[ike]\nrekey_s = 9\n", "f:2: [ike]: rekey_s = 9 is out of range; valid: 10-86400"},
        {"[ike]\nvici = \"v\"\n",
         "f:2: [ike]: vici = \"v\" is not an absolute path; valid: an absolute path of at most 107 "
         "bytes"},
        {"[ike]\ncertificate = \"/c\"\n",
         "f:2: [ike]: certificate needs the key that belongs to it; valid: private_key beside it"},
        {"[ike]\nprivate_key = \"/c\"\n",
         "f:2: [ike]: private_key needs the certificate that it belongs to; valid: certificate "
         "beside it"},
    });
}

TEST(TomlIke, PeersProveWhoTheyAreInOneWay) {
    const std::string own = "[ike]\ncertificate = \"/c\"\nprivate_key = \"/k\"\n";
    const std::string beside = " cannot stand beside psk_file; valid: a pre-shared key or "
                               "certificates, not both";
    expect_refusals({
        {kIke + "psk_file = \"/a\"\nremote_cert = \"/b\"\n",
         "f:10" + kOfIke + "remote_cert" + beside},
        {kIke + "psk_file = \"/a\"\nremote_name = \"b\"\n",
         "f:10" + kOfIke + "remote_name" + beside},
        {kIke + "remote_cert = \"/a\"\nremote_name = \"b\"\n",
         "f:10" + kOfIke +
             "remote_name cannot stand beside remote_cert; valid: the peer's own certificate, or "
             "the name in one that ca_cert signed"},
        {kIke,
         "f:8" + kOfIke +
             "says nothing by which the peer proves who it is; valid: psk_file, remote_cert or "
             "remote_name, or control = \"follow\" in [ike]"},
        {kIke + "remote_cert = \"/a\"\n",
         "f:8" + kOfIke +
             "remote_cert needs a certificate of this host; valid: certificate and private_key in "
             "[ike]"},
        {kIke + "remote_name = \"a\"\n" + own,
         "f:8" + kOfIke +
             "remote_name needs the certificate of who signed the peer's; valid: ca_cert in [ike]"},
    });
    EXPECT_TRUE(tunnel_of(kIke + "[ike]\ncontrol = \"follow\"\n").ike.has_value());
}

TEST(TomlDaemon, StateFolderIsAnAbsolutePath) {
    EXPECT_EQ(state_of("").daemon.state_dir, "/var/lib/culvert");
    EXPECT_EQ(state_of("[daemon]\nstate_dir = \"/s\"\n").daemon.state_dir, "/s");
    EXPECT_THAT(
        error_of("[daemon]\nstate_dir = \"s\"\n"),
        HasSubstr("state_dir = \"s\" is not an absolute path")
    );
}

TEST(TunnelOptions, ShowHowATunnelIsEncryptedWithoutItsSecrets) {
    TunnelConfig tunnel = tunnel_of(kFull + "udp_encap = { local_port = 1, remote_port = 2 }\n");
    std::vector<std::string> esp;
    for (const TunnelOption& option : tunnel_options(tunnel)) {
        if (option.key.starts_with("esp.") && option.value != OptionValue()) {
            esp.push_back(std::string(option.key) + " " + text_of(option.value));
        }
        EXPECT_TRUE(option.applies || !option.key.starts_with("esp."));
        EXPECT_FALSE(option.applies && option.key.starts_with("ike."));
    }
    EXPECT_THAT(
        esp,
        ::testing::ElementsAre(
            "esp.algorithm aes-gcm-256",
            "esp.mode transport",
            "esp.spi_in 0x1001",
            "esp.spi_out 0x1002",
            "esp.key_in_file /k/in",
            "esp.key_out_file /k/out",
            "esp.esn true",
            "esp.replay_window 1024",
            "esp.udp_encap 1 to 2"
        )
    );
    tunnel.esp.reset();
    tunnel.ike.emplace().psk = PrivateText("open sesame");
    std::string all;
    for (const TunnelOption& option : tunnel_options(tunnel)) {
        all += concat({option.key, " ", text_of(option.value), "\n"});
    }
    EXPECT_THAT(all, HasSubstr("ike.psk true\n"));
    EXPECT_THAT(all, ::testing::Not(HasSubstr("sesame")));
}

}  // namespace
}  // namespace culvert::ctl
