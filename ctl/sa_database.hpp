// SPDX-License-Identifier: GPL-2.0-or-later
//
// The security associations of all tunnels (RFC 4301's SAD): made of configured keys, or of what
// the kernel has from an IKE daemon, given to the tunnels that they are for, watched until they
// end. Knows neither netlink nor files of keys. Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ctl/config.hpp"
#include "ctl/kernel_sa.hpp"
#include "ctl/sequence_store.hpp"
#include "ctl/xfrm.hpp"
#include "dataplane/sa_table.hpp"

namespace culvert::ctl {

/// What `sa list` shows of one SA; it has no key.
struct SaStatus {
    std::string tunnel;
    bool outbound = false;
    bool by_ike = false;
    bool current = false;  ///< Outbound: packets leave by it. Inbound: it is accepted.
    std::uint32_t spi = 0;
    tunnels::IpAddress source;
    tunnels::IpAddress destination;
    tunnels::EspAlgorithm algorithm{};
    EspMode mode{};
    bool extended = false;
    std::uint32_t replay_window = 0;
    std::uint16_t udp_source = 0;
    std::uint16_t udp_destination = 0;
    std::uint64_t age_s = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t sequence = 0;  ///< Last sent, or highest received.
    std::uint64_t replayed = 0;
    std::uint64_t late = 0;
    std::uint64_t not_authentic = 0;
    std::uint64_t malformed = 0;
    SaLifetime soft;
    SaLifetime hard;
    SaLifetime left;  ///< Until the hard end.
    bool soft_expired = false;
    std::string trouble;  ///< Why it is not used; empty: it is.
};

/// A tunnel as SAs are given out by.
struct EspTunnel {
    std::string name;
    std::string type;
    std::uint16_t udp_port = 0;               ///< Its destination port; 0: GRE.
    std::optional<tunnels::IpAddress> local;  ///< As resolved or configured.
    tunnels::IpAddress remote;
    std::optional<EspConfig> esp;
    bool by_ike = false;
    std::uint32_t reqid = 0;  ///< By which an SA of the IKE daemon says that it is this one's.
};

/// The reqid of a tunnel's SAs, the same whenever the tunnel has this name: 0x43000000 and more.
[[nodiscard]] std::uint32_t reqid_of(const std::string& tunnel);

class SaDatabase {
public:
    explicit SaDatabase(SequenceStore& store);
    ~SaDatabase();
    SaDatabase(const SaDatabase&) = delete;
    SaDatabase& operator=(const SaDatabase&) = delete;

    /// Called with an SA of the kernel whose soft or hard end was reached by use.
    std::function<void(const SaStatus&, bool hard)> on_expired;

    /// The tunnels there are now; SAs whose tunnel keeps its keys go on as they are. True: policies
    /// or the table have changed.
    [[nodiscard]] bool configure(std::vector<EspTunnel> tunnels);
    /// What the kernel has. As configure().
    [[nodiscard]] bool follow(const std::vector<XfrmEvent>& events);
    /// About ten times a second: ends what has ended, writes down sequence numbers ahead of use.
    /// As configure().
    [[nodiscard]] bool tick(std::uint64_t now_s);

    /// Null: the tunnel is not encrypted.
    [[nodiscard]] std::shared_ptr<const dataplane::EspPolicy> policy_of(const std::string& tunnel
    ) const;
    /// The longest plain IP packet (header included) of which the sealed one has at most `bytes`.
    [[nodiscard]] std::uint32_t plain_mtu(const std::string& tunnel, std::uint32_t bytes) const;
    [[nodiscard]] dataplane::SaTable table() const;
    [[nodiscard]] std::vector<SaStatus> list() const;
    /// How the kernel's SAs were used, of those that changed since the last call.
    [[nodiscard]] std::vector<SaUse> uses();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ctl
