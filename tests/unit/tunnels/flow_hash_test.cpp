// SPDX-License-Identifier: GPL-2.0-or-later
//
// The hash behind the entropy source port: what it must and must not depend on.
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tests/unit/tunnels/frames.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/inner.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::kIp;
using tests::kMacs;
using tests::prefix;
using tests::set_word;
using tests::with;

std::uint32_t inner_flow_hash(const Bytes& frame) {
    return inspect_inner(frame, Payload::ethernet).hash;
}

/// The source port of a flow in a tunnel with the default range.
unsigned port_of(const Bytes& frame) {
    static const EncapTemplate of_any_tunnel =
        build_template(*find_protocol("vxlan"), {}, OuterConfig{}, {});
    return entropy_port(of_any_tunnel, inner_flow_hash(frame));
}

Bytes frame_of(std::string_view after_macs) {
    return from_hex(std::string(kMacs) + std::string(after_macs));
}

/// UDP 1111 -> 2222 from 10.0.0.1 to 10.0.0.2.
Bytes udp4() {
    return frame_of("0800 45000023000100004011 66c7 0a000001 0a000002 045708ae000f0000"
                    "63756c76657274");
}

/// UDP 1111 -> 2222 from fd00::1 to fd00::2.
Bytes udp6() {
    return frame_of("86dd 60000000000f1140 fd000000000000000000000000000001"
                    "fd000000000000000000000000000002 045708ae000f0000 63756c76657274");
}

void expect_same(const Bytes& frame, std::initializer_list<std::size_t> offsets) {
    for (const std::size_t at : offsets) {
        const Bytes changed = with(frame, at, tests::octet(frame, at) ^ 0x55U);
        EXPECT_EQ(inner_flow_hash(changed), inner_flow_hash(frame)) << "octet " << at;
    }
}

void expect_different(const Bytes& frame, std::size_t from, std::size_t to) {
    for (std::size_t at = from; at < to; ++at) {
        const Bytes changed = with(frame, at, tests::octet(frame, at) ^ 0x01U);
        EXPECT_NE(inner_flow_hash(changed), inner_flow_hash(frame)) << "octet " << at;
    }
}

TEST(InnerFlowHash, Ipv4IgnoresWhatDiffersBetweenPacketsOfAFlow) {
    // MAC addresses, TOS, length, identification, DF, TTL, checksum, UDP length, UDP checksum,
    // data.
    expect_same(udp4(), {0, 6, 15, 16, 17, 18, 19, 22, 24, 25, 38, 39, 40, 41, 42, 48});
    EXPECT_EQ(inner_flow_hash(with(udp4(), kIp + 6, 0x40)), inner_flow_hash(udp4()));
}

TEST(InnerFlowHash, Ipv4CoversProtocolAddressesAndPorts) {
    expect_different(udp4(), 23, 24);
    expect_different(udp4(), 26, 38);
}

TEST(InnerFlowHash, Ipv6IgnoresWhatDiffersBetweenPacketsOfAFlow) {
    // MAC addresses, traffic class, flow label, length, hop limit, UDP length and checksum, data.
    expect_same(udp6(), {0, 6, 14, 15, 16, 17, 18, 19, 21, 58, 59, 60, 61, 62, 68});
}

TEST(InnerFlowHash, Ipv6CoversNextHeaderAddressesAndPorts) {
    expect_different(udp6(), 20, 21);
    expect_different(udp6(), 22, 58);
}

TEST(InnerFlowHash, PortsCountForTcpUdpAndSctpOnly) {
    for (unsigned protocol = 0; protocol < 256; ++protocol) {
        const bool ports = protocol == 6 || protocol == 17 || protocol == 132;
        const Bytes v4 = with(udp4(), kIp + 9, protocol);
        const Bytes v6 = with(udp6(), kIp + 6, protocol);
        EXPECT_EQ(inner_flow_hash(with(v4, 35, 0xff)) != inner_flow_hash(v4), ports) << protocol;
        EXPECT_EQ(inner_flow_hash(with(v6, 55, 0xff)) != inner_flow_hash(v6), ports) << protocol;
    }
}

TEST(InnerFlowHash, PortsAreFoundBehindIpOptions) {
    Bytes frame = udp4();
    frame.insert(frame.begin() + kIp + 20, 8, std::byte{1});
    frame[kIp] = std::byte{0x47};
    EXPECT_EQ(inner_flow_hash(frame), inner_flow_hash(udp4()));
}

