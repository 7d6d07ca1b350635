// SPDX-License-Identifier: GPL-2.0-or-later
//
// The mirror of the kernel's SAs: what comes of its messages, and of reading everything anew after
// some of them were lost.
#include <vector>

#include <gtest/gtest.h>

#include "ctl/xfrm_mirror.hpp"

namespace culvert::ctl {
namespace {

using tunnels::IpAddress;

using SaEvents = std::vector<XfrmEvent>;

const IpAddress kHere = *IpAddress::parse("172.20.0.2");
const IpAddress kThere = *IpAddress::parse("172.20.0.4");

XfrmSa sa(std::uint32_t spi, const IpAddress& destination, std::uint64_t added_s = 1000) {
    XfrmSa one;
    one.sa.spi = spi;
    one.sa.destination = destination;
    one.sa.added_s = added_s;
    one.sa.extended = true;
    one.replay = {2, 64};
    return one;
}

SaEvents apply(XfrmMirror& mirror, XfrmMessage message) {
    SaEvents events;
    mirror.apply(std::move(message), events);
    return events;
}

SaEvents renew(XfrmMirror& mirror, std::vector<XfrmSa> all) {
    SaEvents events;
    mirror.renew(std::move(all), events);
    return events;
}

TEST(XfrmMirror, KnowsHowTheKernelKeepsSequenceNumbers) {
    XfrmMirror mirror;
    XfrmSa marked = sa(0x1001, kThere);
    marked.mark = XfrmMark{7, 0xff};
    EXPECT_EQ(apply(mirror, marked), SaEvents{marked.sa});
    const XfrmMirror::Entry expected{1000, {2, 64}, XfrmMark{7, 0xff}, true};
    ASSERT_NE(mirror.find(0x1001, kThere), nullptr);
    EXPECT_EQ(*mirror.find(0x1001, kThere), expected);
    EXPECT_EQ(mirror.find(0x1001, kHere), nullptr);
    EXPECT_EQ(mirror.find(0x1002, kThere), nullptr);
}

TEST(XfrmMirror, RemovesWhatIsThereAndNothingElse) {
    XfrmMirror mirror;
    apply(mirror, sa(0x1001, kThere));
    EXPECT_EQ(apply(mirror, KernelSaRemoved{0x1001, kHere}), SaEvents{});
    EXPECT_EQ(
        apply(mirror, KernelSaRemoved{0x1001, kThere}), (SaEvents{KernelSaRemoved{0x1001, kThere}})
    );
    EXPECT_EQ(apply(mirror, KernelSaRemoved{0x1001, kThere}), SaEvents{});
    EXPECT_EQ(mirror.find(0x1001, kThere), nullptr);
}

TEST(XfrmMirror, AFlushIsTheRemovalOfEach) {
    XfrmMirror mirror;
    apply(mirror, sa(0x1001, kThere));
    apply(mirror, sa(0x1002, kHere));
    EXPECT_EQ(
        apply(mirror, XfrmFlush{}),
        (SaEvents{KernelSaRemoved{0x1002, kHere}, KernelSaRemoved{0x1001, kThere}})
    );
    EXPECT_EQ(mirror.size(), 0U);
    EXPECT_EQ(apply(mirror, XfrmFlush{}), SaEvents{});
}

TEST(XfrmMirror, ReadingAnewFindsWhatWasMissed) {
    XfrmMirror mirror;
    for (const std::uint32_t spi : {0x1001U, 0x1002U, 0x1003U}) {
        apply(mirror, sa(spi, kThere));
    }
    // One stays, one was made anew with the same numbers, one is gone and one came.
    const auto stays = sa(0x1001, kThere);
    const auto anew = sa(0x1002, kThere, 2000);
    const auto came = sa(0x1004, kThere, 2000);
    EXPECT_EQ(
        renew(mirror, {stays, anew, came}),
        (SaEvents{
            KernelSaRemoved{0x1002, kThere},
            KernelSaRemoved{0x1003, kThere},
            stays.sa,
            anew.sa,
            came.sa})
    );
    EXPECT_EQ(mirror.size(), 3U);
    EXPECT_EQ(mirror.find(0x1003, kThere), nullptr);
    EXPECT_EQ(mirror.find(0x1002, kThere)->added_s, 2000U);
}

}  // namespace
}  // namespace culvert::ctl
