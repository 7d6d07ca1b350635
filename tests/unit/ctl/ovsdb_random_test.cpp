// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rows of random references and nasty values never make a state that validate() refuses, and large
// databases are gone through once, not once for each pair of rows.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/ctl/ovsdb_made.hpp"

namespace culvert::ctl {
namespace {

using Options = OvsdbRows::Options;

class RandomRows {
public:
    explicit RandomRows(std::uint32_t seed) : random_(seed) {}

    ovsdb::Replica make() {
        make_rows("Interface", 12);
        make_rows("Port", 8);
        make_rows("Bridge", 4);
        make_rows("Open_vSwitch", 1);
        return std::move(replica_);
    }

private:
    template <class T>
    const T& pick(const std::vector<T>& pool) {
        return pool[random_() % pool.size()];
    }
    bool one_in(std::uint32_t n) { return random_() % n == 0; }

    /// Names of rows are mostly good ones, but not always different.
    std::string name() {
        return one_in(6) ? word() : std::string(1, static_cast<char>('a' + random_() % 26));
    }
    std::string word() {
        static const std::vector<std::string> pool{
            "",
            "br0",
            "br1",
            "a",
            "b",
            "e0",
            "e0.fake",
            "p/q",
            "a\\b",
            "sixteen-bytes-xy",
            "with space",
            "gre_sys",
            "ovs-system",
            std::string(300, 'x'),
            std::string("nul\0x", 5),
            "\xff\xfe",
            "true",
            "false",
            "secure",
            "-1",
            "0",
            "5",
            "4095",
            "0x10",
            "99999999999999999999",
            "flow",
            "inherit",
            "192.0.2.1",
            "192.0.2.2",
            "fd00::1",
            "224.0.0.1",
            "::",
            "legacy_l3",
            "legacy_l2",
            "ptap",
            "gbp",
            "gpe",
            "gbp,gpe",
            ",",
            "4789",
            "4500",
            "/x",
            "follow",
            "1:1:",
            "fragment-outer",
            "drop",
            "00:11:22:33:44:55",
            "active",
            "passive",
            "balance-tcp",
            "balance-slb",
            "access",
            "native-tagged",
            "dot1q-tunnel",
            "netdev",
            "{}"};
        return pick(pool);
    }
    std::string type() {
        static const std::vector<std::string> pool{
            "",
            "system",
            "internal",
            "tap",
            "patch",
            "dpdk",
            "dpdkvhostuserclient",
            "gre",
            "ip6gre",
            "vxlan",
            "vxlan",
            "geneve",
            "lisp",
            "stt",
            "foo"};
        return pick(pool);
    }
    std::string key() {
        static const std::vector<std::string> pool{
            "remote_ip",
            "local_ip",
            "key",
            "in_key",
            "out_key",
            "tos",
            "ttl",
            "dst_port",
            "csum",
            "seq",
            "df_default",
            "exts",
            "packet_type",
            "oversize",
            "nvgre",
            "options",
            "gbp_id",
            "src_port_min",
            "udp6_zero_csum_tx",
            "peer",
            "dpdk-devargs",
            "vhost-server-path",
            "n_rxq",
            "psk",
            "psk",
            "psk",
            "remote_cert",
            "remote_name",
            "certificate",
            "private_key",
            "culvert-ike",
            "hwaddr",
            "datapath-id",
            "mac-aging-time",
            "mac-table-size",
            "max-idle",
            "flow-restore-wait",
            "pmd-cpu-mask",
            "dpdk-socket-mem",
            "culvert-firewall-manage",
            "bond-primary",
            "lacp-system-id",
            "bond-rebalance-interval",
            "lacp-time",
            "unheard-of"};
        return pick(pool);
    }
    std::int64_t number() {
        static const std::vector<std::int64_t> pool{
            -1,
            0,
            1,
            5,
            68,
            1500,
            4094,
            4095,
            4096,
            65279,
            65280,
            65521,
            65535,
            1 << 20,
            std::numeric_limits<std::int64_t>::min(),
            std::numeric_limits<std::int64_t>::max()};
        return pick(pool);
    }
    ovsdb::Datum map() {
        Options options;
        if (one_in(2)) {
            options["remote_ip"] = "192.0.2.2";
        }
        for (auto i = random_() % 4; i > 0; --i) {
            options[key()] = word();
        }
        return ovsdb::map_of(options);
    }
    ovsdb::Datum numbers() { return OvsdbRows::numbers({number(), number()}); }
    ovsdb::Datum references(const std::string& table) {
        std::vector<ovsdb::Atom> atoms;
        for (auto i = random_() % 5; i > 0; --i) {
            const ovsdb::Rows& rows = replica_.rows(table);
            if (rows.empty() || one_in(20)) {
                atoms.emplace_back(ovsdb::Uuid{"00000000-0000-4000-8000-000000000000"});
            } else {
                auto row = rows.begin();
                std::advance(row, random_() % rows.size());
                atoms.emplace_back(row->first);
            }
        }
        return ovsdb::set_of(std::move(atoms));
    }
    ovsdb::Datum of_any_type() {
        switch (random_() % 5) {
        case 0:
            return OvsdbRows::number(number());
        case 1:
            return OvsdbRows::text(word());
        case 2:
            return map();
        case 3:
            return references("Port");
        default:
            return ovsdb::empty_set();
        }
    }