TEST(InnerFlowHash, AllFragmentsOfADatagramAreEqual) {
    Bytes first = udp4();
    set_word(first, kIp + 6, 0x2000);
    Bytes middle = with(udp4(), 35, 0x77);
    set_word(middle, kIp + 6, 0x2010);
    Bytes last = with(udp4(), 37, 0x99);
    set_word(last, kIp + 6, 0x0020);
    EXPECT_EQ(inner_flow_hash(first), inner_flow_hash(middle));
    EXPECT_EQ(inner_flow_hash(first), inner_flow_hash(last));
    EXPECT_NE(inner_flow_hash(first), inner_flow_hash(udp4())) << "ports are left out";
}

TEST(InnerFlowHash, ASenselessHeaderLengthReadsNoPorts) {
    for (unsigned ihl = 0; ihl < 5; ++ihl) {
        expect_same(with(udp4(), kIp, 0x40U | ihl), {15, 16, 17, 18, 19, 22, 24, 34});
    }
}

TEST(InnerFlowHash, LooksThroughOneOrTwoVlanTags) {
    for (Bytes frame : {udp4(), udp6()}) {
        const std::uint32_t plain = inner_flow_hash(frame);
        const Bytes customer = from_hex("8100 a064");
        frame.insert(frame.begin() + 12, customer.begin(), customer.end());
        EXPECT_EQ(inner_flow_hash(frame), plain);
        const Bytes service = from_hex("88a8 0007");
        frame.insert(frame.begin() + 12, service.begin(), service.end());
        EXPECT_EQ(inner_flow_hash(frame), plain);
        frame.insert(frame.begin() + 12, customer.begin(), customer.end());
        EXPECT_NE(inner_flow_hash(frame), plain) << "three tags: the MAC addresses count";
    }
}

TEST(InnerFlowHash, OtherFramesAreHashedByMacAddresses) {
    const Bytes arp = frame_of("0806 0001080006040001 020000000b01 0a000001 000000000000 0a000002");
    expect_different(arp, 0, 12);
    expect_same(arp, {14, 20, 28, 40});
}

TEST(InnerFlowHash, ReadsNothingBehindATruncatedFrame) {
    for (const Bytes& frame : {udp4(), udp6(), frame_of("8100 0001 88a8 0002 0800 45000023")}) {
        for (std::size_t size = 0; size <= frame.size(); ++size) {
            const Bytes cut = prefix(frame, size);
            EXPECT_EQ(inner_flow_hash(cut), inner_flow_hash(prefix(frame, size))) << size;
        }
    }
    const Bytes frame = udp4();
    EXPECT_EQ(inner_flow_hash(prefix(frame, 38)), inner_flow_hash(frame));
    EXPECT_EQ(inner_flow_hash(prefix(frame, 37)), inner_flow_hash(prefix(frame, 34)));
    EXPECT_EQ(inner_flow_hash(prefix(frame, 33)), inner_flow_hash(prefix(frame, 14)));
}

TEST(InnerFlowHash, SpreadsNeighbouringFlowsOverSourcePorts) {
    std::set<std::uint32_t> hashes;
    std::set<unsigned> ports;
    for (unsigned port = 0; port < 4096; ++port) {
        Bytes frame = udp4();
        set_word(frame, 34, 32768 + port);
        hashes.insert(inner_flow_hash(frame));
        ports.insert(port_of(frame));
    }
    EXPECT_EQ(hashes.size(), 4096U);
    // 4096 random draws out of 28233 hit about 3813 different ports.
    EXPECT_GT(ports.size(), 3500U);
}

TEST(InnerFlowHash, SpreadsNeighbouringHostsOverFourQueues) {
    for (const bool v6 : {false, true}) {
        std::array<int, 4> queues{};
        for (unsigned host = 0; host < 256; ++host) {
            const Bytes frame = v6 ? with(udp6(), 53, host) : with(udp4(), 33, host);
            ++queues.at(port_of(frame) % 4);
        }
        for (const int count : queues) {
            EXPECT_GT(count, 32) << "of 256, 64 would be even";
        }
    }
}

TEST(InnerFlowHash, IsTheSameForAPacketWithAndWithoutItsFrame) {
    for (const Bytes& frame : {udp4(), udp6()}) {
        const auto packet = std::span(frame).subspan(kIp);
        EXPECT_EQ(inspect_inner(packet, Payload::ip).hash, inner_flow_hash(frame));
    }
}

}  // namespace
}  // namespace culvert::tunnels
