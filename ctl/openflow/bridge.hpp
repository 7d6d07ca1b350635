// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an OpenFlow connection knows of a bridge, and the seam where flow tables will sit: the
// connection decodes and encodes, FlowTables says what is there and what may be changed. Control
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tunnels/address.hpp"

namespace culvert::ctl::openflow {

struct PortFacts {
    std::uint16_t ofport = 0;
    std::string name;
    tunnels::MacAddress mac;
    bool up = false;
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_bytes = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t dropped = 0;
};

/// A flow-mod, as far as it is understood.
struct FlowChange {
    enum class Command : std::uint8_t { add, modify, modify_strict, remove, remove_strict };
    /// `local`, `port`: one output, to the bridge's own port or to another.
    enum class Actions : std::uint8_t { none, normal, local, port, other };
    Command command = Command::add;
    std::uint8_t table = 0;  ///< 255: any.
    std::uint16_t priority = 0;
    bool matches_everything = false;
    bool matches_source = false;           ///< The Ethernet source, by OpenFlow 1.0.
    std::optional<std::uint16_t> in_port;  ///< By OpenFlow 1.0.
    Actions actions = Actions::none;
    bool times_out = false;
    std::uint64_t cookie = 0;
};

/// The one flow there is.
struct FlowFacts {
    std::uint32_t duration_s = 0;
    std::uint64_t cookie = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

class FlowTables {
public:
    FlowTables() = default;
    virtual ~FlowTables() = default;
    FlowTables(const FlowTables&) = delete;
    FlowTables& operator=(const FlowTables&) = delete;

    /// Makes the change, or says in a sentence why not; the peer is then answered with an error.
    [[nodiscard]] virtual std::optional<std::string> change(const FlowChange& change) = 0;
    /// Of table 0: the flow with priority 0 and action NORMAL.
    [[nodiscard]] virtual FlowFacts normal_flow() const = 0;
};

class Bridge {
public:
    Bridge() = default;
    virtual ~Bridge() = default;
    Bridge(const Bridge&) = delete;
    Bridge& operator=(const Bridge&) = delete;

    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::uint64_t datapath_id() const = 0;
    [[nodiscard]] virtual std::vector<PortFacts> ports() const = 0;
    [[nodiscard]] virtual FlowTables& tables() = 0;
};

/// Tables that hold nothing but the default flow, as a bridge without a controller has it. Deleting
/// succeeds, and the default flow is at once there again; so does adding that flow. Flows of the
/// same priority by which a toolstack keeps the host's own port reachable (xcp-networkd, where
/// fail_mode is secure) are taken, as the default flow does what they ask for. Everything else is
/// refused.
class DefaultTables : public FlowTables {
public:
    [[nodiscard]] std::optional<std::string> change(const FlowChange& change) override;

protected:
    [[nodiscard]] std::uint64_t cookie() const { return cookie_; }

private:
    std::uint64_t cookie_ = 0;
};

}  // namespace culvert::ctl::openflow
