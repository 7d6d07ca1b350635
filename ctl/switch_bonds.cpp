// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of Switch that keeps bonds: feeds links and time to their state machines, hands the
// outcome to snapshots, and sends LACPDUs and gratuitous learning packets.

#include <algorithm>
#include <cstring>

#include "ctl/learning_packet.hpp"
#include "ctl/log.hpp"
#include "ctl/switch.hpp"
#include "dataplane/clock.hpp"
#include "dataplane/packet.hpp"

namespace culvert::ctl {

using dataplane::clock_ms;
using dataplane::kPortNone;

namespace {

std::vector<BondMemberInput> inputs_of(const std::vector<SwitchPort*>& members, const Lacp* lacp) {
    std::vector<BondMemberInput> inputs;
    for (const SwitchPort* port : members) {
        const LacpMember* by_lacp = lacp == nullptr ? nullptr : lacp->find(port->index);
        const bool may_enable =
            lacp == nullptr || (by_lacp != nullptr && lacp->may_enable(*by_lacp));
        inputs.push_back({port->index, port->name, port->mac, port->device && port->up, may_enable}
        );
    }
    return inputs;
}

std::vector<LacpMemberInput> lacp_inputs_of(const std::vector<SwitchPort*>& members) {
    std::vector<LacpMemberInput> inputs;
    for (const SwitchPort* port : members) {
        const LacpPortConfig& config = port->config.lacp;
        const auto own_id = static_cast<std::uint16_t>(port->index + 1U);
        inputs.push_back(
            {.port = port->index,
             .name = port->name,
             .port_id = config.port_id != 0 ? config.port_id : own_id,
             .port_priority = config.port_priority,
             .key = config.aggregation_key,
             .up = port->device && port->up}
        );
    }
    return inputs;
}

/// What identifies us to LACP partners: the bridge's address, or a member's where it has none.
tunnels::MacAddress
system_id(SwitchModel& model, const SwitchPort& port, const std::vector<SwitchPort*>& members) {
    if (port.bond_config.lacp_system_id) {
        return *port.bond_config.lacp_system_id;
    }
    if (const SwitchPort* local = model.local_port(port.bridge); local != nullptr) {
        return local->mac;
    }
    std::optional<tunnels::MacAddress> lowest;
    for (const SwitchPort* member : members) {
        lowest = lowest ? std::min(*lowest, member->mac) : member->mac;
    }
    return lowest.value_or(tunnels::MacAddress{});
}

dataplane::BondView make_view(const BondGroup& group, std::uint16_t index) {
    dataplane::BondView view;
    view.port = index;
    view.hash = group.bond.hash();
    view.reflects = group.bond.config().mode == BondMode::balance_slb &&
                    group.bond.lacp() != LacpStatus::negotiated && !group.bond.falls_back();
    view.basis = group.bond.config().hash_basis;
    for (std::size_t i = 0; i < view.members.size(); ++i) {
        view.members[i] = group.bond.output(i);
    }
    view.load = group.bond.rebalances() ? group.load : nullptr;
    return view;
}

}  // namespace

void Switch::add_bond(const BondConfig& config) {
    SwitchPort& port = insert_port(config.name, PortRole::bond, config.bridge, config.vlan);
    port.bond_config = config;
    port.bond = std::make_shared<BondGroup>();
    port.bond->load = std::make_shared<dataplane::BondLoad>(parts_.workers.count());
    port.bond->bond.configure(config, clock_ms());
}

void Switch::change_bond(const BondConfig& from, const BondConfig& to) {
    SwitchPort& port = *model_.find_port(to.name);
    if (from.bridge != to.bridge || from.vlan != to.vlan) {
        parts_.slow_path.flush_port(port.bridge, port.index);
        port.bridge = model_.bridges.at(to.bridge).index;
        port.vlan = to.vlan;
        port.generation = ++generation_;
    }
    port.bond_config = to;
    port.bond->bond.configure(to, clock_ms());
    changed_ = true;
}

Bond* Switch::find_bond(const std::string& name) {
    SwitchPort* port = model_.find_port(name);
    return port == nullptr || port->role != PortRole::bond ? nullptr : &port->bond->bond;
}

void Switch::on_bond_changed() {
    changed_ = true;
    publish_if_changed();
}

/// Goes on to now, and notes whether workers have to know.
void Switch::refresh_bond(SwitchPort& port) {
    BondGroup& group = *port.bond;
    const std::vector<SwitchPort*> members = model_.members_of(port.bond_config);
    if (port.bond_config.lacp == LacpMode::off) {
        group.lacp.reset();
    } else {
        if (!group.lacp) {
            group.lacp.emplace();
        }
        group.lacp->configure(
            {.active = port.bond_config.lacp == LacpMode::active,
             .fast = port.bond_config.lacp_fast,
             .fallback_ab = port.bond_config.lacp_fallback_ab,
             .system_id = system_id(model_, port, members),
             .system_priority = port.bond_config.lacp_system_priority}
        );
        group.lacp->set_members(lacp_inputs_of(members), clock_ms());
    }
    const Lacp* lacp = group.lacp ? &*group.lacp : nullptr;
    group.bond.account([&](std::size_t bucket) { return group.load->read(bucket); });
    group.bond.run(inputs_of(members, lacp), group.lacp_status(), clock_ms());
    group.bond.rebalance(clock_ms());
    if (group.bond.take_learning()) {
        collect_learning(port);
    }
    dataplane::BondView view = make_view(group, port.index);
    std::vector<dataplane::MemberAdmits> admits;
    bool up = false;
    std::uint32_t mtu = 0;
    for (const BondMember& member : group.bond.members()) {
        admits.push_back(group.bond.admits(member));
        up = up || member.enabled;
    }
    for (SwitchPort* member : members) {
        mtu =
            mtu == 0 || member->mtu == 0 ? std::max(mtu, member->mtu) : std::min(mtu, member->mtu);
        const LacpMember* by_lacp = lacp == nullptr ? nullptr : lacp->find(member->index);
        const auto current = by_lacp == nullptr
                                 ? std::nullopt
                                 : std::optional(by_lacp->status != LacpMemberStatus::defaulted);
        changed_ = changed_ || current != member->lacp_current;
        member->lacp_current = current;
    }
    changed_ = changed_ || port.mac != group.bond.active_mac() || view != group.view ||
               admits != group.admits || up != port.up || mtu != port.mtu;
    group.view = std::move(view);
    group.admits = std::move(admits);
    port.up = up;
    port.mtu = mtu;
    port.mac = group.bond.active_mac();
    // As Open vSwitch, to which a bond is none until two of its members are there.
    const auto there = std::count_if(members.begin(), members.end(), [](const SwitchPort* member) {
        return member->device != nullptr;
    });
    group.was_active = group.was_active || (there >= 2 && !port.mac.is_zero());
}

void Switch::refresh_bonds() {
    for (auto& [index, port] : model_.ports) {
        if (port.role == PortRole::bond) {
            refresh_bond(port);
        }
    }
}

void Switch::run_lacp(SwitchPort& port) {
    if (!port.bond->lacp) {
        return;
    }
    port.bond->lacp->run(clock_ms(), [&](std::uint16_t member, const LacpPdu& pdu) {
        const SwitchPort* sender = model_.find_port(member);
        if (sender != nullptr && sender->device) {
            send_frame(member, write_lacp_frame(pdu, sender->mac));
        }
    });
}

void Switch::tick_bonds() {
    for (auto& [index, port] : model_.ports) {
        if (port.role == PortRole::bond) {
            refresh_bond(port);
            if (port.bond->lacp) {
                run_lacp(port);
                refresh_bond(port);  // By what LACP decided.
            }
        }
    }
}

void Switch::on_lacp(std::uint16_t member, std::span<const std::byte> frame) {
    const auto pdu = parse_lacp_frame(frame);
    for (auto& [index, port] : model_.ports) {
        if (port.role != PortRole::bond || port.bond->bond.find(member) == nullptr ||
            !port.bond->lacp) {
            continue;
        }
        if (pdu) {
            port.bond->lacp->receive(member, *pdu, clock_ms());
            run_lacp(port);
            refresh_bond(port);
        }
        return;
    }
}

/// Hosts behind other ports of the bridge, to which the neighbour switches have to learn the way.
void Switch::collect_learning(SwitchPort& port) {
    BridgeTable* table = parts_.slow_path.bridge(port.bridge);
    port.bond->learning.clear();
    if (table == nullptr) {
        return;
    }
    const dataplane::VlanView vlan = make_vlan_view(port.vlan);
    table->fdb.for_each([&](const FdbEntry& entry) {
        if (entry.port != port.index && vlan.carries(entry.key.vlan) &&
            port.bond->learning.size() < dataplane::kLearningPacketsMax) {
            port.bond->learning.push_back(entry.key);
        }
    });
}

/// By the snapshot published last, which knows the new active member.
void Switch::send_learning() {
    std::size_t left = dataplane::kLearningPacketsAtOnce;
    for (auto& [index, port] : model_.ports) {
        if (port.role != PortRole::bond) {
            continue;
        }
        const dataplane::VlanView vlan = make_vlan_view(port.vlan);
        auto& waiting = port.bond->learning;
        for (; left != 0 && !waiting.empty(); --left) {
            const FdbKey host = waiting.front();
            waiting.pop_front();
            const bool tagged = vlan.tags(host.vlan);
            const LearningPacket packet =
                write_learning_packet(host.mac, tagged ? std::optional(host.vlan) : std::nullopt);
            send_frame(index, std::span(packet.bytes).first(packet.length));
        }
    }
}

void Switch::send_frame(std::uint16_t port, std::span<const std::byte> frame) {
    rte_mbuf* packet = rte_pktmbuf_alloc(parts_.pools.packets);
    if (packet == nullptr) {
        return;  // Workers count what they lack of buffers; this one will be sent again.
    }
    char* data = rte_pktmbuf_append(packet, static_cast<std::uint16_t>(frame.size()));
    std::memcpy(data, frame.data(), frame.size());
    dataplane::packet::set_ingress(packet, kPortNone);
    dataplane::Decision decision;
    decision.kind = dataplane::Decision::Kind::transmit;
    decision.port = port;
    decision.packet = packet;
    decision.version = version_;
    parts_.workers.send(0, decision);
}

}  // namespace culvert::ctl
