// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules as bytes: what make_legacy_entry() writes is read again, and what no kernel would give is
// refused with a sentence.
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_entry.hpp"
#include "tests/unit/firewall/xt_bytes.hpp"

namespace culvert::firewall {
namespace {

using ::testing::HasSubstr;

Selector opening_of(Family family) {
    Selector selector;
    selector.family = family;
    selector.protocol = kProtocolUdp;
    selector.destination_port = 4789;
    selector.source =
        parse_prefix(family == Family::ipv4 ? "10.2.0.0/16" : "2001:db8::/32").value();
    return selector;
}

class LegacyEntryTest : public ::testing::TestWithParam<Family> {
protected:
    tl::expected<Rule, std::string> read(std::span<const std::byte> bytes) {
        return LegacyEntryReader(GetParam(), sets).read(bytes);
    }
    // As libiptc hands it to the kernel: the target's name has become a number.
    static std::vector<std::byte> in_kernel(std::vector<std::byte> bytes) {
        const std::size_t target = bytes.size() - sizeof(xt_standard_target);
        std::memset(
            bytes.data() + target + offsetof(xt_entry_target, u.user.name),
            0,
            XT_EXTENSION_MAXNAMELEN
        );
        const int verdict = -NF_ACCEPT - 1;
        std::memcpy(
            bytes.data() + target + offsetof(xt_standard_target, verdict), &verdict, sizeof verdict
        );
        return bytes;
    }

    std::vector<std::byte> entry =
        in_kernel(make_legacy_entry(opening_of(GetParam()), "culvert vxlan").value());
    test::FakeSets sets;
};

INSTANTIATE_TEST_SUITE_P(Families, LegacyEntryTest, ::testing::Values(Family::ipv4, Family::ipv6));

TEST_P(LegacyEntryTest, WhatIsWrittenIsReadAgain) {
    const auto rule = read(entry);
    ASSERT_TRUE(rule) << rule.error();
    EXPECT_EQ(rule->action, Action::accept);
    EXPECT_EQ(rule->comment, "culvert vxlan");
    EXPECT_EQ(selector_of(*rule, GetParam()), opening_of(GetParam()));
    EXPECT_TRUE(is_opening(*rule, opening_of(GetParam())));
}

TEST_P(LegacyEntryTest, ARuleThatIsCutShortIsRefused) {
    for (std::size_t size = 0; size < entry.size(); ++size) {
        const auto rule = read(std::span<const std::byte>(entry).first(size));
        ASSERT_FALSE(rule) << size;
        EXPECT_FALSE(rule.error().empty());
    }
}

TEST_P(LegacyEntryTest, SizesThatDoNotFitAreRefused) {
    const bool is_v4 = GetParam() == Family::ipv4;
    const std::size_t offsets =
        is_v4 ? offsetof(ipt_entry, target_offset) : offsetof(ip6t_entry, target_offset);
    const std::size_t match = is_v4 ? sizeof(ipt_entry) : sizeof(ip6t_entry);
    std::uint16_t target = 0;
    std::memcpy(&target, entry.data() + offsets, sizeof target);
    for (const std::size_t where : {offsets, offsets + 2, match, std::size_t{target}}) {
        for (const unsigned size : {0U, 1U, 31U, 0xffffU}) {
            auto changed = entry;
            const auto value = static_cast<std::uint16_t>(size);
            std::memcpy(changed.data() + where, &value, sizeof value);
            EXPECT_FALSE(read(changed)) << where << ' ' << size;
        }
    }
}

TEST_P(LegacyEntryTest, PortsOfAProtocolWithoutAndLongCommentsAreRefused) {
    Selector selector = opening_of(GetParam());
    selector.protocol = kProtocolGre;
    EXPECT_THAT(make_legacy_entry(selector, "").error(), HasSubstr("gre have no ports"));
    selector = opening_of(GetParam());
    EXPECT_TRUE(make_legacy_entry(selector, std::string(255, 'x')));
    EXPECT_THAT(make_legacy_entry(selector, std::string(256, 'x')).error(), HasSubstr("at most"));
    selector.family = GetParam() == Family::ipv4 ? Family::ipv6 : Family::ipv4;
    EXPECT_THAT(make_legacy_entry(selector, "").error(), HasSubstr("another family"));
}

}  // namespace
}  // namespace culvert::firewall
