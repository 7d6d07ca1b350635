// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/ike_connection.hpp"
#include "tests/unit/ctl/addresses.hpp"
#include "tests/unit/ctl/ike_tunnels.hpp"

namespace culvert::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using vici::Message;

/// As its peer has it.
IkeTunnel mirrored(IkeTunnel tunnel) {
    std::swap(tunnel.local, tunnel.remote);
    tunnel.key = swap_key(tunnel.key);
    tunnel.name += "-there";
    return tunnel;
}

const IkeConnection& find(const IkePlan& plan, const std::string& prefix) {
    const auto found =
        std::find_if(plan.connections.begin(), plan.connections.end(), [&](const auto& each) {
            return each.name.starts_with(prefix);
        });
    EXPECT_NE(found, plan.connections.end()) << prefix;
    return *found;
}

/// What is loaded under the connection's name.
const Message& loaded(const IkeConnection& connection) {
    return *connection.load.section(connection.name);
}

const Message& child(const IkeConnection& connection, std::size_t index = 0) {
    return *loaded(connection).section("children")->section(connection.children.at(index).name);
}

std::string id(const IkeConnection& connection, const char* end) {
    return std::string(loaded(connection).section(end)->text("id"));
}

TEST(IkeConnection, OfAPreSharedKeyHasTheTunnelsOwnIdentities) {
    const IkePlan plan = plan_ike({}, {ike_tunnel("t1", "5/6", "secret")}, {});
    const IkeConnection& own = find(plan, "culvert-t1~");
    EXPECT_TRUE(is_of_culvert(own.name));
    const Message& message = loaded(own);
    EXPECT_EQ(message.text("version"), "2");
    EXPECT_THAT(*message.list("local_addrs"), ElementsAre("192.0.2.1"));
    EXPECT_THAT(*message.list("remote_addrs"), ElementsAre("192.0.2.2"));
    EXPECT_THAT(
        *message.list("proposals"),
        ElementsAre("aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519")
    );
    EXPECT_EQ(message.text("encap"), "no");
    EXPECT_EQ(message.text("unique"), "never");
    EXPECT_EQ(message.text("dpd_delay"), "30s");
    EXPECT_EQ(message.section("local")->text("auth"), "psk");
    EXPECT_EQ(id(own, "local"), "keyid:culvert/gre/5/6/192.0.2.1/192.0.2.2");
    EXPECT_EQ(id(own, "remote"), "keyid:culvert/gre/6/5/192.0.2.2/192.0.2.1");
    ASSERT_TRUE(own.secret.has_value());
    EXPECT_EQ(own.secret->id, own.name);
    EXPECT_THAT(own.secret->owners, ElementsAre(id(own, "local"), id(own, "remote")));
    EXPECT_EQ(own.secret->data.reveal(), "secret");

    ASSERT_THAT(own.children, SizeIs(1));
    EXPECT_THAT(own.children[0].name, StartsWith("t1~"));
    EXPECT_THAT(own.children[0].tunnels, ElementsAre("t1"));
    const Message& sa = child(own);
    EXPECT_EQ(sa.text("mode"), "transport");
    EXPECT_EQ(sa.text("policies"), "no");
    EXPECT_EQ(sa.text("reqid"), "1073741824");
    EXPECT_THAT(*sa.list("local_ts"), ElementsAre("dynamic[gre]"));
    EXPECT_THAT(*sa.list("remote_ts"), ElementsAre("dynamic[gre]"));
    EXPECT_THAT(
        *sa.list("esp_proposals"),
        ElementsAre("aes256gcm16-esn", "aes256gcm16", "aes128gcm16-esn", "aes128gcm16")
    );
    EXPECT_EQ(sa.text("start_action"), "none");
    EXPECT_EQ(sa.text("rekey_time"), "3600s");
    EXPECT_EQ(sa.text("life_time"), "3960s");
    EXPECT_EQ(sa.text("rand_time"), "360s");
}

TEST(IkeConnection, EachEndExpectsTheIdentityOfTheOther) {
    IkeTunnel other = ike_tunnel("v", "7", "b");
    other.type = "vxlan";
    other.udp_port = 4789;
    other.local = ip("2001:db8::1");
    other.remote = ip("2001:db8::2");
    for (const IkeTunnel& here : {ike_tunnel("t1", "5/6", "a"), other}) {
        const IkePlan one = plan_ike({}, {here}, {});
        const IkePlan two = plan_ike({}, {mirrored(here)}, {});
        for (std::size_t i = 0; i < 2; ++i) {
            EXPECT_EQ(id(one.connections[i], "local"), id(two.connections[i], "remote"));
            EXPECT_EQ(id(one.connections[i], "remote"), id(two.connections[i], "local"));
            EXPECT_NE(id(one.connections[i], "local"), id(one.connections[i], "remote"));
        }
    }
}

