// SPDX-License-Identifier: GPL-2.0-or-later
//
// Makes the host be what the desired state says, and keeps it so as the kernel's links, addresses,
// routes and neighbours change: opens and closes devices, claims interfaces, resolves tunnels,
// publishes snapshots. Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "ctl/config.hpp"
#include "ctl/device_check.hpp"
#include "ctl/plan.hpp"
#include "ctl/slow_path.hpp"
#include "ctl/switch_model.hpp"
#include "ctl/switch_parts.hpp"
#include "ctl/underlay.hpp"
#include "dataplane/worker.hpp"

namespace culvert::ctl {

class Switch {
public:
    /// `running` is what the parts were started with; it has no bridges, ports or tunnels.
    Switch(const SwitchParts& parts, const DesiredState& running);
    ~Switch();
    Switch(const Switch&) = delete;
    Switch& operator=(const Switch&) = delete;

    /// Goes from the running state to `wanted`, touching only what differs. When it fails before
    /// anything was changed (bad device, key that needs a restart) the running state stays.
    [[nodiscard]] Result<Applied>
    apply(const DesiredState& wanted, ApplyMode mode = ApplyMode::whole);

    [[nodiscard]] const DesiredState& running() const { return running_; }
    [[nodiscard]] const SwitchModel& model() const { return model_; }
    /// Rises with each snapshot: while it stays, nothing that status shows has changed.
    [[nodiscard]] std::uint64_t version() const { return version_; }
    [[nodiscard]] const Underlay& underlay() const { return parts_.underlay; }
    /// Counters of a port of the model, since it is one.
    [[nodiscard]] PortTotals totals(const SwitchPort& port) const;
    /// Port -> why it has no device; it gets one when one appears.
    [[nodiscard]] std::map<std::string, std::string> failures() const;

    [[nodiscard]] const Encryption& encryption() const { return encryption_; }
    /// The host's input policy as it was read last; never null.
    [[nodiscard]] const firewall::Policy& policy() const { return *policy_; }
    /// TAP devices that would be kept vanish with the switch (exit --cleanup).
    void discard_devices();

    void on_events(const std::vector<NetlinkEvent>& events);
    /// About ten times a second: neighbours, DPDK link state, ageing.
    void tick();
    /// Security associations of the kernel have changed.
    void on_xfrm();
    /// Takes what the guard has: rules that changed, and what it did.
    void on_firewall();
    /// Answers upcalls and publishes what they changed.
    void drain_upcalls();

    /// The bond of that name; null: there is none.
    [[nodiscard]] Bond* find_bond(const std::string& name);
    /// Publishes what was changed in a bond by hand.
    void on_bond_changed();

private:
    using Devices = std::map<std::string, std::unique_ptr<dataplane::Port>>;
    using Locals = std::map<int, LocalDevice>;

    Result<Devices> open_ahead(const std::vector<Action>& actions);
    Result<std::unique_ptr<dataplane::Port>> open_device(const PortConfig& config);

    Result<void> execute(const Action& action, Devices& ahead);
    Result<void> add_bridge(const BridgeConfig& config, Devices& ahead);
    Result<void> change_bridge(const BridgeConfig& from, const BridgeConfig& to, Devices& ahead);
    void remove_bridge(const std::string& name);
    Result<void> add_local_port(const BridgeConfig& config, Devices& ahead);
    Result<void> set_up_local_device(const SwitchPort& port, const BridgeConfig& config);
    void remove_strays(const DesiredState& to);
    void remove_devices();
    Result<void> change_mac(SwitchPort& port, const tunnels::MacAddress& mac);
    void change_addresses(
        const SwitchPort& port, const LocalPortConfig& from, const LocalPortConfig& to
    );
    void set_static_macs();
    Result<void> add_port(const PortConfig& config, Devices& ahead);
    Result<void> change_port(const PortConfig& from, const PortConfig& to);
    void add_tunnel(const TunnelConfig& config);
    void change_tunnel(const TunnelConfig& to);
    void remove_port(const std::string& name, bool local = false);
    void add_bond(const BondConfig& config);
    void change_bond(const BondConfig& from, const BondConfig& to);

