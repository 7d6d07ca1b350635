// SPDX-License-Identifier: GPL-2.0-or-later
//
// Interface claims against real frames: each test has a network namespace of its own with a veth
// pair whose far end is in a second one, and the far kernel pings this one. Where the owner flag
// makes no difference, tests run with it and without. Needs root.
//
//   this namespace                 peer namespace
//   near 10.0.0.1/24  <--->  far 10.0.0.2/24
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "firewall/claim.hpp"
#include "firewall/process.hpp"
#include "tests/unit/firewall/output_of.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall {
namespace {

using culvert::test::Child;
using culvert::test::run;
using test::output_of;

std::unique_ptr<InterfaceClaims> open_claims(const std::string& instance, bool use_owner_flag) {
    auto opened = InterfaceClaims::open(instance, use_owner_flag);
    if (!opened) {
        throw std::runtime_error(opened.error());
    }
    return std::move(*opened);
}

void must(const tl::expected<void, std::string>& outcome) {
    if (!outcome) {
        throw std::runtime_error(outcome.error());
    }
}

// Claims in the calling process until that ends.
void claim_for_life(const std::string& instance, const std::string& interface, bool owner_flag) {
    static std::unique_ptr<InterfaceClaims> claims;
    claims = open_claims(instance, owner_flag);
    must(claims->claim(interface));
}

class ClaimTest : public ::testing::Test {
protected:
    ClaimTest() { connect("near"); }

    // A veth pair between `name` here and `far` in the peer's namespace.
    void connect(const std::string& name) const {
        run("ip link add '" + name + "' type veth peer name far");
        peer.take("far");
        peer.run("ip addr add 10.0.0.2/24 dev far");
        peer.run("ip link set far up");
        run("ip addr add 10.0.0.1/24 dev '" + name + "'");
        run("ip link set '" + name + "' up");
    }

    // Whether this namespace's kernel answers the peer. A reply ends the wait, so the time limit
    // of the two differs only in how long silence is listened to.
    [[nodiscard]] bool answers() const { return pings("1"); }
    [[nodiscard]] bool is_silent() const { return !pings("0.3"); }
    [[nodiscard]] bool pings(const std::string& wait_s) const {
        try {
            peer.run("ping -q -c 2 -i 0.2 -W " + wait_s + " 10.0.0.1 >/dev/null");
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    }

    // Every netdev table, one name a line.
    [[nodiscard]] static std::string tables() { return output_of("nft list tables netdev"); }

    static void await_no_tables() {
        for (unsigned tries = 0; tries < 1000 && !tables().empty(); ++tries) {
            usleep(10000);
        }
        EXPECT_EQ(tables(), "");
    }

    culvert::test::PrivateNetwork here;
    culvert::test::PeerNetwork peer;
};

class ClaimEitherWayTest : public ClaimTest, public ::testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(
    OwnerFlag,
    ClaimEitherWayTest,
    ::testing::Bool(),
    [](const ::testing::TestParamInfo<bool>& parameter) {
        return parameter.param ? "WithOwnerFlag" : "WithoutOwnerFlag";
    }
);

// A packet socket on `near`, as the switch has it.
class PacketSocket {
public:
    PacketSocket() : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex("near"));
        const auto* generic = reinterpret_cast<const sockaddr*>(&address);
        culvert::test::require(bind(fd_, generic, sizeof(address)) == 0, "no packet socket");
    }
    ~PacketSocket() { close(fd_); }
    PacketSocket(const PacketSocket&) = delete;
    PacketSocket& operator=(const PacketSocket&) = delete;

    // Frames that wait, of those that came in with this EtherType and that went out.
    struct Count {
        unsigned received = 0;
        unsigned sent = 0;
    };
    [[nodiscard]] Count drain(std::uint16_t ethertype) const {
        Count count;
        std::array<std::uint8_t, 2048> frame{};
        sockaddr_ll from{};
        socklen_t from_bytes = sizeof(from);
        while (recvfrom(
                   fd_,
                   frame.data(),
                   frame.size(),
                   MSG_DONTWAIT,
                   reinterpret_cast<sockaddr*>(&from),
                   &from_bytes
               ) > 0) {
            const bool matches = from.sll_protocol == htons(ethertype);
            if (matches && from.sll_pkttype == PACKET_OUTGOING) {
                ++count.sent;
            } else if (matches) {
                ++count.received;
            }
        }
        return count;
    }

private:
    int fd_;
};

