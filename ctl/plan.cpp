// SPDX-License-Identifier: GPL-2.0-or-later
//
// Compares two desired states item by item; items belong together by kind and name. Between two
// changed tunnels there is no order in which they never collide (two may swap their keys), so
// whoever applies a plan must judge collisions at its end. Control thread.
#include "ctl/plan.hpp"

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "ctl/config_words.hpp"
#include "ctl/sentence.hpp"
#include "ctl/tunnel_options.hpp"
#include "tunnels/esp/algorithm.hpp"

namespace culvert::ctl {

namespace {

// --- values as text ---

std::string text(bool value) {
    return value ? "true" : "false";
}
template <std::unsigned_integral T>
std::string text(T value) {
    return std::to_string(value);
}
std::string text(const std::string& value) {
    return value.empty() ? "none" : quote(value);
}
std::string text(LogLevel value) {
    return quote(word_of(kLogLevelWords, value));
}
std::string text(Hugepages value) {
    return quote(word_of(kHugepagesWords, value));
}
std::string text(UnknownPolicy value) {
    return quote(word_of(kUnknownWords, value));
}
std::string text(ManagePolicy value) {
    return quote(word_of(kManageWords, value));
}
std::string text(firewall::BackendChoice value) {
    return quote(word_of(kBackendWords, value));
}
std::string text(IkeControl value) {
    return quote(word_of(kIkeControlWords, value));
}
std::string text(BondMode value) {
    return quote(word_of(kBondModeWords, value));
}
std::string text(LacpMode value) {
    return quote(word_of(kLacpWords, value));
}
std::string text(const LacpPortConfig& value) {
    return "port_id " + std::to_string(value.port_id) + " priority " +
           std::to_string(value.port_priority) + " key " + std::to_string(value.aggregation_key);
}
std::string text(const tunnels::MacAddress& value) {
    return value.to_string();
}
std::string text(const InterfaceAddress& value) {
    return value.address.to_string() + "/" + std::to_string(value.prefix_bits);
}
std::string text(const StaticMac& value) {
    return value.mac.to_string() + " VLAN " + std::to_string(value.vlan) + " port " + value.port;
}

std::string text(const OptionValue& value) {
    return text_of(value);
}
std::string text(const RlocConfig& value) {
    return value.tunnel + " priority " + std::to_string(value.priority) + " weight " +
           std::to_string(value.weight);
}

std::string text(const LocalPortConfig& local);
std::string text(const EidConfig& eid);

template <class T>
std::string text(const std::optional<T>& value) {
    return value ? text(*value) : "none";
}

template <class T>
std::string text(const std::vector<T>& values) {
    std::string result = "[";
    for (const T& value : values) {
        result += (result.size() == 1 ? "" : ", ") + text(value);
    }
    return result + "]";
}

std::string text(const VlanConfig& vlan) {
    std::string result(word_of(kVlanModeWords, vlan.mode));
    if (vlan.mode != VlanMode::trunk) {
        result += " " + std::to_string(vlan.tag);
    }
    return vlan.trunks.empty() ? result : result + " " + text(vlan.trunks);
}

std::string text(const LocalPortConfig& local) {
    std::string result = text(local.addresses);
    result += local.mac ? " mac " + text(*local.mac) : "";
    result += local.mtu ? " mtu " + text(*local.mtu) : "";
    result += local.vlan == VlanConfig{} ? "" : " " + text(local.vlan);
    return result + (local.up ? "" : " down");
}

std::string text(const EidConfig& eid) {
    return prefix_text(eid) + " by " + text(eid.rlocs);
}

// --- the fields of an item: `visit(key, from, to)` for each ---

template <class Visit>
void visit_fields(const BridgeConfig& from, const BridgeConfig& to, Visit visit) {
    visit("local", from.local, to.local);
    visit("mac_ageing_s", from.mac_ageing_s, to.mac_ageing_s);
    visit("mac_table_size", from.mac_table_size, to.mac_table_size);
    visit("split_horizon", from.split_horizon, to.split_horizon);
    visit("static_mac", from.static_macs, to.static_macs);
    visit("eid", from.eids, to.eids);
}

template <class Visit>
void visit_fields(const PortConfig& from, const PortConfig& to, Visit visit) {
    visit("bridge", from.bridge, to.bridge);
    visit("bond", from.bond, to.bond);
    visit("lacp", from.lacp, to.lacp);
    visit("vlan", from.vlan, to.vlan);
    visit("peer", from.peer, to.peer);
    visit("mtu", from.mtu, to.mtu);
    visit("mac", from.mac, to.mac);
    visit("claim", from.claim, to.claim);
    visit("hotplug", from.hotplug, to.hotplug);
    visit("rx_workers", from.rx_workers, to.rx_workers);
}

template <class Visit>
void visit_fields(const BondConfig& from, const BondConfig& to, Visit visit) {
    visit("bridge", from.bridge, to.bridge);
    visit("members", from.members, to.members);
    visit("mode", from.mode, to.mode);
    visit("lacp", from.lacp, to.lacp);
    visit("updelay_ms", from.updelay_ms, to.updelay_ms);
    visit("downdelay_ms", from.downdelay_ms, to.downdelay_ms);
    visit("rebalance_ms", from.rebalance_ms, to.rebalance_ms);
    visit("hash_basis", from.hash_basis, to.hash_basis);
    visit("primary", from.primary, to.primary);
    visit(
        "lacp_time",
        std::string(word_of(kLacpTimeWords, from.lacp_fast)),
        std::string(word_of(kLacpTimeWords, to.lacp_fast))
    );
    visit("lacp_fallback_ab", from.lacp_fallback_ab, to.lacp_fallback_ab);
    visit("lacp_system_id", from.lacp_system_id, to.lacp_system_id);
    visit("lacp_system_priority", from.lacp_system_priority, to.lacp_system_priority);
    visit("vlan", from.vlan, to.vlan);
}

/// A secret, of which nothing is said but whether it is another one.
struct Unspoken {
    bool was;
    bool differs;
    bool operator==(const Unspoken& other) const { return !differs && !other.differs; }
};
std::string text(const Unspoken& value) {
    return value.was ? "one" : "another";
}

template <class Visit>
void visit_secrets(const TunnelConfig& from, const TunnelConfig& to, Visit visit) {
    const auto compare = [&](std::string_view key, bool same) {
        visit(key, Unspoken{true, !same}, Unspoken{false, !same});
    };
    if (from.esp && to.esp) {
        compare("esp.key_in", from.esp->key_in == to.esp->key_in);
        compare("esp.key_out", from.esp->key_out == to.esp->key_out);
    }
    if (from.ike && to.ike) {
        const bool both = !from.ike->psk.empty() && !to.ike->psk.empty();
        compare("ike.psk", !both || from.ike->psk == to.ike->psk);
    }
}

template <class Visit>
void visit_fields(const TunnelConfig& from, const TunnelConfig& to, Visit visit) {
    visit("bridge", from.bridge, to.bridge);
    visit("type", from.type, to.type);
    const std::vector<TunnelOption> before = tunnel_options(from);
    const std::vector<TunnelOption> after = tunnel_options(to);
    for (std::size_t i = 0; i < after.size(); ++i) {
        visit(after[i].key, before[i].value, after[i].value);
    }
    visit_secrets(from, to, visit);
    visit("vlan", from.vlan, to.vlan);
}

template <class Visit>
void visit_fields(const IkeDaemonConfig& from, const IkeDaemonConfig& to, Visit visit) {
    visit("control", from.control, to.control);
    visit("vici", from.vici, to.vici);
    visit("certificate", from.certificate, to.certificate);
    visit("private_key", from.private_key, to.private_key);
    visit("ca_cert", from.ca_cert, to.ca_cert);
    visit("proposals", from.proposals, to.proposals);
    visit("esp_proposals", from.esp_proposals, to.esp_proposals);
    visit("rekey_s", from.rekey_s, to.rekey_s);
    visit("dpd_s", from.dpd_s, to.dpd_s);
}

template <class Visit>
void visit_fields(const FirewallConfig& from, const FirewallConfig& to, Visit visit) {
    visit("enforce", from.enforce, to.enforce);
    visit("unknown", from.unknown, to.unknown);
    visit("manage", from.manage, to.manage);
}

/// The settings that only a start of the daemon reads.
template <class Visit>
void visit_restart_fields(const DesiredState& from, const DesiredState& to, Visit visit) {
    visit("[daemon] socket", from.daemon.socket, to.daemon.socket);
    visit("[daemon] log_file", from.daemon.log_file, to.daemon.log_file);
    visit("[daemon] control_cpus", from.daemon.control_cpus, to.daemon.control_cpus);
    visit("[daemon] state_dir", from.daemon.state_dir, to.daemon.state_dir);
    visit("[dpdk] file_prefix", from.dpdk.file_prefix, to.dpdk.file_prefix);
    visit("[dpdk] extra_args", from.dpdk.extra_args, to.dpdk.extra_args);
    visit("[dpdk] memory_mb", from.dpdk.memory_mb, to.dpdk.memory_mb);
    visit("[dpdk] hugepages", from.dpdk.hugepages, to.dpdk.hugepages);
    visit("[dpdk] mbufs", from.dpdk.mbufs, to.dpdk.mbufs);
    visit("[workers] count", from.workers.count, to.workers.count);
    visit("[workers] cpus", from.workers.cpus, to.workers.cpus);
    visit(
        "[workers] idle",
        std::string(word_of(kIdleWords, from.workers.idle_sleep)),
        std::string(word_of(kIdleWords, to.workers.idle_sleep))
    );
    visit("[workers] idle_sleep_us", from.workers.idle_sleep_us, to.workers.idle_sleep_us);
    visit("[workers] spread", from.workers.spread, to.workers.spread);
    visit("[flow_cache] max_flows", from.flow_cache.max_flows, to.flow_cache.max_flows);
    visit("[firewall] backend", from.firewall.backend, to.firewall.backend);
}

/// "key 1 -> 2, other none -> 5".
template <class Item>
std::string differences(const Item& from, const Item& to) {
    std::string result;
    visit_fields(from, to, [&](std::string_view key, const auto& before, const auto& after) {
        if (!(before == after)) {
            result += result.empty() ? "" : ", ";
            result.append(key).append(" ").append(text(before)).append(" -> ").append(text(after));
        }
    });
    return result;
}

// --- the comparison ---

bool same_device(const PortConfig& from, const PortConfig& to) {
    return from.kind == to.kind && from.interface == to.interface && from.devargs == to.devargs &&
           from.rx_queues == to.rx_queues;
}

template <class Item>
std::map<std::string_view, const Item*> by_name(const std::vector<Item>& items) {
    std::map<std::string_view, const Item*> map;
    for (const Item& named : items) {
        map.emplace(named.name, &named);
    }
    return map;
}

/// One kind of item on both sides.
template <class Item>
class Comparison {
public:
    Comparison(const std::vector<Item>& from, const std::vector<Item>& to)
        : from_(from), to_(to), old_(by_name(from)), new_(by_name(to)) {}

