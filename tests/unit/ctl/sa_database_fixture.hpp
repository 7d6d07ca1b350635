// SPDX-License-Identifier: GPL-2.0-or-later
//
// What tests of the database of security associations share: tunnels, SAs of a kernel, and a
// database on a store of its own. No packets: workers' objects are used by hand.
#pragma once

#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/sa_database.hpp"
#include "ctl/sa_record.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl::testing_sa {

using dataplane::InboundSa;
using dataplane::OutboundSa;
using testing::TemporaryFolder;
using tunnels::EspAlgorithm;
using tunnels::IpAddress;

inline constexpr std::uint64_t kMillion = 1'000'000;

inline IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

inline tunnels::Secret secret(const std::string& seed, std::size_t size = 36) {
    std::string bytes;
    while (bytes.size() < size) {
        bytes += seed + ".";
    }
    bytes.resize(size);
    return tunnels::Secret(std::as_bytes(std::span(bytes)));
}

/// A tunnel with keys of its own.
inline EspTunnel configured(const std::string& name, std::uint32_t spi = 0x1000) {
    EspTunnel tunnel;
    tunnel.name = name;
    tunnel.type = "gre";
    tunnel.local = ip("10.0.0.1");
    tunnel.remote = ip("10.0.0.2");
    tunnel.esp = EspConfig{};
    tunnel.esp->spi_in = spi;
    tunnel.esp->spi_out = spi + 1;
    tunnel.esp->key_in = secret(name + "-in");
    tunnel.esp->key_out = secret(name + "-out");
    return tunnel;
}

inline EspTunnel by_ike(const std::string& name) {
    EspTunnel tunnel;
    tunnel.name = name;
    tunnel.type = "gre";
    tunnel.local = ip("10.0.0.1");
    tunnel.remote = ip("10.0.0.2");
    tunnel.by_ike = true;
    tunnel.reqid = reqid_of(name);
    return tunnel;
}

inline KernelSa kernel(std::uint32_t spi, bool outbound, const std::string& tunnel) {
    KernelSa association;
    association.spi = spi;
    association.source = ip(outbound ? "10.0.0.1" : "10.0.0.2");
    association.destination = ip(outbound ? "10.0.0.2" : "10.0.0.1");
    association.reqid = tunnel.empty() ? 1 : reqid_of(tunnel);
    association.algorithm = EspAlgorithm::aes_gcm_256;
    association.algorithm_name = "rfc4106(gcm(aes))";
    association.key = secret("kernel" + std::to_string(spi));
    association.extended = true;
    association.replay_window = 32;
    association.added_s = kMillion;
    return association;
}
inline KernelSa kernel_in(std::uint32_t spi, const std::string& tunnel = "t1") {
    return kernel(spi, false, tunnel);
}
inline KernelSa kernel_out(std::uint32_t spi, const std::string& tunnel = "t1") {
    return kernel(spi, true, tunnel);
}
inline KernelSaRemoved removed(const KernelSa& association) {
    return {association.spi, association.destination};
}

inline std::uint64_t take_one(OutboundSa& association) {
    std::uint64_t first = 0;
    return association.take(1, first) == 1 ? first : 0;
}

/// As if a packet had come in.
inline void receive(InboundSa& association, std::uint64_t sequence) {
    InboundSa::Judged packet{static_cast<std::uint32_t>(sequence), sequence, {}};
    association.accept({&packet, 1});
    association.packets += 1;
    association.bytes += 100;
}

class SaDatabaseTest : public ::testing::Test {
protected:
    void SetUp() override { restart(); }

    /// As after kill -9: nothing is said to the old ones.
    void restart() {
        database_.reset();
        store_ = std::make_unique<SequenceStore>();
        const auto opened = store_->open(state_);
        ASSERT_TRUE(opened) << opened.error();
        database_ = std::make_unique<SaDatabase>(*store_);
        database_->on_expired = [this](const SaStatus& status, bool hard) {
            expired_.emplace_back(status.spi, hard);
        };
        tick(0);
    }
    bool tick(std::uint64_t seconds = 1) {
        uptime_s_ += seconds;
        return database_->tick(kMillion + uptime_s_, uptime_s_);
    }
    bool configure(std::vector<EspTunnel> tunnels) {
        return database_->configure(std::move(tunnels));
    }
    bool follow(const std::vector<XfrmEvent>& events) { return database_->follow(events); }
    [[nodiscard]] std::shared_ptr<OutboundSa> out(const std::string& tunnel = "t1") {
        return database_->policy_of(tunnel)->out;
    }
    [[nodiscard]] std::uint32_t spi_out(const std::string& tunnel = "t1") {
        const auto association = out(tunnel);
        return association ? association->parameters().spi : 0;
    }
    [[nodiscard]] InboundSa* in(std::uint32_t spi) {
        table_ = database_->table();
        return table_.find(spi, ip("10.0.0.1"));
    }
    [[nodiscard]] bool accepts(const std::string& tunnel, std::uint32_t spi) {
        const auto policy = database_->policy_of(tunnel);
        const InboundSa* association = in(spi);
        return association != nullptr &&
               std::find(
                   policy->accepts.begin(), policy->accepts.end(), association->parameters().id
               ) != policy->accepts.end();
    }
    [[nodiscard]] SaStatus status(std::uint32_t spi) {
        for (const SaStatus& status : database_->list()) {
            if (status.spi == spi) {
                return status;
            }
        }
        ADD_FAILURE() << "no SA " << spi;
        return {};
    }
    [[nodiscard]] std::string trouble(const std::string& tunnel = "t1") {
        return database_->encryption_of(tunnel).trouble;
    }
    /// Writing of the store fails until it is removed.
    [[nodiscard]] std::string obstacle() const { return state_ + "/esp-sequences.new"; }

    TemporaryFolder folder_;
    std::string state_ = folder_.file("state");
    std::unique_ptr<SequenceStore> store_;
    std::unique_ptr<SaDatabase> database_;
    std::uint64_t uptime_s_ = 1000;
    std::vector<std::pair<std::uint32_t, bool>> expired_;
    dataplane::SaTable table_;
};

}  // namespace culvert::ctl::testing_sa