    ovsdb::Datum value_of(const std::string& column) {
        static const std::set<std::string> number_columns{
            "tag", "mtu_request", "ofport", "ofport_request", "bond_updelay", "next_cfg"};
        static const std::set<std::string> map_columns{"options", "other_config", "bfd"};
        if (one_in(30)) {
            return of_any_type();
        }
        if (column == "bridges") {
            return references("Bridge");
        }
        if (column == "ports") {
            return references("Port");
        }
        if (column == "interfaces") {
            return references("Interface");
        }
        if (column == "name") {
            return OvsdbRows::text(name());
        }
        if (column == "type") {
            return OvsdbRows::text(type());
        }
        if (column == "trunks") {
            return numbers();
        }
        if (column == "datapath_type") {
            return OvsdbRows::text(one_in(8) ? word() : "netdev");
        }
        if (column == "fake_bridge" || column == "bond_fake_iface") {
            return OvsdbRows::truth(one_in(2));
        }
        if (map_columns.contains(column)) {
            return map();
        }
        return number_columns.contains(column) ? OvsdbRows::number(number())
                                               : OvsdbRows::text(word());
    }

    void make_rows(const std::string& table, std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            ovsdb::Row row;
            for (const std::string& column : wanted_columns().at(table)) {
                const bool always = column == "name" || column == "type" || column == "options" ||
                                    column == "interfaces" || column == "ports" ||
                                    column == "bridges";
                if (always || one_in(4)) {
                    row[column] = value_of(column);
                }
            }
            std::string digits = std::to_string(++rows_);
            digits.insert(0, 12 - digits.size(), '0');
            replica_.tables[table].emplace(
                ovsdb::Uuid{"00000000-0000-4000-8000-" + digits}, std::move(row)
            );
        }
    }

    std::mt19937 random_;
    ovsdb::Replica replica_;
    std::size_t rows_ = 0;
};

TEST(OvsdbRandom, WhateverTheRowsSayTheStateIsValid) {
    std::size_t bridges = 0;
    std::size_t ports = 0;
    std::size_t tunnels = 0;
    std::size_t bonds = 0;
    std::size_t encrypted = 0;
    std::size_t errors = 0;
    for (std::uint32_t seed = 0; seed < 1000; ++seed) {
        const ovsdb::Replica replica = RandomRows(seed).make();
        const OvsdbConfiguration configuration = make_configuration(replica, {});
        const auto valid = validate(configuration.state);
        ASSERT_TRUE(valid.has_value()) << "seed " << seed << ": " << valid.error();
        bridges += configuration.state.bridges.size();
        ports += configuration.state.ports.size();
        tunnels += configuration.state.tunnels.size();
        bonds += configuration.state.bonds.size();
        const std::vector<TunnelConfig>& made = configuration.state.tunnels;
        encrypted += static_cast<std::size_t>(std::count_if(
            made.begin(),
            made.end(),
            [](const TunnelConfig& tunnel) { return tunnel.is_encrypted(); }
        ));
        for (const OvsdbInterface& interface : configuration.interfaces) {
            errors += interface.error.empty() ? 0 : 1;
            ASSERT_TRUE(interface.error.empty() || !interface.ignored);
        }
        ASSERT_EQ(make_configuration(replica, {}).state, configuration.state);
    }
    // The rows are not so bad that nothing comes of them.
    EXPECT_GT(bridges, 500U);
    EXPECT_GT(ports, 300U);
    EXPECT_GT(tunnels, 30U);
    EXPECT_GT(bonds, 10U);
    EXPECT_GT(encrypted, 3U);
    EXPECT_GT(errors, 500U);
}

TEST(OvsdbRandom, AThousandTunnelsOnTwoHundredBridges) {
    OvsdbRows rows;
    for (int i = 0; i < 200; ++i) {
        rows.add_bridge("br" + std::to_string(i));
    }
    for (int i = 0; i < 1000; ++i) {
        rows.add_port(
            "br" + std::to_string(i % 200),
            "t" + std::to_string(i),
            "vxlan",
            {{"remote_ip", "192.0.2.2"}, {"key", std::to_string(i)}}
        );
    }
    const OvsdbConfiguration configuration = made(rows);
    EXPECT_EQ(configuration.state.bridges.size(), 200U);
    EXPECT_EQ(configuration.state.tunnels.size(), 1000U);
    EXPECT_EQ(configuration.interfaces.size(), 1200U);
    for (const OvsdbInterface& interface : configuration.interfaces) {
        EXPECT_EQ(interface.error, "");
    }
}

}  // namespace
}  // namespace culvert::ctl
