// SPDX-License-Identifier: GPL-2.0-or-later
//
// Matches, actions and flow-mods in the layouts of OpenFlow 1.0 (7.2.3), 1.1 (A.2.3) and 1.2 to 1.5
// (OXM), read as far as the default flow needs it. Pure; any thread.
#pragma once

#include <optional>

#include "ctl/openflow/bridge.hpp"
#include "ctl/openflow/wire.hpp"

namespace culvert::ctl::openflow {

struct MatchFacts {
    bool everything = false;
    std::size_t size = 0;                  ///< On the wire, with padding.
    bool source = false;                   ///< See FlowChange.
    std::optional<std::uint16_t> in_port;  ///< Likewise.
};

/// Nothing: it is malformed.
[[nodiscard]] std::optional<MatchFacts>
read_match(View message, std::size_t offset, std::uint8_t version);

/// The match that matches everything.
void write_any_match(Writer& writer, std::uint8_t version);

/// `message` with its header. `table_in_command`: NXT_FLOW_MOD_TABLE_ID is on. Nothing: malformed.
[[nodiscard]] std::optional<FlowChange> read_flow_mod(View message, bool table_in_command);

inline constexpr std::uint16_t kNormal16 = 0xfffa;
inline constexpr std::uint16_t kLocal16 = 0xfffe;
inline constexpr std::uint32_t kNormal32 = 0xfffffffa;
inline constexpr std::uint32_t kLocal32 = 0xfffffffe;

}  // namespace culvert::ctl::openflow