    /// Items of the old state that the new one does not have.
    template <class Visit>
    void visit_removed(Visit visit) const {
        for (const Item& named : from_) {
            if (find(new_, named) == nullptr) {
                visit(named);
            }
        }
    }
    /// `visit(old or nullptr, new)` for each item that is new or differs.
    template <class Visit>
    void visit_wanted(Visit visit) const {
        for (const Item& named : to_) {
            const Item* old = find(old_, named);
            if (old == nullptr || !(*old == named)) {
                visit(old, named);
            }
        }
    }

private:
    using Map = std::map<std::string_view, const Item*>;

    static const Item* find(const Map& map, const Item& named) {
        const auto found = map.find(named.name);
        return found == map.end() ? nullptr : found->second;
    }

    const std::vector<Item>& from_;
    const std::vector<Item>& to_;
    Map old_;
    Map new_;
};

class Planner {
public:
    Planner(const DesiredState& from, const DesiredState& to)
        : bridges_(from.bridges, to.bridges), bonds_(from.bonds, to.bonds),
          ports_(from.ports, to.ports), tunnels_(from.tunnels, to.tunnels) {
        bridges_.visit_removed([&](const BridgeConfig& bridge) {
            removed_bridges_.insert(bridge.name);
        });
    }

    std::vector<Action> run() {
        remove_members();
        remove_bridges(false);
        want_bridges();
        // A member that leaves a removed bridge moves before the bridge goes, and the bridge goes
        // before anything new may take its name.
        want_members(true);
        remove_bridges(true);
        want_members(false);
        return std::move(actions_);
    }

private:
    void remove_members() {
        tunnels_.visit_removed([&](const TunnelConfig& tunnel) {
            actions_.emplace_back(RemoveTunnel{tunnel.name});
        });
        ports_.visit_removed([&](const PortConfig& port) {
            actions_.emplace_back(RemovePort{port.name});
        });
        bonds_.visit_removed([&](const BondConfig& bond) {
            actions_.emplace_back(RemoveBond{bond.name});
        });
        bonds_.visit_wanted([&](const BondConfig* old, const BondConfig& /*bond*/) {
            if (old != nullptr && leaves_removed_bridge(*old)) {
                left_bridges_.insert(old->bridge);
            }
        });
        ports_.visit_wanted([&](const PortConfig* old, const PortConfig& port) {
            if (old != nullptr && !same_device(*old, port)) {
                actions_.emplace_back(RemovePort{port.name});
            } else if (old != nullptr && leaves_removed_bridge(*old)) {
                left_bridges_.insert(old->bridge);
            }
        });
        tunnels_.visit_wanted([&](const TunnelConfig* old, const TunnelConfig& /*tunnel*/) {
            if (old != nullptr && leaves_removed_bridge(*old)) {
                left_bridges_.insert(old->bridge);
            }
        });
    }

