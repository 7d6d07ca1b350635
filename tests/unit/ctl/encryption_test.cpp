// SPDX-License-Identifier: GPL-2.0-or-later
//
// The encryption of a switch's tunnels, between a model and a kernel that the test plays.
#include "ctl/encryption.hpp"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/ike.hpp"
#include "tests/unit/ctl/filled_secret.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::TemporaryFolder;
using tunnels::IpAddress;

class FakeXfrm final : public Xfrm {
public:
    [[nodiscard]] int event_fd() const override { return -1; }
    std::vector<XfrmEvent> read_events() override { return std::exchange(events, {}); }
    [[nodiscard]] Result<void> note_use(const SaUse& use) override {
        uses.push_back(use);
        return {};
    }
    [[nodiscard]] Result<void>
    expire(std::uint32_t spi, const IpAddress& /*destination*/, bool hard) override {
        expired.emplace_back(spi, hard);
        return {};
    }

    std::vector<XfrmEvent> events;
    std::vector<SaUse> uses;
    std::vector<std::pair<std::uint32_t, bool>> expired;
};

class EncryptionTest : public ::testing::Test {
protected:
    void SetUp() override { restart(); }
    void restart() {
        encryption_.reset();
        EncryptionParts parts;
        parts.state_folder = state_;
        parts.open_xfrm = [this]() -> Result<Xfrm*> {
            ++opened_;
            if (!kernel_trouble_.empty()) {
                return tl::unexpected(kernel_trouble_);
            }
            return &xfrm_;
        };
        encryption_ = std::make_unique<Encryption>(parts);
    }
    SwitchPort& add(std::uint16_t index, const std::string& name) {
        SwitchPort& port = model_.ports[index];
        port.name = name;
        port.index = index;
        port.role = PortRole::tunnel;
        port.tunnel.name = name;
        port.tunnel.type = "gre";
        port.tunnel.remote_ip = *IpAddress::parse("10.0.0.2");
        port.resolution.state = Resolution::State::no_neighbour;
        port.resolution.source = *IpAddress::parse("10.0.0.1");
        return port;
    }
    SwitchPort& add_configured(std::uint16_t index, const std::string& name) {
        SwitchPort& port = add(index, name);
        port.tunnel.esp = EspConfig{};
        port.tunnel.esp->spi_in = 0x1000U + index;
        port.tunnel.esp->spi_out = 0x2000U + index;
        port.tunnel.esp->key_in = filled_secret(static_cast<char>('a' + index));
        port.tunnel.esp->key_out = filled_secret(static_cast<char>('A' + index));
        return port;
    }
    SwitchPort& add_ike(std::uint16_t index, const std::string& name) {
        SwitchPort& port = add(index, name);
        port.tunnel.ike = IkeConfig{};
        return port;
    }
    static KernelSa kernel(std::uint32_t spi, bool outbound, const std::string& tunnel) {
        KernelSa association;
        association.spi = spi;
        association.source = *IpAddress::parse(outbound ? "10.0.0.1" : "10.0.0.2");
        association.destination = *IpAddress::parse(outbound ? "10.0.0.2" : "10.0.0.1");
        association.reqid = reqid_of(tunnel);
        association.algorithm = tunnels::EspAlgorithm::aes_gcm_256;
        association.key = filled_secret(static_cast<char>(spi));
        return association;
    }
    void configure() { encryption_->configure(model_, ike_); }
    [[nodiscard]] std::shared_ptr<dataplane::OutboundSa> out(const std::string& tunnel) {
        return encryption_->associations().policy_of(tunnel)->out;
    }

    TemporaryFolder folder_;
    std::string state_ = folder_.file("state");
    SwitchModel model_;
    IkeDaemonConfig ike_;
    FakeXfrm xfrm_;
    std::string kernel_trouble_;
    int opened_ = 0;
    std::unique_ptr<Encryption> encryption_;
};

TEST_F(EncryptionTest, WithoutEncryptedTunnelsNothingIsOpened) {
    add(0, "clear");
    configure();
    EXPECT_FALSE(encryption_->tick());
    EXPECT_FALSE(std::filesystem::exists(state_));
    EXPECT_EQ(opened_, 0);
    EXPECT_FALSE(model_.ports.at(0).encryption);
}

TEST_F(EncryptionTest, ConfiguredKeysNeedNoKernel) {
    add_configured(0, "t0");
    configure();
    EXPECT_NE(out("t0"), nullptr);
    EXPECT_TRUE(model_.ports.at(0).encryption->established);
    EXPECT_EQ(opened_, 0);
}

TEST_F(EncryptionTest, TheAddressThatPacketsLeaveFromIsTheResolvedOne) {
    SwitchPort& port = add_configured(0, "t0");
    port.resolution.state = Resolution::State::no_route;
    configure();
    EXPECT_EQ(out("t0"), nullptr);
    EXPECT_FALSE(port.encryption->established);
    port.tunnel.local_ip = *IpAddress::parse("10.0.0.7");
    configure();
    EXPECT_EQ(out("t0")->parameters().source, *IpAddress::parse("10.0.0.7"));
    port.resolution.state = Resolution::State::resolved;
    configure();
    EXPECT_EQ(out("t0")->parameters().source, *IpAddress::parse("10.0.0.1"));
}

