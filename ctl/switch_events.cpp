// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keeps the switch in step with the kernel: links that come, go and change, addresses, routes,
// neighbours.

#include <algorithm>
#include <optional>

#include <net/if.h>

#include "ctl/log.hpp"
#include "ctl/patches.hpp"
#include "ctl/switch.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

using dataplane::coarse_clock_s;
using dataplane::DropReason;

namespace {

constexpr std::uint32_t kProbeIntervalMaxS = 32;

void set_speed(const dataplane::PortInfo& info, LinkFacts& facts) {
    facts.speed_mbps.reset();
    facts.full_duplex.reset();
    if (info.speed_mbps != 0) {
        facts.speed_mbps = info.speed_mbps;
        facts.full_duplex = info.full_duplex;
    }
}

}  // namespace

void Switch::attach(SwitchPort& port, std::unique_ptr<dataplane::Port> device) {
    const dataplane::PortInfo info = device->info();
    port.device = std::move(device);
    port.driver = info.driver;
    port.mac = info.mac;
    port.mtu = info.mtu;
    port.up = info.link_up;
    port.ifindex = port.config.kind == PortKind::dpdk
                       ? 0
                       : static_cast<int>(if_nametoindex(port.config.interface.c_str()));
    port.status = first_status(port, info);
    map_queues(port);
    port.trouble.clear();
    port.generation = ++generation_;
    changed_ = true;
    if (port.config.kind == PortKind::linux_interface) {
        update_claim(port, port.config.claim);
        if (port.config.mtu && *port.config.mtu != port.mtu) {
            if (auto set = parts_.underlay.set_link_mtu(port.ifindex, *port.config.mtu); !set) {
                logger("switch").warn("port {}: {}", port.name, set.error());
            }
        }
    }
    if (port.role == PortRole::local) {
        static_cast<void>(parts_.slow_path.insert_fixed(
            port.bridge, {untagged_vlan(port.vlan), port.mac}, port.index
        ));
    }
    set_static_macs();  // Those of this port went with its last device.
    if (port.claimed) {
        warn_of_addresses(port);
    }
}

/// Of a device of ours that was made just now the mirror may not know yet: its events come.
DeviceStatus Switch::first_status(const SwitchPort& port, const dataplane::PortInfo& info) const {
    DeviceStatus status;
    status.rx_queues = info.rx_queues;
    status.tx_queues = info.tx_queues;
    if (port.config.kind == PortKind::dpdk) {
        status.enabled = true;
        status.running = info.link_up;
        set_speed(info, status.facts);
        return status;
    }
    if (const auto link = parts_.underlay.link(port.ifindex)) {
        status.enabled = link->enabled;
        status.running = link->running;
    }
    status.facts = query_link_facts(port.config.interface);
    return status;
}

/// An address left on a claimed interface is the commonest mistake: the kernel still routes by it
/// and hears nothing.
void Switch::warn_of_addresses(const SwitchPort& port) const {
    const auto found = parts_.underlay.addresses().find(port.ifindex);
    if (found == parts_.underlay.addresses().end()) {
        return;
    }
    for (const tunnels::IpAddress& address : found->second) {
        const bool link_local =
            !address.is_v4() && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
        if (!link_local) {
            logger("switch").warn(
                "port {}: the interface {} still has the address {}; the host is reached through the bridge's local port "
                "now, so move it there: ip addr flush dev {}",
                port.name, port.config.interface, address.to_string(), port.config.interface
            );
        }
    }
}

void Switch::set_static_macs() {
    std::vector<std::pair<std::uint16_t, FdbKey>> wanted;
    for (const auto& [name, bridge] : model_.bridges) {
        for (const StaticMac& entry : bridge.config.static_macs) {
            SwitchPort* port = model_.find_port(entry.port, entry.port == name);
            if (port == nullptr) {
                continue;
            }
            const FdbKey key{entry.vlan, entry.mac};
            wanted.emplace_back(bridge.index, key);
            static_cast<void>(parts_.slow_path.insert_fixed(bridge.index, key, port->index));
        }
    }
    for (const auto& fixed : fixed_) {
        if (std::find(wanted.begin(), wanted.end(), fixed) == wanted.end()) {
            parts_.slow_path.erase_fixed(fixed.first, fixed.second);
        }
    }
    fixed_ = std::move(wanted);
}

void Switch::detach(SwitchPort& port, const std::string& trouble) {
    logger("switch").warn("port {}: {}", port.name, trouble);
    port.device.reset();
    port.rx_workers.clear();
    port.ifindex = 0;
    port.up = false;
    port.trouble = trouble;
    port.generation = ++generation_;
    if (port.claimed) {
        update_claim(port, false);
    }
    parts_.slow_path.flush_port(port.bridge, port.index);
    changed_ = true;
}