    /// Those that members leave for another bridge, or the others.
    void remove_bridges(bool left) {
        bridges_.visit_removed([&](const BridgeConfig& bridge) {
            if (left_bridges_.contains(bridge.name) == left) {
                actions_.emplace_back(RemoveBridge{bridge.name});
            }
        });
    }

    void want_bridges() {
        bridges_.visit_wanted([&](const BridgeConfig* old, const BridgeConfig& bridge) {
            if (old == nullptr) {
                actions_.emplace_back(AddBridge{bridge});
            } else {
                actions_.emplace_back(ChangeBridge{*old, bridge});
            }
        });
    }

    /// Changes of members that leave a removed bridge, or all other additions and changes.
    void want_members(bool leaving) {
        want_items<AddBond, ChangeBond>(bonds_, leaving);
        ports_.visit_wanted([&](const PortConfig* old, const PortConfig& port) {
            const bool in_place = old != nullptr && same_device(*old, port);
            if ((in_place && leaves_removed_bridge(*old)) != leaving) {
                return;
            }
            if (in_place) {
                actions_.emplace_back(ChangePort{*old, port});
            } else {
                actions_.emplace_back(AddPort{port});
            }
        });
        want_items<AddTunnel, ChangeTunnel>(tunnels_, leaving);
    }

