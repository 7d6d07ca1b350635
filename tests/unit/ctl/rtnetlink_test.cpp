// SPDX-License-Identifier: GPL-2.0-or-later
//
// The rtnetlink parser against messages built here, byte for byte as the kernel lays them out.
// Every input lies in a heap block of exactly its size, so that the address sanitizer sees a read
// past the end.
#include <array>
#include <cstring>
#include <initializer_list>
#include <vector>

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "ctl/underlay.hpp"

#include "tests/unit/ctl/addresses.hpp"

namespace culvert::ctl {
namespace {

using tunnels::IpAddress;
using tunnels::MacAddress;

constexpr unsigned kLowerUp = 1U << 16U;

class RtnetlinkMessage {
public:
    template <class Fixed>
    RtnetlinkMessage(std::uint16_t type, const Fixed& fixed) : bytes_(sizeof(nlmsghdr)) {
        header_.nlmsg_type = type;
        append(&fixed, sizeof(fixed));
    }
    RtnetlinkMessage& attribute(std::uint16_t type, const void* value, std::size_t length) {
        const rtattr header{static_cast<std::uint16_t>(sizeof(rtattr) + length), type};
        append(&header, sizeof(header));
        append(value, length);
        return *this;
    }
    RtnetlinkMessage& text(std::uint16_t type, const char* value) {
        return attribute(type, value, std::strlen(value) + 1);
    }
    RtnetlinkMessage& number(std::uint16_t type, std::uint32_t value) {
        return attribute(type, &value, sizeof(value));
    }
    RtnetlinkMessage& raw(std::initializer_list<std::uint8_t> value) {
        append(std::data(value), value.size());
        return *this;
    }
    [[nodiscard]] std::vector<std::byte> bytes() const {
        auto result = bytes_;
        nlmsghdr header = header_;
        header.nlmsg_len = static_cast<std::uint32_t>(result.size());
        std::memcpy(result.data(), &header, sizeof(header));
        return result;
    }

private:
    void append(const void* data, std::size_t length) {
        const auto* first = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), first, first + length);
        bytes_.resize((bytes_.size() + 3) & ~std::size_t{3});
    }

    std::vector<std::byte> bytes_;
    nlmsghdr header_{};
};

using Events = std::vector<NetlinkEvent>;