// charon tries each key that has one of the two identities.
TEST(IkeConnection, NoTwoTunnelsShareAnIdentity) {
    std::vector<IkeTunnel> all = {
        ike_tunnel("t1", "5", "a"),
        ike_tunnel("t2", "6", "a"),
        ike_tunnel("t3", "5", "c"),
        ike_tunnel("t4", "5", "d")};
    all[2].remote = ip("192.0.2.3");
    all[3].type = "vxlan";
    all[3].udp_port = 4789;
    all.push_back(all[3]);
    all[4].name = "t5";
    all[4].udp_port = 4790;
    const IkePlan plan = plan_ike({}, all, {});
    std::set<std::string> seen;
    std::size_t count = 0;
    for (const IkeConnection& connection : plan.connections) {
        for (const std::string& owner : connection.secret->owners) {
            seen.insert(owner);
            ++count;
        }
    }
    EXPECT_EQ(seen.size(), count);
    EXPECT_THAT(plan.troubles, IsEmpty());
}

TEST(IkeConnection, TwoThatCouldNotBeToldApartAreRefused) {
    const IkePlan plan = plan_ike({}, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "5", "b")}, {});
    EXPECT_THAT(plan.troubles.at("t2"), HasSubstr("tunnel \"t1\" has the same type, key and"));
    EXPECT_THAT(find(plan, "culvert-t1~").children, SizeIs(1));
    EXPECT_THAT(plan.connections, SizeIs(2));  // And the one in the other manner.
}

TEST(IkeConnection, APeerThatIsNoCulvertIsMetAsOpenVSwitchDoes) {
    IkeTunnel vxlan = ike_tunnel("v1", "9", "secret");
    vxlan.type = "vxlan";
    vxlan.udp_port = 4789;
    const IkePlan plan =
        plan_ike({}, {ike_tunnel("t1", "5", "secret"), vxlan, ike_tunnel("t2", "6", "secret")}, {});
    const IkeConnection& foreign = find(plan, "culvert-ovs-192.0.2.2~");
    EXPECT_TRUE(foreign.foreign);
    EXPECT_EQ(id(foreign, "local"), "192.0.2.1");
    EXPECT_EQ(id(foreign, "remote"), "192.0.2.2");
    EXPECT_THAT(foreign.secret->owners, ElementsAre("192.0.2.2"));
    EXPECT_THAT(
        *loaded(foreign).list("proposals"), ::testing::Contains("aes256gcm16-prfsha256-modp2048")
    );
    ASSERT_THAT(foreign.children, SizeIs(3));
    const std::uint32_t gre = foreign_reqid_of(vxlan.config, 0, vxlan.local, vxlan.remote);
    const std::uint32_t udp = foreign_reqid_of(vxlan.config, 4789, vxlan.local, vxlan.remote);
    EXPECT_THAT(foreign.children[0].name, StartsWith("gre~"));
    EXPECT_THAT(foreign.children[0].tunnels, ElementsAre("t1", "t2"));
    EXPECT_EQ(foreign.children[0].reqid, gre);
    EXPECT_THAT(foreign.children[1].name, StartsWith("udp4789-out~"));
    EXPECT_EQ(foreign.children[1].reqid, udp);
    EXPECT_THAT(*child(foreign, 1).list("local_ts"), ElementsAre("dynamic[udp]"));
    EXPECT_THAT(*child(foreign, 1).list("remote_ts"), ElementsAre("dynamic[udp/4789]"));
    EXPECT_THAT(foreign.children[2].name, StartsWith("udp4789-in~"));
    EXPECT_TRUE(foreign.children[2].inbound_only);
    EXPECT_EQ(foreign.children[2].reqid, udp + 1);
    EXPECT_THAT(*child(foreign, 2).list("local_ts"), ElementsAre("dynamic[udp/4789]"));
    EXPECT_THAT(*child(foreign, 2).list("remote_ts"), ElementsAre("dynamic[udp]"));
    EXPECT_THAT(
        *child(foreign, 2).list("esp_proposals"), ::testing::Contains("aes256gcm16-modp2048")
    );
    EXPECT_EQ(gre % 2, 0U);
    EXPECT_EQ(gre >> 29U, 1U);
    EXPECT_NE(gre, udp);
    EXPECT_NE(udp, foreign_reqid_of(vxlan.config, 4789, vxlan.remote, vxlan.local));
    IkeConfig certificates;
    certificates.remote_name = "host-b";
    const std::uint32_t proven = foreign_reqid_of(certificates, 4789, vxlan.local, vxlan.remote);
    EXPECT_NE(udp, proven) << "who knows the pre-shared key is not who has the certificate";
    certificates.remote_name = "host-c";
    EXPECT_NE(proven, foreign_reqid_of(certificates, 4789, vxlan.local, vxlan.remote));
}

