// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which OpenFlow port numbers interfaces get, and that they keep them.
#include "ctl/ofports.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

Ofports::Request plain(const std::string& name) {
    return {"br0", name};
}

Ofports::Request requesting(const std::string& name, std::uint16_t number) {
    return {"br0", name, false, number};
}

Ofports::Request before(const std::string& name, std::uint16_t number) {
    return {"br0", name, false, std::nullopt, number};
}

TEST(OfportsTest, NumbersCountUpInEachBridge) {
    Ofports ofports;
    ofports.assign(
        {{"br0", "br0", true}, plain("a"), plain("b"), {"br1", "c"}, {"br1", "br1", true}}
    );
    EXPECT_EQ(ofports.find("br0"), Ofports::kLocal);
    EXPECT_EQ(ofports.find("a"), 1);
    EXPECT_EQ(ofports.find("b"), 2);
    EXPECT_EQ(ofports.find("c"), 1);
    EXPECT_EQ(ofports.find("br1"), Ofports::kLocal);
    EXPECT_EQ(ofports.find("d"), std::nullopt);
    ASSERT_NE(ofports.interface("br0", 2), nullptr);
    EXPECT_EQ(*ofports.interface("br0", 2), "b");
    EXPECT_EQ(ofports.interface("br0", 3), nullptr);
    EXPECT_EQ(ofports.interface("br9", 1), nullptr);
    EXPECT_EQ(
        ofports.of_bridge("br0"),
        (std::map<std::uint16_t, std::string>{{1, "a"}, {2, "b"}, {Ofports::kLocal, "br0"}})
    );
}

TEST(OfportsTest, WhoHasANumberKeepsIt) {
    Ofports ofports;
    ofports.assign({plain("a"), plain("b")});
    ofports.assign({plain("b"), plain("c"), plain("a")});
    EXPECT_EQ(ofports.find("a"), 1);
    EXPECT_EQ(ofports.find("b"), 2);
    EXPECT_EQ(ofports.find("c"), 3);
}

TEST(OfportsTest, WhoIsAbsentHasItsNumberAgainOnReturn) {
    const Ofports::Request absent = {"br0", "a", false, std::nullopt, std::nullopt, true};
    Ofports ofports;
    ofports.assign({plain("a"), plain("b")});
    ofports.assign({absent, plain("b")});
    EXPECT_EQ(ofports.find("a"), std::nullopt);
    ofports.assign({absent, plain("b"), plain("c")});
    EXPECT_EQ(ofports.find("a"), std::nullopt);
    ofports.assign({plain("c"), plain("b"), plain("a")});
    EXPECT_EQ(ofports.find("a"), 1);
    EXPECT_EQ(ofports.find("c"), 3);

    // Another may have requested the number meanwhile, and what came back may be elsewhere.
    ofports.assign({absent});
    ofports.assign({absent, requesting("d", 1)});
    ofports.assign({plain("a"), requesting("d", 1)});
    EXPECT_EQ(ofports.find("d"), 1);
    EXPECT_EQ(ofports.find("a"), 2);
    ofports.assign({absent});
    ofports.assign({{"br1", "a"}});
    EXPECT_EQ(ofports.find("a"), 1);
}

TEST(OfportsTest, WhoIsGoneLosesItsNumberWhichComesAgainLate) {
    Ofports ofports;
    ofports.assign({plain("a"), plain("b")});
    ofports.assign({plain("b")});
    EXPECT_EQ(ofports.find("a"), std::nullopt);
    ofports.assign({plain("b"), plain("c")});
    EXPECT_EQ(ofports.find("c"), 3);
}

TEST(OfportsTest, ARequestComesBeforeAHeldNumber) {
    Ofports ofports;
    ofports.assign({plain("a"), plain("b")});
    ofports.assign({plain("a"), requesting("b", 1)});
    EXPECT_EQ(ofports.find("b"), 1);
    EXPECT_EQ(ofports.find("a"), 3);
}

TEST(OfportsTest, OfTwoThatRequestTheSameTheHolderKeepsIt) {
    Ofports ofports;
    ofports.assign({requesting("a", 7)});
    ofports.assign({requesting("b", 7), requesting("a", 7)});
    EXPECT_EQ(ofports.find("a"), 7);
    EXPECT_EQ(ofports.find("b"), 1);
    Ofports anew;
    anew.assign({requesting("b", 7), requesting("a", 7)});
    EXPECT_EQ(anew.find("b"), 7);
    EXPECT_EQ(anew.find("a"), 1);
}

TEST(OfportsTest, ANumberOfAnEarlierRunIsTakenUpAgain) {
    Ofports ofports;
    ofports.assign({before("a", 40), plain("b"), before("c", 40)});
    EXPECT_EQ(ofports.find("a"), 40);
    EXPECT_EQ(ofports.find("b"), 1);
    EXPECT_EQ(ofports.find("c"), 2);
    // What it has now counts more than what the database says.
    ofports.assign({before("a", 41)});
    EXPECT_EQ(ofports.find("a"), 40);
}

TEST(OfportsTest, NumbersOutOfRangeAreNotGiven) {
    Ofports ofports;
    ofports.assign(
        {requesting("a", 0),
         requesting("b", 65280),
         before("c", 65535),
         requesting("d", Ofports::kRequestMax)}
    );
    EXPECT_EQ(ofports.find("a"), 1);
    EXPECT_EQ(ofports.find("b"), 2);
    EXPECT_EQ(ofports.find("c"), 3);
    EXPECT_EQ(ofports.find("d"), Ofports::kRequestMax);
}

TEST(OfportsTest, AnInterfaceThatMovesToAnotherBridgeGetsANewNumber) {
    Ofports ofports;
    ofports.assign({plain("a"), plain("b")});
    ofports.assign({plain("a"), {"br1", "b"}});
    EXPECT_EQ(ofports.find("b"), 1);
    EXPECT_EQ(ofports.interface("br0", 2), nullptr);
    ASSERT_NE(ofports.interface("br1", 1), nullptr);
    EXPECT_EQ(*ofports.interface("br1", 1), "b");
}

TEST(OfportsTest, NumbersBeginAnewWhenTheyAreUsedUp) {
    constexpr std::uint16_t kLast = 32767;
    Ofports ofports;
    std::vector<Ofports::Request> requests;
    for (int i = 0; i < kLast; ++i) {
        requests.push_back(plain("p" + std::to_string(i)));
    }
    ofports.assign(requests);
    EXPECT_EQ(ofports.find("p32766"), kLast);
    requests.erase(requests.begin() + 4);  // Number 5.
    requests.push_back(plain("q"));
    requests.push_back(plain("r"));
    ofports.assign(requests);
    EXPECT_EQ(ofports.find("q"), 5);
    EXPECT_EQ(ofports.find("r"), std::nullopt);
}

}  // namespace
}  // namespace culvert::ctl
