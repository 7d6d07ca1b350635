// SPDX-License-Identifier: GPL-2.0-or-later
//
// From the VLAN keys of a port to what workers look at.

#include "ctl/switch_model.hpp"

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

using dataplane::kVlanNone;
using dataplane::VlanView;

TEST(MakeVlanView, ATrunkCarriesAllOrWhatItLists) {
    const VlanView all = make_vlan_view({});
    EXPECT_TRUE(all.carries(kVlanNone));
    EXPECT_TRUE(all.carries(4094));
    EXPECT_TRUE(all.accept_tagged);
    EXPECT_TRUE(all.accept_untagged);
    EXPECT_EQ(all.untagged_vlan, kVlanNone);
    EXPECT_FALSE(all.tags(kVlanNone));
    EXPECT_TRUE(all.tags(10));
    const VlanView some = make_vlan_view({.mode = VlanMode::trunk, .trunks = {10, 20}});
    EXPECT_TRUE(some.carries(10));
    EXPECT_TRUE(some.carries(20));
    EXPECT_FALSE(some.carries(11));
    EXPECT_FALSE(some.carries(kVlanNone));
    EXPECT_TRUE(make_vlan_view({.trunks = {0, 10}}).carries(kVlanNone));
}

TEST(MakeVlanView, AnAccessPortCarriesItsTagOnlyAndUntagged) {
    const VlanView view = make_vlan_view({.mode = VlanMode::access, .tag = 10, .trunks = {}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.carries(10));
    EXPECT_FALSE(view.carries(11));
    EXPECT_FALSE(view.carries(kVlanNone));
    EXPECT_FALSE(view.accept_tagged);
    EXPECT_FALSE(view.tags(10));
}

TEST(MakeVlanView, NativeUntaggedSendsItsTagWithoutAndAcceptsBoth) {
    const VlanView view =
        make_vlan_view({.mode = VlanMode::native_untagged, .tag = 10, .trunks = {20}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.accept_tagged);
    EXPECT_TRUE(view.accept_untagged);
    EXPECT_TRUE(view.carries(10));
    EXPECT_TRUE(view.carries(20));
    EXPECT_FALSE(view.carries(30));
    EXPECT_FALSE(view.tags(10));
    EXPECT_TRUE(view.tags(20));
    EXPECT_TRUE(make_vlan_view({.mode = VlanMode::native_untagged, .tag = 10, .trunks = {}}
    ).carries(30));
}

TEST(MakeVlanView, NativeTaggedSendsItsTagTagged) {
    const VlanView view =
        make_vlan_view({.mode = VlanMode::native_tagged, .tag = 10, .trunks = {}});
    EXPECT_EQ(view.untagged_vlan, 10);
    EXPECT_TRUE(view.accept_untagged);
    EXPECT_TRUE(view.accept_tagged);
    EXPECT_TRUE(view.tags(10));
    EXPECT_TRUE(view.tags(20));
    EXPECT_TRUE(view.carries(20));
}

}  // namespace

}  // namespace culvert::ctl
