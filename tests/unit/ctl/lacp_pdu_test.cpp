// SPDX-License-Identifier: GPL-2.0-or-later
//
// LACPDUs against bytes put together by hand from the standard (IEEE 802.1AX-2014 section 6.4.2).

#include "ctl/lacp_pdu.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::ctl {

namespace {

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) {
        bytes.push_back(static_cast<std::byte>(value));
    }
    return bytes;
}

/// From an active, fast system 02:00:0a:00:00:09 to a partner that it does not know yet.
std::vector<std::byte> example() {
    auto frame = bytes_of({0x01, 0x80, 0xc2, 0x00, 0x00, 0x02,  // To the Slow Protocols group
                           0xaa, 0xd0, 0x23, 0x46, 0x4f, 0xae,  //
                           0x88, 0x09, 0x01, 0x01,              // LACP, version 1
                           0x01, 0x14,                          // Actor
                           0xff, 0xfe, 0x02, 0x00, 0x0a, 0x00, 0x00, 0x09,  // System
                           0x00, 0x01, 0xff, 0xff, 0x00, 0x02,              // Key, port
                           0x87, 0x00, 0x00, 0x00,  // Expired, aggregation, short, active
                           0x02, 0x14,              // Partner
                           0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  //
                           0x00, 0x00, 0x00, 0x00, 0x00, 0x00,              //
                           0x02, 0x00, 0x00, 0x00,                          // Short
                           0x03, 0x10});                                    // Collector
    frame.resize(kLacpFrameBytes);
    return frame;
}

LacpPdu example_pdu() {
    LacpPdu pdu;
    pdu.actor = {
        .system_priority = 65534,
        .system_id = {{0x02, 0x00, 0x0a, 0x00, 0x00, 0x09}},
        .key = 1,
        .port_priority = 65535,
        .port_id = 2,
        .state = lacp_state::kExpired | lacp_state::kAggregation | lacp_state::kTimeout |
                 lacp_state::kActivity};
    pdu.partner.state = lacp_state::kTimeout;
    return pdu;
}

TEST(LacpPdu, ReadsTheFieldsOfTheStandard) {
    EXPECT_EQ(lacp_subtype(example()), LacpSubtype::lacp);
    EXPECT_EQ(parse_lacp_frame(example()), example_pdu());
}

TEST(LacpPdu, WritesTheSameBytes) {
    const auto written = write_lacp_frame(example_pdu(), {{0xaa, 0xd0, 0x23, 0x46, 0x4f, 0xae}});
    EXPECT_TRUE(std::ranges::equal(written, example()));
}

TEST(LacpPdu, AnythingCutOffIsRefused) {
    const auto frame = example();
    for (std::size_t length = 0; length < frame.size(); ++length) {
        EXPECT_FALSE(parse_lacp_frame(std::span(frame).first(length))) << length;
    }
    auto padded = frame;
    padded.resize(200);
    EXPECT_EQ(parse_lacp_frame(padded), example_pdu());
}

TEST(LacpPdu, ContradictionsAreRefused) {
    for (const std::size_t at : {12U, 13U, 14U, 16U, 17U, 36U, 37U}) {
        auto frame = example();
        frame[at] ^= std::byte{0x40};
        EXPECT_FALSE(parse_lacp_frame(frame)) << at;
        EXPECT_EQ(lacp_subtype(frame), LacpSubtype::unknown) << at;
    }
    auto marker = example();
    marker[14] = std::byte{2};
    EXPECT_EQ(lacp_subtype(marker), LacpSubtype::marker);
    EXPECT_FALSE(parse_lacp_frame(marker));
}

}  // namespace

}  // namespace culvert::ctl
