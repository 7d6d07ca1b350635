// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keeps an IKE daemon (strongSwan's charon, by its vici socket) at one connection for each tunnel
// that wants its keys by IKE: loads and unloads connections and secrets, starts them, and says what
// became of them. The SAs themselves come by the kernel (xfrm.hpp). Control thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "ctl/esp_config.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

/// A tunnel whose keys are to be negotiated.
struct IkeTunnel {
    std::string name;
    std::string type;
    std::uint16_t udp_port = 0;  ///< 0: GRE.
    std::string key;             ///< Both directions' key as a text, e.g. "5", "5/6", "flow", "".
    tunnels::IpAddress local;    ///< Resolved.
    tunnels::IpAddress remote;
    IkeConfig config;
    std::uint32_t reqid = 0;
    bool operator==(const IkeTunnel&) const = default;
};

enum class IkeState : std::uint8_t {
    no_daemon,  ///< Nobody answers at the vici socket.
    negotiating,
    established,
    failed,  ///< `trouble` says why; it is tried again.
};

struct IkeStatus {
    IkeState state = IkeState::no_daemon;
    std::string trouble;        ///< One sentence; empty: none.
    std::string peer_id;        ///< As it authenticated itself.
    bool of_culvert = false;    ///< The peer takes one pair of SAs for each tunnel.
    std::uint64_t rekeyed = 0;  ///< Times that the child SA was replaced.
};

class Ike {
public:
    explicit Ike(boost::asio::io_context& io);
    ~Ike();
    Ike(const Ike&) = delete;
    Ike& operator=(const Ike&) = delete;

    /// Called when the status of a tunnel changed.
    std::function<void()> on_change;

    /// What is wanted now. Connections of tunnels that did not change are not disturbed; neither
    /// are those of others than this daemon.
    void configure(const IkeDaemonConfig& daemon, const std::vector<IkeTunnel>& tunnels);
    /// About ten times a second: connects anew, tries again.
    void tick();
    [[nodiscard]] IkeStatus status(const std::string& tunnel) const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ctl