TEST_P(ClaimEitherWayTest, SilencesTheKernelAndLeavesPacketSocketsTheirFrames) {
    ASSERT_TRUE(answers());
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    const PacketSocket packets;
    EXPECT_TRUE(is_silent());
    const auto ip = packets.drain(ETH_P_IP);
    EXPECT_GE(ip.received, 2U) << "the echo requests";
    EXPECT_EQ(ip.sent, 0U);

    // Nor does the kernel answer for its address.
    peer.run("ip neigh flush dev far");
    EXPECT_TRUE(is_silent());
    const auto arp = packets.drain(ETH_P_ARP);
    EXPECT_GE(arp.received, 1U);
    EXPECT_EQ(arp.sent, 0U);

    must(claims->release("near"));
    EXPECT_TRUE(answers());
    EXPECT_EQ(tables(), "");
}

TEST_P(ClaimEitherWayTest, MakesOneNamedTableThatCounts) {
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    EXPECT_TRUE(is_silent());
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
    const std::string text = output_of("nft list table netdev culvert_main_near");
    EXPECT_EQ(text.find("flags owner") != std::string::npos, GetParam()) << text;
    EXPECT_NE(text.find("chain pid_" + std::to_string(getpid()) + "_start_"), std::string::npos);
    EXPECT_NE(
        text.find("type filter hook ingress device \"near\" priority -500; policy drop;"),
        std::string::npos
    ) << text;
    EXPECT_NE(text.find("counter packets"), std::string::npos) << text;
    EXPECT_EQ(text.find("counter packets 0 "), std::string::npos) << text;
}

TEST_P(ClaimEitherWayTest, ClaimsAgainWithoutHarm) {
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    must(claims->claim("near"));
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
    EXPECT_TRUE(is_silent());
    must(claims->release("near"));
    must(claims->release("near"));
    EXPECT_EQ(tables(), "");
}

TEST_P(ClaimEitherWayTest, ReleasesEverythingAtTheEnd) {
    run("ip link add other type veth peer name another");
    auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    must(claims->claim("other"));
    claims.reset();
    EXPECT_EQ(tables(), "");
    EXPECT_TRUE(answers());
}

TEST_P(ClaimEitherWayTest, ClaimsAnInterfaceThatWasDeletedAndMadeAgain) {
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    run("ip link del near");
    const auto missing = claims->claim("near");
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().find("near"), std::string::npos);
    connect("near");
    must(claims->claim("near"));
    EXPECT_TRUE(is_silent());
    must(claims->release("near"));
    EXPECT_TRUE(answers());
    EXPECT_EQ(tables(), "");
}

TEST_P(ClaimEitherWayTest, ReleasesAnInterfaceThatWasDeleted) {
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    run("ip link del near");
    must(claims->release("near"));
    EXPECT_EQ(tables(), "");
}

TEST_P(ClaimEitherWayTest, ClaimsAnInterfaceUnderItsNewName) {
    const auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    run("ip link set near name renamed");
    must(claims->release("near"));
    EXPECT_TRUE(answers());
    must(claims->claim("renamed"));
    EXPECT_TRUE(is_silent());
}

TEST_P(ClaimEitherWayTest, RefusesAnInterfaceOfAnotherRunningProcess) {
    const Child rival([] { claim_for_life("main", "near", GetParam()); });
    for (const char* instance : {"main", "other"}) {
        const auto claims = open_claims(instance, GetParam());
        const auto outcome = claims->claim("near");
        ASSERT_FALSE(outcome) << instance;
        EXPECT_EQ(
            outcome.error(),
            "The interface near is already claimed by process " + std::to_string(rival.pid()) +
                " with the table netdev culvert_main_near; stop that process first."
        );
        must(claims->release("near"));
        EXPECT_EQ(claims->remove_stale(), 0U);
    }
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
    EXPECT_TRUE(is_silent());
}

TEST_P(ClaimEitherWayTest, RefusesASecondClaimOfTheSameProcess) {
    const auto first = open_claims("main", GetParam());
    must(first->claim("near"));
    auto second = open_claims("main", GetParam());
    const auto outcome = second->claim("near");
    ASSERT_FALSE(outcome);
    EXPECT_NE(outcome.error().find("(this process)"), std::string::npos) << outcome.error();
    second.reset();
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
}

TEST_P(ClaimEitherWayTest, RefusesATableThatNobodyOfOursMade) {
    run("nft add table netdev culvert_main_near");
    const auto claims = open_claims("main", GetParam());
    const auto outcome = claims->claim("near");
    ASSERT_FALSE(outcome);
    EXPECT_NE(outcome.error().find("culvert_main_near"), std::string::npos) << outcome.error();
    EXPECT_EQ(claims->remove_stale(), 0U);
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
}

