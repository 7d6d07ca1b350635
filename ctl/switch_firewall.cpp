// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's firewall on the switch's tunnels: the verdict that workers apply, what is said of it,
// and the rules that the daemon keeps by itself. The guard reads and writes in a thread of its own
// (firewall/guard.hpp); here is what its answers mean.

#include <algorithm>
#include <utility>

#include "ctl/kept_openings.hpp"
#include "ctl/log.hpp"
#include "ctl/switch.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

using firewall::Selector;

namespace {

/// The packets of the far end; nothing while a part of their headers is not known.
std::optional<firewall::Header> header_of(const SwitchModel& model, const SwitchPort& port) {
    const TunnelConfig& tunnel = port.tunnel;
    if (tunnel.remote_flow || port.resolution.state == Resolution::State::no_route) {
        return std::nullopt;
    }
    const std::string* bridge = model.bridge_name(port.resolution.device.bridge);
    if (bridge == nullptr) {
        return std::nullopt;
    }
    firewall::Header header;
    header.source = to_firewall(tunnel.remote_ip);
    header.destination = to_firewall(tunnel.local_ip.value_or(port.resolution.source));
    header.protocol = tunnels::kProtocols[*tunnels::find_protocol(tunnel.type)].outer.ip_protocol;
    header.source_port = header.has_ports() ? tunnel.src_port_min : std::uint16_t{0};
    header.destination_port = tunnel.dst_port;
    header.interface_in = firewall::value_of_interface(*bridge);
    return header;
}

/// The ESP packets that they come in, if they have to. Where IKE finds a NAT they come in UDP,
/// which is not known here.
std::optional<firewall::Header>
sealed_header_of(const TunnelConfig& tunnel, const firewall::Header& plain) {
    if (!tunnel.is_encrypted()) {
        return std::nullopt;
    }
    firewall::Header sealed = plain;
    sealed.protocol = firewall::kProtocolEsp;
    sealed.source_port = 0;
    sealed.destination_port = 0;
    std::optional<UdpEncapsulation> udp;
    if (tunnel.esp) {
        udp = tunnel.esp->udp_encap;
    } else if (tunnel.ike->udp_encap) {
        udp.emplace();
    }
    if (udp) {
        sealed.protocol = firewall::kProtocolUdp;
        sealed.source_port = udp->remote_port;
        sealed.destination_port = udp->local_port;
    }
    return sealed;
}

bool are_alike(const std::optional<firewall::Header>& a, const std::optional<firewall::Header>& b) {
    return a.has_value() == b.has_value() && (!a || is_alike(*a, *b));
}

}  // namespace

void Switch::on_firewall() {
    auto policy = parts_.guard.take();
    for (const firewall::Guard::Message& message : parts_.guard.take_messages()) {
        logger("firewall")
            .log(message.is_warning ? spdlog::level::warn : spdlog::level::info, message.text);
    }
    if (policy != policy_) {
        take_policy(std::move(policy));
        publish_if_changed();
    }
}

void Switch::take_policy(std::shared_ptr<const firewall::Policy> policy) {
    for (const std::string& trouble : policy->troubles) {
        const bool is_new =
            policy_ == nullptr ||
            std::find(policy_->troubles.begin(), policy_->troubles.end(), trouble) ==
                policy_->troubles.end();
        if (is_new) {
            logger("firewall").warn("{}", trouble);
        }
    }
    const bool same_holders =
        policy_ == nullptr ? policy->holders.empty() : policy->holders == policy_->holders;
    if (!same_holders) {
        std::string holders;
        for (const std::string& holder : policy->holders) {
            holders += (holders.empty() ? "" : " and ") + holder;
        }
        logger("firewall")
            .info(
                "{}{}",
                holders.empty() ? "no rules filter the host's input"
                                : "rules that filter the host's input are in " + holders,
                policy->holders.size() > 1 ? ", each of which has to let a packet in" : ""
            );
    }
    policy_ = std::move(policy);
    changed_ = true;
}

