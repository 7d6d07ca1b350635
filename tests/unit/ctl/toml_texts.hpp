// SPDX-License-Identifier: GPL-2.0-or-later
//
// Short configuration texts for the tests of the TOML source, and their outcome.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/sentence.hpp"
#include "ctl/toml_source.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

inline const std::string kBridge = "[[bridge]]\nname = \"br0\"\n";
/// A port on lines 3-5, a tunnel on lines 3-7; further keys begin on the next line.
inline const std::string kPort = kBridge + "[[port]]\nname = \"p1\"\nbridge = \"br0\"\n";
inline const std::string kDpdkPort = kPort + "kind = \"dpdk\"\ndevargs = \"0000:03:00.0\"\n";
inline const std::string kPatch = kPort + "kind = \"patch\"\npeer = \"p2\"\n";
inline const std::string kTunnel = kBridge + "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\n"
                                             "type = \"vxlan\"\nremote_ip = \"192.0.2.2\"\n";
inline const std::string kGre = kBridge + "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\n"
                                          "type = \"gre\"\nremote_ip = \"192.0.2.2\"\n";

/// A tunnel of a type on lines 3-7.
inline std::string tunnel_text(std::string_view type, std::string_view remote_ip = "192.0.2.2") {
    std::string text = kBridge + "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\ntype = \"";
    text.append(type).append("\"\nremote_ip = \"").append(remote_ip).append("\"\n");
    return text;
}

/// The types for which `applies` is true, as messages list them.
template <class Applies>
std::string types_with(Applies applies) {
    std::vector<std::string_view> names;
    for (const tunnels::ProtocolDescriptor& protocol : tunnels::kProtocols) {
        if (applies(protocol)) {
            names.push_back(protocol.name);
        }
    }
    return listing(names);
}

/// The words that `type` takes.
inline std::string type_words() {
    return types_with([](const auto& /*any*/) { return true; }) + ", \"ip6gre\"";
}

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

/// Its first tunnel.
inline TunnelConfig tunnel_of(const std::string& text) {
    const DesiredState state = state_of(text);
    return state.tunnels.empty() ? TunnelConfig{} : state.tunnels[0];
}

/// The sentence for a text that must be refused.
inline std::string error_of(const std::string& text) {
    const Result<DesiredState> state = parse_toml(text, "f");
    EXPECT_FALSE(state.has_value()) << "accepted:\n" << text;
    return state ? std::string{} : state.error();
}

/// A text and the sentence by which it is refused.
struct RefusedText {
    std::string text;
    std::string error;
};

inline void expect_refusals(const std::vector<RefusedText>& refusals) {
    for (const RefusedText& refusal : refusals) {
        EXPECT_EQ(error_of(refusal.text), refusal.error) << "for:\n" << refusal.text;
    }
}

}  // namespace culvert::ctl