std::vector<std::byte> joined(std::initializer_list<std::vector<std::byte>> parts) {
    std::vector<std::byte> all;
    for (const auto& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    all.shrink_to_fit();
    return all;
}

constexpr std::array<std::uint8_t, 6> kMacBytes{0x02, 0, 0, 0, 0, 0x2a};
const MacAddress kMac{kMacBytes};

RtnetlinkMessage
link_message(std::uint16_t type = RTM_NEWLINK, unsigned flags = IFF_UP | kLowerUp) {
    ifinfomsg info{};
    info.ifi_index = 7;
    info.ifi_flags = flags;
    RtnetlinkMessage message(type, info);
    message.text(IFLA_IFNAME, "vif1.0")
        .number(IFLA_MTU, 1500)
        .attribute(IFLA_ADDRESS, kMacBytes.data(), kMacBytes.size());
    return message;
}

RtnetlinkMessage address_message(std::uint8_t prefix_bits = 24) {
    ifaddrmsg info{};
    info.ifa_family = AF_INET;
    info.ifa_prefixlen = prefix_bits;
    info.ifa_index = 7;
    RtnetlinkMessage message(RTM_NEWADDR, info);
    message.attribute(IFA_ADDRESS, ip("10.0.0.9").v4(), 4);
    return message;
}

RtnetlinkMessage neighbour_message(
    std::uint16_t state,
    std::uint16_t type = RTM_NEWNEIGH,
    std::uint8_t family = AF_INET,
    std::uint8_t flags = 0
) {
    ndmsg info{};
    info.ndm_family = family;
    info.ndm_ifindex = 7;
    info.ndm_state = state;
    info.ndm_flags = flags;
    RtnetlinkMessage message(type, info);
    message.attribute(NDA_DST, ip("10.0.0.2").v4(), 4)
        .attribute(NDA_LLADDR, kMacBytes.data(), kMacBytes.size());
    return message;
}

TEST(RtnetlinkParse, ReadsALink) {
    const LinkEvent expected{false, 7, "vif1.0", kMac, 1500, true, true, false, {}};
    EXPECT_EQ(parse_rtnetlink(link_message().bytes()), Events{expected});
}

TEST(RtnetlinkParse, ReadsARemovedLink) {
    const LinkEvent expected{true, 7, "vif1.0", kMac, 1500, false, {}, {}, {}};
    EXPECT_EQ(parse_rtnetlink(link_message(RTM_DELLINK, 0).bytes()), Events{expected});
}

TEST(RtnetlinkParse, CallsALinkUpOnlyWithCarrier) {
    for (const unsigned flags : {0U, unsigned{IFF_UP}, kLowerUp}) {
        const auto events = parse_rtnetlink(link_message(RTM_NEWLINK, flags).bytes());
        ASSERT_EQ(events.size(), 1U);
        EXPECT_FALSE(std::get<LinkEvent>(events[0]).up) << flags;
    }
}

TEST(RtnetlinkParse, TellsWhatIsWantedFromWhatRuns) {
    const auto read = [](unsigned flags) {
        return std::get<LinkEvent>(parse_rtnetlink(link_message(RTM_NEWLINK, flags).bytes()).front()
        );
    };
    EXPECT_TRUE(read(IFF_UP).enabled);
    EXPECT_FALSE(read(IFF_UP).running);
    EXPECT_TRUE(read(IFF_UP | IFF_RUNNING).running);
    EXPECT_FALSE(read(IFF_RUNNING).enabled);
}

TEST(RtnetlinkParse, ReadsAnotherHardwareAddressAsNoMac) {
    ifinfomsg info{};
    info.ifi_index = 7;
    RtnetlinkMessage message(RTM_NEWLINK, info);
    message.text(IFLA_IFNAME, "ib0").number(IFLA_MTU, 2044).number(IFLA_ADDRESS, 1);
    const LinkEvent expected{false, 7, "ib0", {}, 2044, false, {}, {}, {}};
    EXPECT_EQ(parse_rtnetlink(message.bytes()), Events{expected});
}

TEST(RtnetlinkParse, ReadsTheAliasOfALink) {
    auto message = link_message();
    message.text(IFLA_IFALIAS, "culvert: vif1.0");
    const auto events = parse_rtnetlink(message.bytes());
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(std::get<LinkEvent>(events[0]).alias, "culvert: vif1.0");
}

TEST(RtnetlinkParse, AcceptsANameWithoutNulAndRefusesALongOne) {
    ifinfomsg info{};
    info.ifi_index = 7;
    RtnetlinkMessage exact(RTM_NEWLINK, info);
    exact.attribute(IFLA_IFNAME, "abcd", 4).number(IFLA_MTU, 1);
    const LinkEvent expected{false, 7, "abcd", {}, 1, false, {}, {}, {}};
    EXPECT_EQ(parse_rtnetlink(exact.bytes()), Events{expected});
    RtnetlinkMessage too_long(RTM_NEWLINK, info);
    too_long.attribute(IFLA_IFNAME, "0123456789abcdef", 16).number(IFLA_MTU, 1);
    EXPECT_TRUE(parse_rtnetlink(too_long.bytes()).empty());
}

TEST(RtnetlinkParse, PassesOverBridgePortMessages) {
    ifinfomsg info{};
    info.ifi_family = AF_BRIDGE;
    info.ifi_index = 7;
    RtnetlinkMessage message(RTM_DELLINK, info);
    message.text(IFLA_IFNAME, "vif1.0");
    EXPECT_EQ(
        parse_rtnetlink(joined({message.bytes(), address_message().bytes()})),
        (Events{AddressEvent{false, 7, ip("10.0.0.9"), 24}})
    );
}

TEST(RtnetlinkParse, PassesOverLinkMessagesThatDoNotDescribeTheLink) {
    ifinfomsg info{};
    info.ifi_index = 7;
    RtnetlinkMessage message(RTM_NEWLINK, info);
    message.text(IFLA_IFNAME, "wlan0").number(IFLA_WIRELESS, 1);
    EXPECT_TRUE(parse_rtnetlink(message.bytes()).empty());
}

TEST(RtnetlinkParse, PrefersTheLocalAddressToThePeer) {
    auto message = address_message(32);
    message.attribute(IFA_LOCAL, ip("10.0.0.1").v4(), 4);
    EXPECT_EQ(
        parse_rtnetlink(message.bytes()), (Events{AddressEvent{false, 7, ip("10.0.0.1"), 32}})
    );
}

TEST(RtnetlinkParse, ReadsARemovedIpv6Address) {
    ifaddrmsg info{};
    info.ifa_family = AF_INET6;
    info.ifa_prefixlen = 128;
    info.ifa_index = 3;
    RtnetlinkMessage message(RTM_DELADDR, info);
    message.attribute(IFA_ADDRESS, ip("fd00::1").bytes.data(), 16);
    EXPECT_EQ(
        parse_rtnetlink(message.bytes()), (Events{AddressEvent{true, 3, ip("fd00::1"), 128}})
    );
}

TEST(RtnetlinkParse, RefusesContradictoryAddresses) {
    EXPECT_TRUE(parse_rtnetlink(address_message(33).bytes()).empty());
    auto wrong_size = address_message();
    wrong_size.attribute(IFA_LOCAL, ip("fd00::1").bytes.data(), 16);
    EXPECT_TRUE(parse_rtnetlink(wrong_size.bytes()).empty());
    ifaddrmsg no_index{};
    no_index.ifa_family = AF_INET;
    RtnetlinkMessage message(RTM_NEWADDR, no_index);
    message.attribute(IFA_ADDRESS, ip("10.0.0.9").v4(), 4);
    EXPECT_TRUE(parse_rtnetlink(message.bytes()).empty());
}

TEST(RtnetlinkParse, GivesTheMacOfUsableNeighboursAlone) {
    for (const int state :
         {NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_PERMANENT, NUD_NOARP}) {
        const auto bits = static_cast<std::uint16_t>(state);
        const NeighbourEvent expected{false, 7, ip("10.0.0.2"), kMac, bits};
        EXPECT_EQ(parse_rtnetlink(neighbour_message(bits).bytes()), Events{expected}) << state;
    }
    for (const int state : {NUD_INCOMPLETE, NUD_FAILED, NUD_NONE}) {
        const auto bits = static_cast<std::uint16_t>(state);
        const NeighbourEvent expected{false, 7, ip("10.0.0.2"), std::nullopt, bits};
        EXPECT_EQ(parse_rtnetlink(neighbour_message(bits).bytes()), Events{expected}) << state;
    }
}

TEST(RtnetlinkParse, GivesNoMacForARemovedNeighbour) {
    const NeighbourEvent expected{true, 7, ip("10.0.0.2"), std::nullopt, NUD_STALE};
    EXPECT_EQ(
        parse_rtnetlink(neighbour_message(NUD_STALE, RTM_DELNEIGH).bytes()), Events{expected}
    );
}

TEST(RtnetlinkParse, PassesOverForwardingEntriesAndProxies) {
    EXPECT_TRUE(
        parse_rtnetlink(neighbour_message(NUD_REACHABLE, RTM_NEWNEIGH, AF_BRIDGE).bytes()).empty()
    );
    EXPECT_TRUE(
        parse_rtnetlink(neighbour_message(NUD_NONE, RTM_NEWNEIGH, AF_INET, NTF_PROXY).bytes())
            .empty()
    );
}

TEST(RtnetlinkParse, TurnsRoutesRulesAndNexthopsIntoRouteEvents) {
    for (const std::uint16_t type :
         {RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE, RTM_DELRULE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP}) {
        rtmsg info{};
        info.rtm_family = AF_INET6;
        EXPECT_EQ(parse_rtnetlink(RtnetlinkMessage(type, info).bytes()), Events{RouteEvent{}})
            << type;
    }
}

TEST(RtnetlinkParse, PassesOverMulticastRoutingTables) {
    rtmsg info{};
    info.rtm_family = RTNL_FAMILY_IPMR;
    EXPECT_TRUE(parse_rtnetlink(RtnetlinkMessage(RTM_NEWROUTE, info).bytes()).empty());
}

TEST(RtnetlinkParse, PassesOverUnknownMessagesAndAnswers) {
    const std::uint32_t zero = 0;
    for (const int type : {NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, int{RTM_NEWQDISC}, 0xffff}) {
        EXPECT_EQ(
            parse_rtnetlink(joined(
                                {RtnetlinkMessage(static_cast<std::uint16_t>(type), zero).bytes(),
                                 address_message().bytes()}
                            ))
                .size(),
            1U
        ) << type;
    }
}

TEST(RtnetlinkParse, KeepsWhatCameBeforeATruncationAtAnyLength) {
    const auto first = address_message().bytes();
    for (const auto& second :
         {link_message().bytes(),
          address_message().bytes(),
          neighbour_message(NUD_STALE).bytes()}) {
        const auto whole = joined({first, second});
        ASSERT_EQ(parse_rtnetlink(whole).size(), 2U);
        for (std::size_t length = 0; length < whole.size(); ++length) {
            const std::vector<std::byte> cut(
                whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)
            );
            EXPECT_EQ(parse_rtnetlink(cut).size(), length < first.size() ? 0U : 1U) << length;
        }
    }
}