void Switch::judge_tunnels() {
    std::set<std::string> unknowns;
    for (auto& [index, port] : model_.ports) {
        if (port.role == PortRole::tunnel) {
            judge(port);
            unknowns.insert(port.firewall.unknowns.begin(), port.firewall.unknowns.end());
        }
    }
    if (running_.firewall.enforce) {
        for (const std::string& unknown : unknowns) {
            const auto& troubles = policy_->troubles;  // Warned of as they are.
            if (!warned_unknowns_.contains(unknown) &&
                std::find(troubles.begin(), troubles.end(), unknown) == troubles.end()) {
                logger("firewall")
                    .warn(
                        "{} cannot be evaluated; packets that depend on it are {}",
                        unknown,
                        running_.firewall.unknown == UnknownPolicy::accept ? "let in" : "dropped"
                    );
            }
        }
    }
    warned_unknowns_ = std::move(unknowns);
}

/// What the rules say of a tunnel's packets; rules are gone through only if something changed.
void Switch::judge(SwitchPort& tunnel) {
    using Kind = TunnelVerdict::Kind;
    const TunnelVerdict before = std::exchange(tunnel.firewall, {});
    TunnelVerdict& now = tunnel.firewall;
    if (const auto header = header_of(model_, tunnel)) {
        const auto sealed = sealed_header_of(tunnel.tunnel, *header);
        const bool is_known = before.policy == policy_ && are_alike(before.header, header) &&
                              are_alike(before.sealed, sealed);
        now = is_known ? before : judge_tunnel(policy_, *header, sealed);
    }
    now.enforced = running_.firewall.enforce;
    now.lets_in = now.kind != Kind::dropped &&
                  (now.kind != Kind::unknown || running_.firewall.unknown == UnknownPolicy::accept);
    const bool same = now.kind == before.kind && now.enforced == before.enforced &&
                      now.lets_in == before.lets_in &&
                      (now.kind != Kind::dropped || now.rule == before.rule);
    if (!same && now.enforced) {
        log_verdict(tunnel, before.kind);
    }
}

void Switch::log_verdict(const SwitchPort& tunnel, TunnelVerdict::Kind before) {
    using Kind = TunnelVerdict::Kind;
    const std::string remote = tunnel.tunnel.remote_ip.to_string();
    switch (tunnel.firewall.kind) {
    case Kind::dropped:
        logger("firewall")
            .warn(
                "tunnel {}: the host's firewall drops packets of {}: {}",
                tunnel.name,
                remote,
                tunnel.firewall.rule
            );
        return;
    case Kind::admitted:
        // That packets are let in is worth a line only where they were not.
        if (before != Kind::open) {
            logger("firewall")
                .info("tunnel {}: the host's firewall lets packets of {} in", tunnel.name, remote);
        }
        return;
    case Kind::unknown:
        logger("firewall")
            .warn(
                "tunnel {}: it is not known whether the host's firewall lets packets of {} in; "
                "they are {}",
                tunnel.name,
                remote,
                tunnel.firewall.lets_in ? "let in" : "dropped"
            );
        return;
    case Kind::by_port:
        logger("firewall")
            .info(
                "tunnel {}: the host's firewall judges packets of {} by their source port",
                tunnel.name,
                remote
            );
        return;
    case Kind::open:
        return;
    }
}

/// Tells the guard which rules there should be by [firewall] manage.
void Switch::keep_rules() {
    const ManagePolicy manage = running_.firewall.manage;
    std::vector<Selector> wanted = kept_openings(manage, running_.tunnels);
    const bool keeps = manage != ManagePolicy::off;
    if (keeps == keeps_ && wanted == kept_) {
        return;
    }
    keeps_ = keeps;
    kept_ = wanted;
    // Switched off, what was opened is closed; never switched on, the rules are nobody's business.
    parts_.guard.keep(std::move(wanted));
}

std::shared_ptr<const dataplane::Admission> Switch::make_admission() const {
    if (!running_.firewall.enforce) {
        return nullptr;
    }
    if (policy_->troubles.empty() && !policy_->rules.has_policy()) {
        return nullptr;  // Nothing filters: workers need not ask.
    }
    std::vector<firewall::Value> devices;
    for (const auto& [index, port] : model_.ports) {
        if (port.role == PortRole::local) {
            devices.resize(std::max<std::size_t>(devices.size(), port.bridge + std::size_t{1}));
            devices[port.bridge] = firewall::value_of_interface(port.config.interface);
        }
    }
    return std::make_shared<FirewallAdmission>(
        policy_, running_.firewall.unknown, std::move(devices)
    );
}

}  // namespace culvert::ctl
