// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keeps an IKE daemon (strongSwan's charon, by its vici socket) at one connection for each tunnel
// that wants its keys by IKE: loads and unloads connections and secrets, starts them, and says what
// became of them. The SAs themselves come by the kernel (xfrm.hpp). Control thread only.
#pragma once

#include <chrono>
#include <cstdint>
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

/// The reqid of SAs with a peer that is not a Culvert and takes one pair for all tunnels of a
/// protocol and port (0: GRE) between two addresses, of those by which the peer proves itself in
/// one way: 0x20000000-0x3ffffffe, even. SAs with this number may be used by each of those tunnels,
/// in both directions. Those with the next one are of the peer's second pair for UDP, which is for
/// packets that it sends: they are only received by.
[[nodiscard]] std::uint32_t foreign_reqid_of(
    const IkeConfig& ike,
    std::uint16_t udp_port,
    const tunnels::IpAddress& local,
    const tunnels::IpAddress& remote
);

enum class IkeState : std::uint8_t {
    no_daemon,  ///< Nobody answers at the vici socket.
    negotiating,
    established,
    failed,  ///< `trouble` says why; it is tried again.
};

struct IkeStatus {
    IkeState state = IkeState::no_daemon;
    std::string trouble;        ///< One sentence; empty: none, or none is known yet.
    std::string peer_id;        ///< As it authenticated itself.
    bool of_culvert = false;    ///< The peer takes one pair of SAs for each tunnel.
    std::uint64_t rekeyed = 0;  ///< Times that the child SA was replaced.
};

/// Of the daemon as it is; tests have less of them.
struct IkeTimes {
    std::chrono::milliseconds retry_min{1000};  ///< After an attempt that failed.
    std::chrono::milliseconds retry_max{60000};
    /// How much longer the end with the higher address waits for the other one to begin.
    std::chrono::milliseconds grace{5000};
    /// After which what two ends began at the same time is tidied up.
    std::chrono::milliseconds settle{5000};
    /// After which a peer that was taken for none of Culvert's is asked again whether it is one.
    std::chrono::milliseconds ask_again_min{10000};
    std::chrono::milliseconds ask_again_max{3600000};
    /// How often charon is asked for its SAs while some are missing, and else.
    std::chrono::milliseconds look_often{1000};
    std::chrono::milliseconds look_seldom{10000};
};

class Ike {
public:
    explicit Ike(boost::asio::io_context& io, const IkeTimes& times = {});
    ~Ike();
    Ike(const Ike&) = delete;
    Ike& operator=(const Ike&) = delete;

    /// Called when the status of a tunnel changed.
    std::function<void()> on_change;
    /// Called each time that charon was asked for its SAs, with the SPIs, both directions', of all
    /// that it has for this daemon's tunnels. What the kernel has of them besides, and had before
    /// charon was asked, is left over from a charon that crashed: nobody opens or rekeys it.
    std::function<void(const std::vector<std::uint32_t>& spis)> on_listed;

    /// What is wanted now. Connections of tunnels that did not change are not disturbed; neither
    /// are those of others than this daemon.
    void configure(const IkeDaemonConfig& daemon, const std::vector<IkeTunnel>& tunnels);
    /// Certificates and keys may be others, in files of the same names: configure() reads them
    /// anew. Else it reads only those that it does not have.
    void read_files_anew();
    /// About ten times a second: connects anew, tries again.
    void tick();
    [[nodiscard]] IkeStatus status(const std::string& tunnel) const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ctl
