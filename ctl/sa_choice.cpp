// SPDX-License-Identifier: GPL-2.0-or-later
//
// See sa_choice.hpp.

#include "ctl/sa_choice.hpp"

#include <algorithm>

namespace culvert::ctl {

namespace {

using OfTunnel = std::vector<const SaRecord*>;

const SaRecord* newest(const OfTunnel& records, bool outbound) {
    const SaRecord* found = nullptr;
    for (const SaRecord* record : records) {
        if (record->outbound == outbound && record->lives() &&
            (found == nullptr || record->after(*found))) {
            found = record;
        }
    }
    return found;
}

/// The peer sends by an SA that is newer than this one, so it has the other direction too.
bool peer_is_ahead(const OfTunnel& records, const SaRecord& current) {
    return std::any_of(records.begin(), records.end(), [&](const SaRecord* record) {
        return record->in && record->used.packets != 0 && record->after(current);
    });
}

const SaRecord* choose_outbound(
    const OfTunnel& records, const dataplane::OutboundSa* before, std::uint64_t uptime_s
) {
    const SaRecord* latest = newest(records, true);
    const auto current = std::find_if(records.begin(), records.end(), [&](const SaRecord* record) {
        return record->out && record->out.get() == before;
    });
    if (current == records.end() || *current == latest) {
        return latest;
    }
    const bool switches =
        uptime_s >= latest->arrived_s + kNewerOutboundS || peer_is_ahead(records, **current);
    return switches ? latest : *current;
}

std::string trouble_of(const EspTunnel& tunnel, const OfTunnel& records, bool established) {
    if (!tunnel.trouble.empty()) {
        return tunnel.trouble;
    }
    for (const SaRecord* record : records) {
        const std::string& trouble = established ? record->warning : record->trouble;
        if (!trouble.empty()) {
            return trouble;
        }
    }
    if (established) {
        return {};
    }
    if (!tunnel.local) {
        return "the address that it sends from is not known";
    }
    return tunnel.by_ike ? "there is no security association yet" : "";
}

/// What the tunnel's packets are sealed by and may be opened by.
dataplane::EspPolicy make_policy(const OfTunnel& records, const SaRecord* out) {
    dataplane::EspPolicy policy;
    policy.out = out == nullptr ? nullptr : out->out;
    for (const SaRecord* record : records) {
        if (record->in) {
            policy.accepts.push_back(record->parameters.id);
        }
    }
    std::sort(policy.accepts.begin(), policy.accepts.end());
    return policy;
}

TunnelEncryption make_state(const EspTunnel& tunnel, const OfTunnel& records, const SaRecord* out) {
    const SaRecord* in = newest(records, false);
    TunnelEncryption state;
    state.established = out != nullptr && in != nullptr;
    state.spi_in = in == nullptr ? 0 : in->parameters.spi;
    state.spi_out = out == nullptr ? 0 : out->parameters.spi;
    if (const SaRecord* of = out != nullptr ? out : in) {
        state.algorithm = of->algorithm;
    }
    state.trouble = trouble_of(tunnel, records, state.established);
    return state;
}

}  // namespace

bool SaChoice::operator==(const SaChoice& other) const {
    return policies == other.policies && states == other.states && inbound == other.inbound &&
           remotes == other.remotes && host_spis == other.host_spis && may_grow == other.may_grow;
}

SaChoice choose_associations(
    const SaRecords& records,
    const std::vector<EspTunnel>& tunnels,
    const SaChoice& before,
    std::uint64_t uptime_s
) {
    SaChoice choice;
    std::map<std::string, OfTunnel> by_tunnel;
    for (const auto& record : records) {
        for (const std::string& tunnel : record->tunnels) {
            by_tunnel[tunnel].push_back(record.get());
        }
        if (record->in) {
            choice.inbound.push_back(record->in);
        }
        if (record->by_ike && record->tunnels.empty()) {
            choice.host_spis.push_back(record->parameters.spi);
        }
    }
    std::sort(choice.host_spis.begin(), choice.host_spis.end());
    for (const EspTunnel& tunnel : tunnels) {
        choice.remotes.push_back(tunnel.remote);
        const OfTunnel& own = by_tunnel[tunnel.name];
        const auto was = before.policies.find(tunnel.name);
        const dataplane::EspPolicy* former =
            was == before.policies.end() ? nullptr : was->second.get();
        const SaRecord* out =
            choose_outbound(own, former == nullptr ? nullptr : former->out.get(), uptime_s);
        choice.undecided = choice.undecided || out != newest(own, true);
        dataplane::EspPolicy policy = make_policy(own, out);
        const bool same =
            former != nullptr && former->out == policy.out && former->accepts == policy.accepts;
        choice.policies[tunnel.name] =
            same ? was->second : std::make_shared<const dataplane::EspPolicy>(std::move(policy));
        choice.states[tunnel.name] = make_state(tunnel, own, out);
        choice.may_grow = choice.may_grow || tunnel.by_ike;
    }
    return choice;
}

}  // namespace culvert::ctl