TEST(RtnetlinkParse, RefusesAMessageThatEndsInsideItsAttributes) {
    // The header admits to being shorter than what it holds.
    for (std::uint32_t length = sizeof(nlmsghdr); length < link_message().bytes().size();
         ++length) {
        auto bytes = link_message().bytes();
        std::memcpy(bytes.data(), &length, sizeof(length));
        bytes.resize(length);
        bytes.shrink_to_fit();
        for (const NetlinkEvent& event : parse_rtnetlink(bytes)) {
            EXPECT_EQ(std::get<LinkEvent>(event).mtu, 1500U) << length;
        }
    }
}

TEST(RtnetlinkParse, RefusesImpossibleLengths) {
    const auto good = address_message().bytes();
    for (const std::uint32_t length :
         {0U, 15U, static_cast<std::uint32_t>(good.size()) + 1U, ~0U}) {
        auto bad = good;
        std::memcpy(bad.data(), &length, sizeof(length));
        EXPECT_EQ(parse_rtnetlink(joined({good, bad})).size(), 1U) << length;
    }
    for (const std::uint8_t length : {std::uint8_t{0}, std::uint8_t{3}, std::uint8_t{9}}) {
        auto bad = address_message();
        bad.raw({length, 0, IFA_LABEL, 0, 0, 0, 0, 0});
        EXPECT_TRUE(parse_rtnetlink(bad.bytes()).empty()) << int{length};
    }
    auto half_an_attribute = address_message().bytes();
    half_an_attribute.resize(half_an_attribute.size() + 2);
    const auto length = static_cast<std::uint32_t>(half_an_attribute.size());
    std::memcpy(half_an_attribute.data(), &length, sizeof(length));
    EXPECT_TRUE(parse_rtnetlink(half_an_attribute).empty());
}

TEST(RtnetlinkParse, ReadsUnalignedBytes) {
    const auto aligned = link_message().bytes();
    std::vector<std::byte> shifted(1);
    shifted.insert(shifted.end(), aligned.begin(), aligned.end());
    EXPECT_EQ(parse_rtnetlink(std::span(shifted).subspan(1)), parse_rtnetlink(aligned));
}

}  // namespace
}  // namespace culvert::ctl
