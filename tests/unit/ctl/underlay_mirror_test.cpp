// SPDX-License-Identifier: GPL-2.0-or-later
//
// The copy of the kernel's state without a kernel.

#include "ctl/underlay_mirror.hpp"

#include <optional>
#include <vector>

#include <gtest/gtest.h>
#include <linux/neighbour.h>

#include "tests/unit/ctl/addresses.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;
using tunnels::MacAddress;

using Events = std::vector<NetlinkEvent>;

const MacAddress kNextHopMac{{0x02, 0, 0, 0, 0, 0x02}};

TEST(UnderlayMirrorDifferences, TakesLeavesAwayBeforeLinksAndAddsThemAfter) {
    const LinkEvent link{false, 3, "a", {}, 1500, true, {}, {}, {}};
    const AddressEvent address{false, 3, ip("10.0.0.1"), 24};
    const NeighbourEvent neighbour{false, 3, ip("10.0.0.2"), kNextHopMac, NUD_STALE};
    UnderlayMirror full;
    full.apply(link);
    full.apply(address);
    full.apply(neighbour);
    EXPECT_EQ(differences({}, full), (Events{link, address, neighbour}));
    EXPECT_TRUE(differences(full, full).empty());

    LinkEvent no_link = link;
    no_link.removed = true;
    const AddressEvent no_address{true, 3, ip("10.0.0.1"), 24};
    const NeighbourEvent no_neighbour{true, 3, ip("10.0.0.2"), std::nullopt, NUD_STALE};
    EXPECT_EQ(differences(full, {}), (Events{no_neighbour, no_address, no_link}));
}

TEST(UnderlayMirrorDetachLink, TakesWhatHangsOnTheLinkAlone) {
    UnderlayMirror mirror;
    for (const int ifindex : {3, 4}) {
        mirror.apply(AddressEvent{false, ifindex, ip("10.0.0.1"), 24});
        mirror.apply(NeighbourEvent{false, ifindex, ip("10.0.0.2"), kNextHopMac, NUD_STALE});
    }
    const auto events = detach_link(mirror, 3);
    EXPECT_EQ(
        events,
        (Events{
            NeighbourEvent{true, 3, ip("10.0.0.2"), std::nullopt, NUD_STALE},
            AddressEvent{true, 3, ip("10.0.0.1"), 24}})
    );
    EXPECT_EQ(mirror.addresses.size(), 1U);
    EXPECT_TRUE(mirror.addresses.contains(4));
    EXPECT_EQ(mirror.neighbours.size(), 1U);
}

}  // namespace

}  // namespace culvert::ctl
