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
#include "ctl/tunnel_encryption.hpp"
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
    std::optional<tunnels::EspAlgorithm> algorithm;  ///< Nothing: one that is not known here.
    std::string algorithm_name;
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
    std::string trouble;  ///< Why it is not used, or soon will not be; empty: none.
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
    bool udp_encap = false;   ///< Of by_ike: what its SAs may add, before there is one.
    std::uint32_t reqid = 0;  ///< By which an SA of the IKE daemon says that it is this one's.
    std::uint32_t foreign_reqid = 0;  ///< Of SAs that several tunnels share (ike.hpp); 0: none.
    /// It takes SAs with a reqid of somebody else by their addresses and selector too.
    bool by_selector = false;
    std::string trouble;  ///< Why it cannot be encrypted; it gets no SA then.
    bool operator==(const EspTunnel&) const = default;
};

/// The reqid of a tunnel's SAs, the same whenever the tunnel has this name: 0x40000000-0x7fffffff.
/// Two names may share one; configure() then gives SAs to neither.
[[nodiscard]] std::uint32_t reqid_of(const std::string& tunnel);

class SaDatabase {
public:
    explicit SaDatabase(SequenceStore& store);
    ~SaDatabase();
    SaDatabase(const SaDatabase&) = delete;
    SaDatabase& operator=(const SaDatabase&) = delete;

    /// Called with an SA of the kernel whose soft or hard end was reached by use.
    std::function<void(const SaStatus&, bool hard)> on_expired;

    /// Why no SA can be used at all, such as a store that cannot be opened; empty: they can.
    void set_trouble(const std::string& trouble);
    /// The tunnels there are now; SAs whose tunnel keeps its keys go on as they are. True:
    /// policies, the table or troubles have changed.
    [[nodiscard]] bool configure(std::vector<EspTunnel> tunnels);
    /// What the kernel has. As configure().
    [[nodiscard]] bool follow(const std::vector<XfrmEvent>& events);
    /// The kernel's SAs are all known by what was followed: of others the store forgets the keys.
    void forget_removed();
    /// The SPIs of all SAs that the IKE daemon has for this one's tunnels. The SAs of the kernel
    /// with a reqid of ours that are missing there for the second time: nobody keeps them.
    [[nodiscard]] std::vector<KernelSaRemoved> unlisted(const std::vector<std::uint32_t>& spis);
    /// About ten times a second: ends what has ended, writes down sequence numbers ahead of use.
    /// `now_s`: since the epoch; `uptime_s`: of a clock that nobody sets. As configure().
    [[nodiscard]] bool tick(std::uint64_t now_s, std::uint64_t uptime_s);
    /// At the end: what was received is noted, so that no packet comes in again after a restart.
    void flush();

    /// Null: the tunnel is not encrypted.
    [[nodiscard]] std::shared_ptr<const dataplane::EspPolicy> policy_of(const std::string& tunnel
    ) const;
    /// The longest plain IP packet (header included) of which the sealed one has at most `bytes`.
    [[nodiscard]] std::uint32_t plain_mtu(const std::string& tunnel, std::uint32_t bytes) const;
    [[nodiscard]] dataplane::SaTable table() const;
    [[nodiscard]] std::vector<SaStatus> list() const;
    [[nodiscard]] TunnelEncryption encryption_of(const std::string& tunnel) const;
    /// How the kernel's SAs were used, of those that changed since the last call.
    [[nodiscard]] std::vector<SaUse> uses();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::ctl