    template <class Add, class Change, class Items>
    void want_items(const Items& items, bool leaving) {
        items.visit_wanted([&](const auto* old, const auto& item) {
            if ((old != nullptr && leaves_removed_bridge(*old)) != leaving) {
                return;
            }
            if (old != nullptr) {
                actions_.emplace_back(Change{*old, item});
            } else {
                actions_.emplace_back(Add{item});
            }
        });
    }

    template <class Member>
    [[nodiscard]] bool leaves_removed_bridge(const Member& old) const {
        return removed_bridges_.contains(old.bridge);
    }

    Comparison<BridgeConfig> bridges_;
    Comparison<BondConfig> bonds_;
    Comparison<PortConfig> ports_;
    Comparison<TunnelConfig> tunnels_;
    std::set<std::string, std::less<>> removed_bridges_;
    std::set<std::string, std::less<>> left_bridges_;  ///< Removed ones that members move from.
    std::vector<Action> actions_;
};

// --- one line for each action ---

std::string on_bridge(const std::string& bridge, const VlanConfig& vlan) {
    return " on bridge " + bridge + (vlan == VlanConfig{} ? "" : ", " + text(vlan));
}

/// Whether the line of a new tunnel names the option before the bridge.
bool is_in_front(std::string_view key) {
    return key == "remote_ip" || key == "local_ip" || key == "in_key" || key == "out_key";
}

std::string encryption_text(const TunnelConfig& tunnel) {
    if (tunnel.esp) {
        return ", encrypted by " + std::string(tunnels::row_of(tunnel.esp->algorithm).name);
    }
    if (!tunnel.ike) {
        return {};
    }
    const IkeConfig& ike = *tunnel.ike;
    const bool has_name = !ike.remote_cert.empty() || !ike.remote_name.empty();
    return std::string(", encrypted by IKE") + (!ike.psk.empty() || !ike.psk_file.empty()
                                                    ? " with a pre-shared key"
                                                : has_name ? " with certificates"
                                                           : "");
}

/// What is at the outer end of a port.
std::string where_to(const PortConfig& port) {
    switch (port.kind) {
    case PortKind::dpdk:
        return port.devargs;
    case PortKind::patch:
        return "to " + port.peer;
    case PortKind::linux_interface:
    case PortKind::tap:
        break;
    }
    return port.interface;
}

struct Describer {
    std::string operator()(const AddBridge& action) const {
        const BridgeConfig& bridge = action.config;
        return "add bridge " + bridge.name +
               (bridge.local ? ": local port " + text(*bridge.local) : "");
    }
    std::string operator()(const ChangeBridge& action) const {
        return "change bridge " + action.to.name + ": " + differences(action.from, action.to);
    }
    std::string operator()(const RemoveBridge& action) const {
        return "remove bridge " + action.name;
    }
    std::string operator()(const AddPort& action) const {
        const PortConfig& port = action.config;
        return "add port " + port.name + ": " + std::string(word_of(kPortKindWords, port.kind)) +
               " " + where_to(port) + on_bridge(port.bridge, port.vlan) +
               (port.bond.empty() ? "" : ", member of bond " + port.bond);
    }
    std::string operator()(const ChangePort& action) const {
        return "change port " + action.to.name + ": " + differences(action.from, action.to);
    }
    std::string operator()(const RemovePort& action) const { return "remove port " + action.name; }
    std::string operator()(const AddBond& action) const {
        const BondConfig& bond = action.config;
        return "add bond " + bond.name + ": " + std::string(word_of(kBondModeWords, bond.mode)) +
               " over " + text(bond.members) + on_bridge(bond.bridge, bond.vlan) +
               (bond.lacp == LacpMode::off ? "" : ", lacp " + text(bond.lacp));
    }
    std::string operator()(const ChangeBond& action) const {
        return "change bond " + action.to.name + ": " + differences(action.from, action.to);
    }
    std::string operator()(const RemoveBond& action) const { return "remove bond " + action.name; }
    std::string operator()(const AddTunnel& action) const {
        const TunnelConfig& tunnel = action.config;
        std::string result = "add tunnel " + tunnel.name + ": " + tunnel.type;
        std::map<std::string_view, std::string> values;
        std::string others;
        for (const TunnelOption& option : tunnel_options(tunnel)) {
            values[option.key] = text_of(option.value);
            if (option.applies && !option.is_default && !is_in_front(option.key) &&
                !is_of_encryption(option.key)) {
                others.append(", ").append(option.key).append(" ").append(values[option.key]);
            }
        }
        result += values["local_ip"] == "none" ? "" : " from " + values["local_ip"];
        result += " to " + values["remote_ip"];
        if (values["in_key"] != values["out_key"]) {
            result += " in_key " + values["in_key"] + " out_key " + values["out_key"];
        } else if (values["in_key"] != "none") {
            result += " key " + values["in_key"];
        }
        return result + on_bridge(tunnel.bridge, tunnel.vlan) + encryption_text(tunnel) + others;
    }
    std::string operator()(const ChangeTunnel& action) const {
        return "change tunnel " + action.to.name + ": " + differences(action.from, action.to);
    }
    std::string operator()(const RemoveTunnel& action) const {
        return "remove tunnel " + action.name;
    }
    std::string operator()(const ChangeRuntime& action) const {
        return "set log_level " + text(action.to.daemon.log_level) + ", idle_timeout_s " +
               text(action.to.flow_cache.idle_timeout_s) +
               (action.to.hold ? ", hold all packets" : "");
    }
    std::string operator()(const ChangeIke& action) const {
        return "change ike: " + differences(action.from, action.to);
    }
    std::string operator()(const ChangeFirewall& action) const {
        return "change firewall: " + differences(action.from, action.to);
    }
};

}  // namespace

Result<std::vector<Action>> plan(const DesiredState& from, const DesiredState& to) {
    std::string restart;
    const auto note = [&](std::string_view key, const auto& before, const auto& after) {
        if (!(before == after)) {
            restart += restart.empty() ? "" : ", ";
            restart.append(key).append(" (from ").append(text(before));
            restart.append(" to ").append(text(after)).append(")");
        }
    };
    visit_restart_fields(from, to, note);
    if (!restart.empty()) {
        return tl::unexpected(
            "a running daemon cannot change " + restart +
            "; restart culvertd, or keep the running values"
        );
    }
    std::vector<Action> actions = Planner(from, to).run();
    if (from.daemon.log_level != to.daemon.log_level ||
        from.flow_cache.idle_timeout_s != to.flow_cache.idle_timeout_s || from.hold != to.hold) {
        actions.emplace_back(ChangeRuntime{to});
    }
    if (from.ike != to.ike) {
        actions.emplace_back(ChangeIke{from.ike, to.ike});
    }
    if (from.firewall != to.firewall) {
        actions.emplace_back(ChangeFirewall{from.firewall, to.firewall});
    }
    return actions;
}

std::string describe(const Action& action) {
    return std::visit(Describer{}, action);
}

}  // namespace culvert::ctl
