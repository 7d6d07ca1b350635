// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the daemon keeps open for which tunnels.

#include "ctl/kept_openings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string tunnel(const std::string& name, const std::string& type, const std::string& remote) {
    return "[[tunnel]]\nname = \"" + name + "\"\nbridge = \"br0\"\ntype = \"" + type +
           "\"\nremote_ip = \"" + remote + "\"\n";
}

/// "gre from 192.0.2.2 (IPv4)".
std::vector<std::string> openings(ManagePolicy manage, const std::string& tunnels) {
    std::vector<std::string> texts;
    for (const firewall::Selector& selector :
         kept_openings(manage, state_of(kBridge + tunnels).tunnels)) {
        const bool is_v4 = selector.family == firewall::Family::ipv4;
        texts.push_back(to_string(selector) + (is_v4 ? " (IPv4)" : " (IPv6)"));
    }
    return texts;
}

TEST(KeptOpenings, OffIsNothing) {
    EXPECT_THAT(openings(ManagePolicy::off, tunnel("t1", "gre", "192.0.2.2")), IsEmpty());
}

TEST(KeptOpenings, GreIsFromEverywhereWhateverTheTunnels) {
    for (const std::string& tunnels : {std::string(), tunnel("t1", "vxlan", "192.0.2.2")}) {
        EXPECT_THAT(openings(ManagePolicy::gre, tunnels), ElementsAre("gre (IPv4)", "gre (IPv6)"));
    }
}

TEST(KeptOpenings, OfTunnelsEachTypeIsFromItsRemoteAddresses) {
    EXPECT_THAT(openings(ManagePolicy::tunnels, ""), IsEmpty());
    EXPECT_THAT(
        openings(
            ManagePolicy::tunnels,
            tunnel("t1", "gre", "192.0.2.2") + "key = 1\n" + tunnel("t2", "gre", "192.0.2.2") +
                "key = 2\n" + tunnel("t3", "gre", "fd20::2") + tunnel("t4", "vxlan", "192.0.2.3") +
                "dst_port = 8472\n" + tunnel("t5", "geneve", "fd20::3")
        ),
        ElementsAre(
            "gre from 192.0.2.2 (IPv4)",
            "gre from fd20::2 (IPv6)",
            "udp to port 8472 from 192.0.2.3 (IPv4)",
            "udp to port 6081 from fd20::3 (IPv6)"
        )
    );
}

TEST(KeptOpenings, OfAnEncryptedTunnelEspIsOpenBesideWhatItCarries) {
    const std::string esp = "[tunnel.esp]\nspi_in = 256\nspi_out = 256\nkey_in_file = \"/a\"\n"
                            "key_out_file = \"/b\"\n";
    EXPECT_THAT(
        openings(ManagePolicy::tunnels, tunnel("t1", "gre", "192.0.2.2") + esp),
        ElementsAre("gre from 192.0.2.2 (IPv4)", "esp from 192.0.2.2 (IPv4)")
    );
    EXPECT_THAT(
        openings(
            ManagePolicy::tunnels,
            tunnel("t1", "vxlan", "fd20::2") + esp + "udp_encap = { local_port = 5000 }\n"
        ),
        ElementsAre("udp to port 4789 from fd20::2 (IPv6)", "udp to port 5000 from fd20::2 (IPv6)")
    );
    EXPECT_THAT(
        openings(
            ManagePolicy::tunnels,
            tunnel("t1", "gre", "192.0.2.2") + "key = 1\n[tunnel.ike]\npsk_file = \"/a\"\n" +
                tunnel("t2", "gre", "192.0.2.2") + "key = 2\n[tunnel.ike]\npsk_file = \"/b\"\n"
        ),
        ElementsAre(
            "gre from 192.0.2.2 (IPv4)",
            "esp from 192.0.2.2 (IPv4)",
            "udp to port 500 from 192.0.2.2 (IPv4)",
            "udp to port 4500 from 192.0.2.2 (IPv4)"
        )
    );
}

TEST(KeptOpenings, ATunnelOfAnyPeerIsOpenToAll) {
    EXPECT_THAT(
        openings(
            ManagePolicy::tunnels,
            tunnel("t1", "vxlan", "192.0.2.2") + tunnel("t2", "vxlan", "flow") + "key = 7\n"
        ),
        ElementsAre("udp to port 4789 (IPv4)", "udp to port 4789 (IPv6)")
    );
}

}  // namespace

}  // namespace culvert::ctl