TEST(IkeConnection, SeveralKeysToOnePeerAreNoWayOfOpenVSwitch) {
    const IkePlan plan = plan_ike({}, {ike_tunnel("t1", "5", "a"), ike_tunnel("t2", "6", "b")}, {});
    EXPECT_THAT(plan.connections, SizeIs(2));
    EXPECT_FALSE(plan.connections[0].foreign || plan.connections[1].foreign);
}

TEST(IkeConnection, NamesTellWhatTheyWereMadeOfButNotTheKey) {
    const IkeTunnel before = ike_tunnel("t1", "5", "a");
    IkeDaemonConfig daemon;
    const auto names = [&](const IkeTunnel& some) {
        const IkePlan plan = plan_ike(daemon, {some}, {});
        const IkeConnection& own = find(plan, "culvert-t1~");
        return std::pair(own.name, own.children[0].name);
    };
    const auto first = names(before);
    IkeTunnel other = before;
    other.config.psk = PrivateText("b");
    EXPECT_EQ(names(other), first);
    other.config.udp_encap = true;
    EXPECT_NE(names(other).first, first.first);
    EXPECT_EQ(names(other).second, first.second);
    daemon.rekey_s = 60;
    EXPECT_EQ(names(before).first, first.first);
    EXPECT_NE(names(before).second, first.second);
    daemon = {};
    daemon.proposals = "aes256-sha256-modp2048";
    EXPECT_NE(names(before).first, first.first);
}

TEST(IkeConnection, OthersConnectionsAreNotOurs) {
    for (const char* name :
         {"",
          "culvert-",
          "culvert-t1",
          "culvert-t1~1234567",
          "culvert-t1~1234567g",
          "x~12345678",
          "culvert~12345678",
          "culvert-t1-12345678"}) {
        EXPECT_FALSE(is_of_culvert(name)) << name;
    }
    EXPECT_TRUE(is_of_culvert("culvert-t1~0123abcd"));
}

// ---- Certificates -------------------------------------------------------------------------------

IkeDaemonConfig with_certificates() {
    IkeDaemonConfig daemon;
    daemon.certificate = "own.pem";
    daemon.private_key = "own.key";
    daemon.ca_cert = "ca.pem";
    return daemon;
}

IkeCertificates certificates() {
    return {
        {"own.pem", IkeCertificate{"OWN", "fqdn:host1"}},
        {"ca.pem", IkeCertificate{"CA", "asn1dn:#30"}},
        {"peer.pem", IkeCertificate{"PEER", "fqdn:host2"}}};
}

IkeTunnel by_name(const std::string& name, const std::string& key) {
    IkeTunnel made = ike_tunnel(name, key, "");
    made.config.remote_name = "host2";
    return made;
}