void Switch::update_claim(SwitchPort& port, bool wanted) {
    if (!wanted && !port.claimed) {
        return;
    }
    const std::string& interface = port.config.interface;
    const auto result = wanted ? parts_.claims.claim(interface) : parts_.claims.release(interface);
    if (!result) {
        logger("switch").error("port {}: {}", port.name, result.error());
        port.trouble = wanted ? result.error() : "";
    }
    port.claimed = wanted && result.has_value();
}

void Switch::on_events(const std::vector<NetlinkEvent>& events) {
    bool links = false;
    bool routes = false;
    LinkNews news;
    std::optional<Locals> locals;
    for (const NetlinkEvent& event : events) {
        if (const auto* neighbour = std::get_if<NeighbourEvent>(&event)) {
            for (auto& [index, port] : model_.ports) {
                if (port.role == PortRole::tunnel &&
                    port.resolution.ifindex == neighbour->ifindex &&
                    port.resolution.next_hop == neighbour->address) {
                    if (!locals) {
                        locals = model_.local_devices();
                    }
                    resolve_tunnel(port, *locals);
                }
            }
            changed_ = changed_ || changes_hosts(*neighbour);
            continue;
        }
        if (const auto* link = std::get_if<LinkEvent>(&event)) {
            links = true;
            note_link(*link, news);
        }
        if (std::holds_alternative<AddressEvent>(event)) {
            changed_ = true;  // Local tunnel endpoints are in the snapshot.
        }
        routes = true;
    }
    if (links) {
        reconcile_links(news);
        follow_mtus();
    }
    if (routes) {
        resolve_all();
    }
    publish_if_changed();
}

/// Each change counts, also when the interface is back where it was by the end of the batch.
void Switch::note_link(const LinkEvent& link, LinkNews& news) {
    (link.removed ? news.removed : news.changed).insert(link.ifindex);
    if (link.removed) {
        return;
    }
    for (auto& [index, port] : model_.ports) {
        if (port.role != PortRole::tunnel && port.ifindex == link.ifindex) {
            changed_ = port.status.follow(link) || changed_;
        }
    }
}

void Switch::reconcile_links(const LinkNews& news) {
    for (auto& [index, port] : model_.ports) {
        const bool is_kernels =
            port.config.kind == PortKind::linux_interface || port.config.kind == PortKind::tap;
        if (port.role == PortRole::tunnel || port.role == PortRole::bond || !is_kernels) {
            continue;
        }
        const auto link = parts_.underlay.link(port.config.interface);
        if (port.device &&
            (!link || link->ifindex != port.ifindex || news.removed.contains(port.ifindex))) {
            detach(port, "the interface " + port.config.interface + " is gone");
        }
        if (!link) {
            continue;
        }
        if (!port.device && port.config.kind == PortKind::linux_interface) {
            auto device = open_device(port.config);
            if (!device) {
                port.trouble = device.error();
                continue;
            }
            attach(port, std::move(*device));
            logger("switch").info("port {}: the interface {} is back", port.name, link->name);
        }
        if (port.device && news.changed.contains(port.ifindex)) {
            follow_link(port, *link);
        }
    }
}

void Switch::follow_link(SwitchPort& port, const LinkEvent& link) {
    port.device->refresh();
    LinkFacts facts = query_link_facts(port.config.interface);
    const bool same = port.mac == link.mac && port.mtu == link.mtu && port.up == link.up &&
                      port.status.facts == facts;
    port.status.facts = std::move(facts);
    if (port.role == PortRole::local && port.mac != link.mac) {
        const std::uint16_t vlan = untagged_vlan(port.vlan);
        parts_.slow_path.erase_fixed(port.bridge, {vlan, port.mac});
        static_cast<void>(parts_.slow_path.insert_fixed(port.bridge, {vlan, link.mac}, port.index));
    }
    port.mac = link.mac;
    port.mtu = link.mtu;
    port.up = link.up;
    changed_ = changed_ || !same;
}

/// A device of ours that somebody deleted, or that could not be made, is tried anew.
void Switch::reopen_missing() {
    for (auto& [index, port] : model_.ports) {
        const bool ours = port.role != PortRole::tunnel && port.config.kind == PortKind::tap;
        if (!ours || port.device || parts_.underlay.link(port.config.interface)) {
            continue;
        }
        auto device = open_device(port.config);
        if (!device) {
            port.trouble = device.error();
            continue;
        }
        attach(port, std::move(*device));
        logger("switch").info("port {}: made {} anew", port.name, port.config.interface);
        if (port.role == PortRole::local) {
            const auto ready = set_up_local_device(port, model_.bridges.at(port.name).config);
            if (!ready) {
                logger("switch").warn("{}", ready.error());
            }
        }
    }
}

void Switch::poll_dpdk_links() {
    for (auto& [index, port] : model_.ports) {
        if (port.role != PortRole::device || port.config.kind != PortKind::dpdk || !port.device) {
            continue;
        }
        const dataplane::PortInfo info = port.device->info();
        const dataplane::Snapshot* snapshot = parts_.slow_path.snapshot();
        const dataplane::PortView* view = snapshot == nullptr ? nullptr : snapshot->port(index);
        // Another guest may take other offloads.
        const bool same_guest =
            view == nullptr || view->carries_offloads == port.device->carries_offloads();
        if (info.link_up != port.up || info.mtu != port.mtu || !same_guest) {
            port.status.link_resets += info.link_up != port.up ? 1 : 0;
            port.status.running = info.link_up;
            set_speed(info, port.status.facts);
            port.up = info.link_up;
            port.mtu = info.mtu;
            changed_ = true;
        }
    }
}