TEST_F(EncryptionTest, WhatTheKernelHasComesAtOnceAndFollows) {
    SwitchPort& port = add_ike(0, "t0");
    xfrm_.events = {kernel(0x10, false, "t0"), kernel(0x11, true, "t0")};
    configure();
    EXPECT_TRUE(port.encryption->established);
    EXPECT_EQ(port.encryption->spi_out, 0x11U);
    xfrm_.events = {KernelSaRemoved{0x11, *IpAddress::parse("10.0.0.2")}};
    EXPECT_TRUE(encryption_->on_xfrm());
    configure();
    EXPECT_FALSE(port.encryption->established);
    EXPECT_EQ(out("t0"), nullptr);
    EXPECT_FALSE(encryption_->on_xfrm());
    EXPECT_EQ(opened_, 1);
}

TEST_F(EncryptionTest, AKernelWithoutXfrmIsToldAndAskedAgain) {
    SwitchPort& port = add_ike(0, "t0");
    kernel_trouble_ = "this kernel has no XFRM";
    configure();
    ASSERT_NE(encryption_->associations().policy_of("t0"), nullptr);
    EXPECT_EQ(port.encryption->trouble, "this kernel has no XFRM");
    kernel_trouble_.clear();
    xfrm_.events = {kernel(0x10, false, "t0"), kernel(0x11, true, "t0")};
    EXPECT_TRUE(encryption_->tick());
    configure();
    EXPECT_TRUE(port.encryption->established);
}

TEST_F(EncryptionTest, TheKernelHearsOfUseAndOfEnds) {
    add_ike(0, "t0");
    KernelSa limited = kernel(0x11, true, "t0");
    limited.soft.packets = 2;
    xfrm_.events = {kernel(0x10, false, "t0"), limited};
    configure();
    std::uint64_t first = 0;
    ASSERT_EQ(out("t0")->take(2, first), 2U);
    out("t0")->packets += 2;
    static_cast<void>(encryption_->tick());
    ASSERT_THAT(xfrm_.expired, SizeIs(1));
    EXPECT_EQ(xfrm_.expired[0], std::pair(0x11U, false));
    ASSERT_THAT(xfrm_.uses, SizeIs(1)) << "the inbound one was not used";
    EXPECT_EQ(xfrm_.uses[0].packets, 2U);
}

TEST_F(EncryptionTest, AFolderThatCannotBeHadShutsTunnels) {
    std::ofstream(state_) << "no folder";
    SwitchPort& port = add_configured(0, "t0");
    configure();
    ASSERT_NE(encryption_->associations().policy_of("t0"), nullptr);
    EXPECT_EQ(out("t0"), nullptr);
    EXPECT_THAT(port.encryption->trouble, HasSubstr("state folder"));
    std::filesystem::remove(state_);
    EXPECT_TRUE(encryption_->tick()) << "it is tried again";
    EXPECT_NE(out("t0"), nullptr);
}

TEST_F(EncryptionTest, ADaemonOnTheSameFolderShutsTunnelsUntilItEnds) {
    auto other = std::make_unique<SequenceStore>();
    ASSERT_TRUE(other->open(state_));
    SwitchPort& port = add_configured(0, "t0");
    configure();
    EXPECT_EQ(out("t0"), nullptr);
    EXPECT_THAT(port.encryption->trouble, HasSubstr("another daemon"));
    other.reset();
    EXPECT_TRUE(encryption_->tick());
    EXPECT_NE(out("t0"), nullptr);
}

TEST_F(EncryptionTest, ACpuThatComputesWronglyShutsTunnels) {
    EncryptionParts parts;
    parts.state_folder = state_;
    parts.trouble = "the ciphers are wrong";
    Encryption broken(parts);
    SwitchPort& port = add_configured(0, "t0");
    broken.configure(model_, ike_);
    EXPECT_EQ(broken.associations().policy_of("t0")->out, nullptr);
    EXPECT_EQ(port.encryption->trouble, "the ciphers are wrong");
    EXPECT_FALSE(broken.tick());
    EXPECT_EQ(broken.associations().policy_of("t0")->out, nullptr);
}

TEST_F(EncryptionTest, SelectorsCountWhereSomebodyElseTalksToTheIkeDaemon) {
    SwitchPort& port = add_ike(0, "t0");
    KernelSa foreign = kernel(0x11, true, "t0");
    foreign.reqid = 1;
    xfrm_.events = {foreign};
    configure();
    EXPECT_EQ(out("t0"), nullptr);
    ike_.control = IkeControl::follow;
    configure();
    EXPECT_EQ(port.encryption->spi_out, 0x11U);
}