TEST_P(ClaimEitherWayTest, LeavesOtherTablesAsTheyAre) {
    run("nft 'add table inet filter; add chain inet filter input { type filter hook input priority "
        "0; policy accept; }; add rule inet filter input tcp dport 22 accept comment \"ssh\"; "
        "add table netdev ours_not; add chain netdev ours_not in { type filter hook ingress device "
        "\"near\" priority 10; policy accept; }; add rule netdev ours_not in meta mark 7 accept; "
        "add table netdev culvert_main_other; add table netdev culvert_without; "
        "add chain netdev culvert_main_other pid_x_start_y; add table ip culvert_main_near'");
    const auto listing = [] {
        std::string text;
        for (const char* table :
             {"inet filter",
              "netdev ours_not",
              "netdev culvert_main_other",
              "netdev culvert_without",
              "ip culvert_main_near"}) {
            text += output_of("nft -a list table " + std::string(table));
        }
        return text;
    };
    const std::string before = listing();
    ASSERT_NE(before.find("ssh"), std::string::npos);
    auto claims = open_claims("main", GetParam());
    must(claims->claim("near"));
    EXPECT_EQ(listing(), before);
    must(claims->claim("near"));
    EXPECT_EQ(claims->remove_stale(), 0U);
    EXPECT_EQ(listing(), before);
    must(claims->release("near"));
    must(claims->claim("near"));
    claims.reset();
    EXPECT_EQ(listing(), before);
}

TEST_P(ClaimEitherWayTest, TakesUnusualInterfaceNames) {
    const auto claims = open_claims("main", GetParam());
    for (const std::string name :
         {"vif1.0", "eth0.100", "a-b_c", "1st", "we$ird{;#", "\xc3\xa9t'\xc3\xa9"}) {
        SCOPED_TRACE(name);
        const std::string quoted = "\"" + (name[0] == 'w' ? "we\\$ird{;#" : name) + "\"";
        run("ip link set near down; ip link set near name " + quoted);
        run("ip link set " + quoted + " up");
        must(claims->claim(name));
        EXPECT_TRUE(is_silent());
        must(claims->release(name));
        EXPECT_EQ(tables(), "");
        EXPECT_TRUE(answers());
        run("ip link set " + quoted + " name near");
    }
}

TEST_F(ClaimTest, RefusesNamesThatNftablesCannotHold) {
    run("ip link add 'a*' type veth peer name 'b\"'");
    run("ip link add 'a\\b' type veth peer name ab");
    const auto claims = open_claims("main", true);
    for (const std::string name : {"a*", "b\"", "a\\b", "", "0123456789abcdef", "a b"}) {
        const auto outcome = claims->claim(name);
        ASSERT_FALSE(outcome) << name;
        EXPECT_NE(outcome.error().find(name), std::string::npos) << outcome.error();
    }
    const auto missing = claims->claim("nosuch");
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().find("nosuch"), std::string::npos) << missing.error();
    EXPECT_NE(missing.error().find("must exist"), std::string::npos) << missing.error();
    EXPECT_EQ(tables(), "");
}

TEST_F(ClaimTest, RefusesInstanceNamesOutsideTheirAlphabet) {
    for (const std::string instance : {"", "a b", "a.b", "a;b", "a/b"}) {
        const auto opened = InterfaceClaims::open(instance);
        ASSERT_FALSE(opened) << instance;
        EXPECT_NE(opened.error().find("letters, digits"), std::string::npos) << opened.error();
    }
    EXPECT_FALSE(InterfaceClaims::open(std::string(65, 'a')));
    EXPECT_TRUE(InterfaceClaims::open(std::string(64, 'a')));
}

TEST_F(ClaimTest, TellsInstanceAndInterfaceApartInTableNames) {
    run("ip link add b_near type veth peer name another");
    const auto one = open_claims("a_b", true);
    const auto other = open_claims("a", true);
    must(one->claim("near"));
    must(other->claim("b_near"));
    EXPECT_EQ(tables(), "table netdev culvert_a/5fb_near\ntable netdev culvert_a_b_near\n");
}

TEST_F(ClaimTest, VanishesWithAKilledProcess) {
    Child child([] { claim_for_life("main", "near", true); });
    ASSERT_TRUE(is_silent());
    child.kill_and_reap();
    await_no_tables();
    EXPECT_TRUE(answers());
}