    SwitchPort& insert_port(
        const std::string& name, PortRole role, const std::string& bridge, const VlanConfig& vlan
    );
    std::uint16_t free_port_index();
    void attach(SwitchPort& port, std::unique_ptr<dataplane::Port> device);
    void map_queues(SwitchPort& port);
    void remap_queues(SwitchPort& port);
    void detach(SwitchPort& port, const std::string& trouble);
    void warn_of_addresses(const SwitchPort& port) const;
    void update_claim(SwitchPort& port, bool wanted);
    void note_link(const LinkEvent& link, LinkNews& news);
    void reconcile_links(const LinkNews& news);
    void follow_mtus();
    void follow_link(SwitchPort& port, const LinkEvent& link);
    [[nodiscard]] DeviceStatus
    first_status(const SwitchPort& port, const dataplane::PortInfo& info) const;
    void reopen_missing();
    void poll_dpdk_links();
    void wait_for_grace();
    void wait_for_release(const PortConfig& config);

    void resolve_all(bool only_due = false);
    void resolve_tunnel(SwitchPort& port, const Locals& locals);
    void probe(SwitchPort& port);
    void publish_if_changed();

    // Of bridges that route (switch_l3.cpp).
    void refresh_routing();
    void on_unknown_host(std::uint16_t tunnel_port, const tunnels::IpAddress& host);
    [[nodiscard]] HostFacts host_facts() const;
    [[nodiscard]] bool is_gateway_link(int ifindex) const;
    [[nodiscard]] bool changes_hosts(const NeighbourEvent& event) const;
    void probe_stale_hosts();
    void on_path_mtu(const tunnels::IpAddress& remote, std::uint32_t mtu);
    void age_path_mtus(std::uint32_t now_s);

    // Of bonds (switch_bonds.cpp).
    void tick_bonds();
    void refresh_bonds();
    void refresh_bond(SwitchPort& port);
    void run_lacp(SwitchPort& port);
    void on_lacp(std::uint16_t member, std::span<const std::byte> frame);
    void collect_learning(SwitchPort& port);
    void send_learning();
    void send_frame(std::uint16_t port, std::span<const std::byte> frame);

    // Of the host's firewall (switch_firewall.cpp).
    void take_policy(std::shared_ptr<const firewall::Policy> policy);
    void judge_tunnels();
    void judge(SwitchPort& tunnel);
    void log_verdict(const SwitchPort& tunnel, TunnelVerdict::Kind before);
    void keep_rules();
    [[nodiscard]] std::shared_ptr<const dataplane::Admission> make_admission() const;

    SwitchParts parts_;
    DesiredState running_;
    SwitchModel model_;
    Encryption encryption_;
    std::uint64_t version_ = 0;
    std::uint32_t generation_ = 0;
    std::uint16_t next_port_index_ = 0;
    bool changed_ = false;
    bool keep_devices_ = false;  ///< Of the state that is being applied, or was.
    bool lets_go_ = false;       ///< Kept devices whose ports are removed stay.
    bool strays_removed_ = false;
    std::set<std::string> released_;  ///< Devices of removed ports that workers may still use.
    std::vector<int> doomed_;         ///< TAP devices of removed ports, not deleted yet.
    /// (bridge, address) of the tunnels' next hops in the last snapshot.
    std::set<std::pair<std::uint16_t, tunnels::MacAddress>> next_hops_;
    std::uint32_t last_tick_s_ = 0;
    /// (bridge, address) set by set_static_macs().
    std::vector<std::pair<std::uint16_t, FdbKey>> fixed_;
    std::shared_ptr<const firewall::Policy> policy_;
    std::vector<firewall::Selector> kept_;   ///< What the guard was asked to keep open.
    bool keeps_ = false;                     ///< It was asked.
    std::set<std::string> warned_unknowns_;  ///< Rules of which it was said that they are unknown.
};

}  // namespace culvert::ctl