void Switch::resolve_all(bool only_due) {
    const Locals locals = model_.local_devices();
    for (auto& [index, port] : model_.ports) {
        if (port.role == PortRole::tunnel && (port.resolve_due || !only_due)) {
            resolve_tunnel(port, locals);
        }
    }
}

void Switch::resolve_tunnel(SwitchPort& port, const Locals& locals) {
    port.resolve_due = false;
    Resolution resolution = resolve(port.tunnel, locals, parts_.underlay);
    const bool same = resolution == port.resolution;
    if (!same && resolution.trouble != port.resolution.trouble) {
        if (resolution.state == Resolution::State::no_route) {
            logger("tunnel").warn("{}: {}", port.name, resolution.trouble);
        } else {
            logger("tunnel").info(
                "{}: {}",
                port.name,
                resolution.trouble.empty() ? "next hop " + resolution.next_hop.to_string() +
                                                 " at " + resolution.next_hop_mac.to_string()
                                           : resolution.trouble
            );
        }
    }
    const bool new_hop = resolution.next_hop != port.resolution.next_hop ||
                         resolution.ifindex != port.resolution.ifindex;
    port.resolution = std::move(resolution);
    changed_ = changed_ || !same;
    if (new_hop) {
        port.probe_at_s = 0;
        port.probe_interval_s = 1;
        if (port.resolution.state == Resolution::State::no_neighbour) {
            probe(port);
        }
    }
}

void Switch::probe(SwitchPort& port) {
    const std::uint32_t now_s = coarse_clock_s();
    if (port.resolution.ifindex == 0 || port.probed_s == now_s) {
        return;
    }
    port.probed_s = now_s;
    parts_.underlay.probe_neighbour(port.resolution.ifindex, port.resolution.next_hop);
}

void Switch::tick() {
    parts_.workers.poll();
    parts_.slow_path.tick(running_.flow_cache.idle_timeout_s);
    const std::uint32_t now_s = coarse_clock_s();
    if (now_s != last_tick_s_) {
        last_tick_s_ = now_s;
        poll_dpdk_links();
        reopen_missing();
        age_path_mtus(now_s);
        probe_stale_hosts();
        for (auto& [index, port] : model_.ports) {
            if (port.role != PortRole::tunnel) {
                continue;
            }
            const bool unresolved = port.resolution.state == Resolution::State::no_neighbour;
            if ((unresolved || port.resolution.stale) && now_s >= port.probe_at_s) {
                probe(port);
                // A dead peer is asked for less and less often; its traffic asks at once.
                port.probe_interval_s =
                    unresolved ? std::min(port.probe_interval_s * 2, kProbeIntervalMaxS) : 1;
                port.probe_at_s = now_s + port.probe_interval_s;
            }
        }
    }
    tick_bonds();
    changed_ = encryption_.tick() || changed_;
    publish_if_changed();
    send_learning();
}

void Switch::on_xfrm() {
    changed_ = encryption_.on_xfrm() || changed_;
    publish_if_changed();
}

void Switch::drain_upcalls() {
    parts_.slow_path.drain();
    publish_if_changed();
}

void Switch::publish_if_changed() {
    if (!changed_) {
        return;
    }
    refresh_bonds();
    changed_ = false;
    refresh_routing();
    link_patches(model_);
    // Before the snapshot: one that has an encrypted tunnel has its policy.
    encryption_.configure(model_, running_.ike);
    auto snapshot = build_snapshot(
        model_,
        parts_.slow_path,
        host_facts(),
        parts_.workers.count(),
        ++version_,
        &encryption_.associations()
    );
    judge_tunnels();
    snapshot->admission = make_admission();
    // Held packets go out before anything that workers send by the new snapshot.
    next_hops_.clear();
    for (const auto& [index, port] : model_.ports) {
        if (port.role != PortRole::tunnel) {
            continue;
        }
        if (port.resolution.state == Resolution::State::resolved) {
            next_hops_.emplace(port.resolution.device.bridge, port.resolution.next_hop_mac);
        }
        const dataplane::TunnelView& tunnel = snapshot->tunnels[snapshot->ports[index].tunnel];
        if (tunnel.resolved) {
            parts_.slow_path.release(index, version_);
        } else if (tunnel.unresolved != DropReason::none) {
            parts_.slow_path.abandon(index, tunnel.unresolved);
        }
    }
    parts_.slow_path.release_hosts(*snapshot);
    parts_.slow_path.set_snapshot(snapshot.get());
    parts_.workers.publish(std::move(snapshot));
    send_learning();
}

}  // namespace culvert::ctl