TEST_F(EncryptionTest, AnOrderlyEndIsNoted) {
    add_configured(0, "t0");
    configure();
    const dataplane::SaTable table = encryption_->associations().table();
    dataplane::InboundSa* const inbound = table.find(0x1000, *IpAddress::parse("10.0.0.1"));
    ASSERT_NE(inbound, nullptr);
    dataplane::InboundSa::Judged packet{77, 77, {}};
    inbound->accept({&packet, 1});
    restart();
    configure();
    const dataplane::SaTable after = encryption_->associations().table();
    EXPECT_EQ(after.find(0x1000, *IpAddress::parse("10.0.0.1"))->highest(), 77U);
}

TEST_F(EncryptionTest, WhatACrashedIkeDaemonLeftIsRemoved) {
    boost::asio::io_context io;
    Ike ike(io);
    EncryptionParts parts;
    parts.state_folder = folder_.file("other");
    parts.open_xfrm = [this]() -> Result<Xfrm*> { return &xfrm_; };
    parts.ike = &ike;
    add_ike(0, "t0");
    xfrm_.events = {kernel(0x10, false, "t0"), kernel(0x11, true, "t0")};
    {
        Encryption encryption(parts);
        encryption.configure(model_, ike_);
        ike.on_listed({0x10});
        EXPECT_THAT(xfrm_.expired, IsEmpty());
        ike.on_listed({0x10});
        ASSERT_THAT(xfrm_.expired, SizeIs(1));
        EXPECT_EQ(xfrm_.expired[0], std::pair(0x11U, true));
        static_cast<void>(encryption.tick());
        EXPECT_FALSE(encryption.tick());
        ike.on_change();
        EXPECT_TRUE(encryption.tick()) << "a snapshot goes with what is shown";
    }
    EXPECT_FALSE(ike.on_listed) << "it does not outlive its owner";
}

TEST_F(EncryptionTest, AnIkeDaemonOfSomebodyElseIsAskedForWhatIsMissing) {
    std::vector<std::uint16_t> asked;
    EncryptionParts parts;
    parts.state_folder = folder_.file("other");
    parts.open_xfrm = [this]() -> Result<Xfrm*> { return &xfrm_; };
    parts.acquire = [&](const IpAddress& local, const IpAddress& remote, std::uint16_t udp_port) {
        EXPECT_EQ(local, *IpAddress::parse("10.0.0.1"));
        EXPECT_EQ(remote, *IpAddress::parse("10.0.0.2"));
        asked.push_back(udp_port);
        return Result<void>();
    };
    Encryption encryption(parts);
    SwitchPort& missing = add_ike(0, "t0");
    missing.tunnel.type = "vxlan";
    missing.tunnel.dst_port = 4789;
    add_ike(1, "t1");
    add_configured(2, "t2");
    ike_.control = IkeControl::follow;
    KernelSa there = kernel(0x11, true, "t1");
    there.selector.protocol = 47;
    xfrm_.events = {there};
    encryption.configure(model_, ike_);
    static_cast<void>(encryption.tick());
    EXPECT_THAT(asked, ::testing::ElementsAre(4789));
}

TEST(MakeIkeTunnel, HasBothKeys) {
    SwitchPort port;
    port.name = "t0";
    port.tunnel.type = "gre";
    port.tunnel.ike = IkeConfig{};
    const auto key = [&] { return make_ike_tunnel(port, *IpAddress::parse("10.0.0.1")).key; };
    EXPECT_EQ(key(), "");
    port.tunnel.in_key = port.tunnel.out_key = 5;
    EXPECT_EQ(key(), "5");
    port.tunnel.out_key = 6;
    EXPECT_EQ(key(), "5/6");
    port.tunnel.in_key_flow = port.tunnel.out_key_flow = true;
    EXPECT_EQ(key(), "flow");
    const IkeTunnel tunnel = make_ike_tunnel(port, *IpAddress::parse("10.0.0.1"));
    EXPECT_EQ(tunnel.reqid, reqid_of("t0"));
    EXPECT_EQ(tunnel.udp_port, 0);
    EXPECT_EQ(tunnel.local, *IpAddress::parse("10.0.0.1"));
}

TEST(MakeEspTunnel, OneWithoutAPeerIsRefused) {
    SwitchPort port;
    port.tunnel.type = "vxlan";
    port.tunnel.dst_port = 4790;
    EXPECT_EQ(make_esp_tunnel(port, IkeControl::vici).udp_port, 4790);
    EXPECT_THAT(make_esp_tunnel(port, IkeControl::vici).trouble, IsEmpty());
    port.tunnel.remote_flow = true;
    EXPECT_THAT(make_esp_tunnel(port, IkeControl::vici).trouble, HasSubstr("remote_ip"));
    port.tunnel.type = "gre";
    EXPECT_EQ(make_esp_tunnel(port, IkeControl::vici).udp_port, 0) << "GRE has no ports";
}

}  // namespace
}  // namespace culvert::ctl