TEST_F(ClaimTest, VanishesAlthoughAProgramOfTheKilledProcessRunsOn) {
    auto* program = static_cast<volatile pid_t*>(
        mmap(nullptr, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
    );
    Child child([program] {
        claim_for_life("main", "near", true);
        int started[2];
        culvert::test::require(pipe2(started, O_CLOEXEC) == 0, "a pipe cannot be made");
        const pid_t pid = fork();
        if (pid == 0) {
            execlp("sleep", "sleep", "60", nullptr);
            _exit(1);
        }
        *program = pid;
        // The pipe closes when the program has replaced the fork.
        close(started[1]);
        char byte = 0;
        culvert::test::require(read(started[0], &byte, 1) == 0, "the program did not start");
    });
    ASSERT_FALSE(tables().empty());
    child.kill_and_reap();
    await_no_tables();
    const pid_t pid = *program;
    EXPECT_EQ(kill(pid, 0), 0) << "the program must still run for this to show anything";
    kill(pid, SIGKILL);
    munmap(const_cast<pid_t*>(program), sizeof(pid_t));
}

TEST_F(ClaimTest, SurvivesAFlushOfTheRulesetWithTheOwnerFlag) {
    const auto claims = open_claims("main", true);
    must(claims->claim("near"));
    run("nft flush ruleset");
    EXPECT_TRUE(is_silent());
}

TEST_F(ClaimTest, ClaimsAgainAfterAFlushWithoutTheOwnerFlag) {
    const auto claims = open_claims("main", false);
    must(claims->claim("near"));
    run("nft flush ruleset");
    EXPECT_TRUE(answers());
    must(claims->claim("near"));
    EXPECT_TRUE(is_silent());
    run("nft flush ruleset");
    must(claims->release("near"));
}

TEST_F(ClaimTest, RemovesWhatAKilledProcessLeftWithoutTheOwnerFlag) {
    Child child([] { claim_for_life("main", "near", false); });
    const auto claims = open_claims("other", false);
    EXPECT_EQ(claims->remove_stale(), 0U) << "the process runs";
    child.kill_hard();
    child.wait_for_end();
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
    EXPECT_TRUE(is_silent());
    // It counts as gone from its end on, not only when it was reaped.
    EXPECT_EQ(claims->remove_stale(), 1U);
    EXPECT_EQ(tables(), "");
    EXPECT_TRUE(answers());
    EXPECT_EQ(claims->remove_stale(), 0U);
}

TEST_F(ClaimTest, RemovesWhatIsLeftOfAClaimWhoseInterfaceIsGoneToo) {
    Child child([] { claim_for_life("main", "near", false); });
    run("ip link del near");
    child.kill_and_reap();
    const auto claims = open_claims("main", true);
    EXPECT_EQ(claims->remove_stale(), 1U);
    EXPECT_EQ(tables(), "");
}

TEST_F(ClaimTest, TellsAProcessFromALaterOneWithItsNumber) {
    Child child([] { claim_for_life("main", "near", false); });
    // The same table as made by a process with this number that started at another time.
    run("nft list table netdev culvert_main_near | "
        "sed -E 's/_start_[0-9]+/_start_1/; s/culvert_main_near/culvert_old_near/' | nft -f -");
    const auto claims = open_claims("main", false);
    EXPECT_EQ(claims->remove_stale(), 1U);
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
}

TEST_F(ClaimTest, TakesOverFromADeadProcessWithoutTheOwnerFlag) {
    Child child([] { claim_for_life("old", "near", false); });
    child.kill_and_reap();
    Child same([] { claim_for_life("main", "near", false); });
    same.kill_and_reap();
    const auto claims = open_claims("main", true);
    must(claims->claim("near"));
    EXPECT_EQ(tables(), "table netdev culvert_main_near\n");
    EXPECT_NE(
        output_of("nft list table netdev culvert_main_near").find("flags owner"), std::string::npos
    );
    must(claims->release("near"));
    EXPECT_TRUE(answers());
}

TEST_F(ClaimTest, SaysWhatIsMissingWithoutPrivilege) {
    const Child child([] {
        culvert::test::require(setresuid(65534, 65534, 65534) == 0, "the user cannot be changed");
        const auto opened = InterfaceClaims::open("main");
        if (opened || opened.error().find("CAP_NET_ADMIN") == std::string::npos) {
            throw std::runtime_error(opened ? "it opened" : opened.error());
        }
    });
}

// Claims where nftables has no netdev chains: rules of iptables' table raw.
class RawClaimTest : public ClaimTest {
protected:
    static std::unique_ptr<InterfaceClaims> open_raw(const std::string& instance) {
        auto opened = InterfaceClaims::open_raw(instance);
        if (!opened) {
            throw std::runtime_error(opened.error());
        }
        return std::move(*opened);
    }
    static void claim_raw_for_life(const std::string& instance, const std::string& interface) {
        static std::unique_ptr<InterfaceClaims> claims;
        claims = open_raw(instance);
        must(claims->claim(interface));
    }
    [[nodiscard]] static std::string rules() {
        return output_of(
            "iptables-legacy -t raw -S PREROUTING; ip6tables-legacy -t raw -S PREROUTING"
        );
    }
    static constexpr const char* kEmpty = "-P PREROUTING ACCEPT\n-P PREROUTING ACCEPT\n";
};

TEST_F(RawClaimTest, SilencesTheKernelAndLeavesPacketSocketsTheirFrames) {
    const auto claims = open_raw("main");
    EXPECT_FALSE(claims->covers_arp());
    EXPECT_TRUE(answers());
    const PacketSocket frames;
    must(claims->claim("near"));
    static_cast<void>(frames.drain(ETH_P_IP));
    EXPECT_TRUE(is_silent());
    EXPECT_GT(frames.drain(ETH_P_IP).received, 0U);
    must(claims->release("near"));
    EXPECT_TRUE(answers());
    EXPECT_EQ(rules(), kEmpty);
    must(claims->release("near"));
}

TEST_F(RawClaimTest, WritesOneMarkedRuleForEachFamilyThatIptablesKnows) {
    const auto claims = open_raw("main");
    must(claims->claim("near"));
    must(claims->claim("near"));
    const std::string comment = "culvert claim main " + to_string(*this_process());
    const std::string rule = "PREROUTING -i near -m comment --comment \"" + comment + "\" -j DROP";
    const std::string family = "-P PREROUTING ACCEPT\n-A " + rule + "\n";
    EXPECT_EQ(rules(), family + family);
    run("iptables-legacy -t raw -D " + rule);
    EXPECT_TRUE(answers());
    must(claims->claim("near"));
    EXPECT_EQ(rules(), family + family);
}

TEST_F(RawClaimTest, LeavesOtherRulesAsTheyAreAndNothingAtTheEnd) {
    run("iptables-legacy -t raw -A PREROUTING -i near -p tcp --dport 7 -j DROP");
    run("iptables-legacy -t raw -A PREROUTING -i near -m comment --comment 'culvert claim x' -j "
        "DROP"
        " -p icmp ! --icmp-type any");
    run("iptables-legacy -t raw -A PREROUTING -i nea+ -m comment --comment "
        "'culvert claim x pid_1_start_1' -j ACCEPT");
    const std::string before = rules();
    {
        const auto claims = open_raw("main");
        EXPECT_EQ(claims->remove_stale(), 0U);
        must(claims->claim("near"));
        EXPECT_NE(rules(), before);
    }
    EXPECT_EQ(rules(), before);
}

TEST_F(RawClaimTest, RemovesWhatAKilledProcessLeft) {
    Child child([] { claim_raw_for_life("main", "near"); });
    const auto claims = open_raw("other");
    EXPECT_EQ(claims->remove_stale(), 0U) << "the process runs";
    const auto refused = claims->claim("near");
    ASSERT_FALSE(refused);
    const std::string holder = "process " + std::to_string(child.pid());
    EXPECT_NE(refused.error().find(holder), std::string::npos) << refused.error();
    child.kill_hard();
    child.wait_for_end();
    EXPECT_TRUE(is_silent());
    EXPECT_EQ(claims->remove_stale(), 1U);
    EXPECT_EQ(rules(), kEmpty);
    EXPECT_EQ(claims->remove_stale(), 0U);
    EXPECT_TRUE(answers());
}

TEST_F(RawClaimTest, TakesOverFromADeadProcess) {
    Child child([] { claim_raw_for_life("old", "near"); });
    child.kill_and_reap();
    const auto claims = open_raw("main");
    must(claims->claim("near"));
    EXPECT_EQ(rules().find(" old "), std::string::npos);
    EXPECT_TRUE(is_silent());
    must(claims->release("near"));
    EXPECT_EQ(rules(), kEmpty);
}

}  // namespace
}  // namespace culvert::firewall
