// SPDX-License-Identifier: GPL-2.0-or-later
//
// Short configuration texts for the tests of the TOML source, and their outcome.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "ctl/toml_source.hpp"

namespace culvert::ctl {

inline const std::string kBridge = "[[bridge]]\nname = \"br0\"\n";
/// A port on lines 3-5, a tunnel on lines 3-7; further keys begin on the next line.
inline const std::string kPort = kBridge + "[[port]]\nname = \"p1\"\nbridge = \"br0\"\n";
inline const std::string kDpdkPort = kPort + "kind = \"dpdk\"\ndevargs = \"0000:03:00.0\"\n";
inline const std::string kTunnel = kBridge + "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\n"
                                             "type = \"vxlan\"\nremote_ip = \"192.0.2.2\"\n";
inline const std::string kGre = kBridge + "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\n"
                                          "type = \"gre\"\nremote_ip = \"192.0.2.2\"\n";

/// The parts as one text.
inline std::string concat(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) {
        text += part;
    }
    return text;
}

/// The state of a text that must be valid.
inline DesiredState state_of(const std::string& text) {
    Result<DesiredState> state = parse_toml(text, "f");
    EXPECT_TRUE(state.has_value()) << state.error() << "\nin:\n" << text;
    return state.value_or(DesiredState{});
}

/// The sentence for a text that must be refused.
inline std::string error_of(const std::string& text) {
    const Result<DesiredState> state = parse_toml(text, "f");
    EXPECT_FALSE(state.has_value()) << "accepted:\n" << text;
    return state ? std::string{} : state.error();
}

}  // namespace culvert::ctl