TEST(IkeConnection, CertificatesHaveOneForAllTunnelsToAPeer) {
    const IkeTunnel one = by_name("t1", "5");
    const IkeTunnel two = by_name("t2", "6/7");
    const IkePlan plan = plan_ike(with_certificates(), {one, two}, certificates());
    EXPECT_THAT(plan.troubles, IsEmpty());
    ASSERT_THAT(plan.connections, SizeIs(1));
    const IkeConnection& connection = plan.connections[0];
    EXPECT_THAT(connection.name, StartsWith("culvert-peer-192.0.2.2~"));
    EXPECT_TRUE(connection.certificate);
    EXPECT_FALSE(connection.secret.has_value());
    EXPECT_EQ(loaded(connection).text("unique"), "never");
    const Message& local = *loaded(connection).section("local");
    EXPECT_EQ(local.text("auth"), "pubkey");
    EXPECT_EQ(local.text("id"), "fqdn:host1");
    EXPECT_THAT(*local.list("certs"), ElementsAre("OWN"));
    const Message& remote = *loaded(connection).section("remote");
    EXPECT_EQ(remote.text("id"), "fqdn:host2");
    EXPECT_THAT(*remote.list("cacerts"), ElementsAre("CA"));
    ASSERT_THAT(connection.children, SizeIs(3));  // The last one for all GRE, without a label.
    EXPECT_EQ(child(connection, 0).text("label"), "culvert/gre/5/192.0.2.1/192.0.2.2");
    EXPECT_EQ(child(connection, 0).text("label_mode"), "simple");
    EXPECT_EQ(child(connection, 2).text("label"), "");
    EXPECT_TRUE(connection.children[2].foreign);

    const IkePlan there =
        plan_ike(with_certificates(), {mirrored(two), mirrored(one)}, certificates());
    EXPECT_EQ(child(connection, 1).text("label"), child(there.connections.at(0), 0).text("label"));
    EXPECT_NE(child(connection, 1).text("label"), child(connection, 0).text("label"));
}

TEST(IkeConnection, ATunnelMoreDoesNotRenameItsConnectionOrTheOthersChildren) {
    const IkeTunnel one = by_name("t1", "5");
    const IkePlan before = plan_ike(with_certificates(), {one}, certificates());
    const IkePlan after = plan_ike(with_certificates(), {one, by_name("t2", "6")}, certificates());
    EXPECT_EQ(before.connections.at(0).name, after.connections.at(0).name);
    EXPECT_EQ(
        before.connections.at(0).children.at(0).name, after.connections.at(0).children.at(0).name
    );
}

TEST(IkeConnection, AKnownCertificateNeedsNoAuthority) {
    IkeTunnel some = by_name("t1", "5");
    some.config.remote_name.clear();
    some.config.remote_cert = "peer.pem";
    IkeDaemonConfig daemon = with_certificates();
    daemon.ca_cert.clear();
    const IkePlan plan = plan_ike(daemon, {some}, certificates());
    const Message& remote = *loaded(plan.connections.at(0)).section("remote");
    EXPECT_THAT(*remote.list("certs"), ElementsAre("PEER"));
    EXPECT_EQ(remote.list("cacerts"), nullptr);
    EXPECT_EQ(remote.text("id"), "fqdn:host2");
}

TEST(IkeConnection, ADistinguishedNameIsTakenAsOne) {
    IkeTunnel some = by_name("t1", "5");
    some.config.remote_name = "C=CH, CN=host2";
    const IkePlan plan = plan_ike(with_certificates(), {some}, certificates());
    EXPECT_EQ(id(plan.connections.at(0), "remote"), "asn1dn:C=CH, CN=host2");
}

TEST(IkeConnection, WhatIsMissingForCertificatesIsSaid) {
    const auto trouble = [](const IkeDaemonConfig& daemon, const IkeTunnel& some) {
        IkeCertificates read = certificates();
        read["broken.pem"] = tl::unexpected<std::string>("\"broken.pem\" is broken");
        const IkePlan plan = plan_ike(daemon, {some}, read);
        EXPECT_THAT(plan.connections, IsEmpty());
        return plan.troubles.at("t1");
    };
    IkeDaemonConfig daemon = with_certificates();
    daemon.private_key.clear();
    EXPECT_THAT(trouble(daemon, by_name("t1", "5")), HasSubstr("and the second is not set"));
    daemon.certificate.clear();
    EXPECT_THAT(trouble(daemon, by_name("t1", "5")), HasSubstr("and the first is not set"));
    daemon = with_certificates();
    daemon.ca_cert.clear();
    EXPECT_THAT(trouble(daemon, by_name("t1", "5")), HasSubstr("`remote_name` needs `ca_cert`"));
    daemon = with_certificates();
    daemon.certificate = "broken.pem";
    EXPECT_EQ(trouble(daemon, by_name("t1", "5")), "\"broken.pem\" is broken");
    IkeTunnel nobody = by_name("t1", "5");
    nobody.config.remote_name.clear();
    EXPECT_THAT(trouble(with_certificates(), nobody), HasSubstr("no way to know the peer"));
}

}  // namespace
}  // namespace culvert::ctl
