// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's rules on tunnel packets: for workers without words, for operators with them.

#include "ctl/firewall_admission.hpp"

#include <algorithm>
#include <utility>

#include "firewall/describe.hpp"

namespace culvert::ctl {

using dataplane::AdmissionQuestion;
using dataplane::Admitted;
using firewall::Field;
using firewall::Header;
using firewall::Judgement;
using firewall::Policy;
using firewall::Ruleset;

namespace {

constexpr std::size_t kUnknownsMax = 8;

bool reads(const Judgement& judgement, Field field) {
    return judgement.read.test(static_cast<std::size_t>(field));
}

std::string with_reason(const std::string& rule, const std::string& reason) {
    return reason.empty() ? rule : rule + " (" + firewall::on_one_line(reason) + ")";
}

/// Why a judgement is not definite.
std::vector<std::string> reasons(const Policy& policy, const firewall::Trace& trace) {
    std::vector<std::string> all;
    for (const firewall::TraceStep& step : trace) {
        if (step.outcome == firewall::TraceStep::Outcome::unknown && all.size() < kUnknownsMax) {
            all.push_back(with_reason(firewall::describe(policy.rules, step.at), step.unknown));
        }
    }
    for (const std::string& trouble : policy.troubles) {
        if (all.size() < kUnknownsMax) {
            all.push_back(trouble);
        }
    }
    return all;
}

/// What of a rule cannot be evaluated; empty: nothing.
std::string unknown_part(const firewall::Rule& rule) {
    for (const firewall::Step& step : rule.steps) {
        if (const auto* match = std::get_if<firewall::UnknownMatch>(&step)) {
            return match->what;
        }
    }
    return rule.action == firewall::Action::unknown ? "target " + rule.unknown : "";
}

}  // namespace

firewall::Address to_firewall(const tunnels::IpAddress& address) noexcept {
    if (address.is_v4()) {
        return {firewall::Family::ipv4, firewall::value_of(address.v4(), 4)};
    }
    return {firewall::Family::ipv6, firewall::value_of(address.bytes.data(), 16)};
}

FirewallAdmission::FirewallAdmission(
    std::shared_ptr<const Policy> policy,
    UnknownPolicy unknown,
    std::vector<firewall::Value> local_devices
)
    : policy_(std::move(policy)), unknown_(unknown), local_devices_(std::move(local_devices)) {}

Admitted FirewallAdmission::judge(const AdmissionQuestion& question) const noexcept {
    Header header;
    header.source = to_firewall(question.source);
    header.destination = to_firewall(question.destination);
    header.protocol = question.protocol;
    header.source_port = question.source_port;
    header.destination_port = question.destination_port;
    if (question.bridge < local_devices_.size()) {
        header.interface_in = local_devices_[question.bridge];
    }
    const Judgement judgement = policy_->judge(header);
    return {
        .yes = judgement.is_unknown() ? unknown_ == UnknownPolicy::accept : judgement.accepted(),
        .holds_for_peer = !reads(judgement, Field::source_port)};
}

std::string_view to_string(TunnelVerdict::Kind kind) {
    switch (kind) {
    case TunnelVerdict::Kind::admitted:
        return "admitted";
    case TunnelVerdict::Kind::dropped:
        return "dropped";
    case TunnelVerdict::Kind::unknown:
        return "unknown";
    case TunnelVerdict::Kind::by_port:
        return "by port";
    case TunnelVerdict::Kind::open:
        break;
    }
    return "open";
}

std::string to_text(const TunnelVerdict& verdict) {
    std::string text(to_string(verdict.kind));
    switch (verdict.kind) {
    case TunnelVerdict::Kind::open:
        text += ", as the sender or the route is not known";
        break;
    case TunnelVerdict::Kind::admitted:
    case TunnelVerdict::Kind::dropped:
        text += verdict.rule.empty() ? "" : " by " + verdict.rule;
        break;
    case TunnelVerdict::Kind::unknown:
        for (const std::string& unknown : verdict.unknowns) {
            text +=
                (&unknown == &verdict.unknowns.front() ? ", as it depends on " : "; ") + unknown;
        }
        break;
    case TunnelVerdict::Kind::by_port:
        text += ", as rules read the sender's port";
        break;
    }
    return text + (verdict.enforced ? "" : " (not enforced)");
}

bool is_alike(const Header& a, const Header& b) {
    return a.source == b.source && a.destination == b.destination && a.protocol == b.protocol &&
           a.source_port == b.source_port && a.destination_port == b.destination_port &&
           a.interface_in == b.interface_in && a.state == b.state;
}

namespace {

TunnelVerdict judge_packets(std::shared_ptr<const Policy> policy, const Header& header) {
    TunnelVerdict verdict;
    const Judgement judgement = policy->judge(header);
    if (judgement.decider) {
        verdict.rule = firewall::describe(policy->rules, *judgement.decider);
    }
    if (reads(judgement, Field::source_port)) {
        verdict.kind = TunnelVerdict::Kind::by_port;
        verdict.rule.clear();
    } else if (judgement.is_unknown()) {
        verdict.kind = TunnelVerdict::Kind::unknown;
        firewall::Trace trace;
        static_cast<void>(policy->judge(header, &trace));
        verdict.unknowns = reasons(*policy, trace);
    } else {
        verdict.kind =
            judgement.accepted() ? TunnelVerdict::Kind::admitted : TunnelVerdict::Kind::dropped;
    }
    verdict.policy = std::move(policy);
    return verdict;
}

/// Of two verdicts that both have to let a packet in, the one that says more about it comes later.
unsigned weight_of(TunnelVerdict::Kind kind) {
    using Kind = TunnelVerdict::Kind;
    switch (kind) {
    case Kind::dropped:
        return 4;
    case Kind::unknown:
        return 3;
    case Kind::by_port:
        return 2;
    case Kind::admitted:
        return 1;
    case Kind::open:
        break;
    }
    return 0;
}

}  // namespace

TunnelVerdict judge_tunnel(
    std::shared_ptr<const Policy> policy, const Header& header, const std::optional<Header>& sealed
) {
    TunnelVerdict verdict = judge_packets(policy, header);
    if (sealed) {
        TunnelVerdict outer = judge_packets(std::move(policy), *sealed);
        if (weight_of(outer.kind) >= weight_of(verdict.kind)) {
            std::swap(outer, verdict);
        }
        for (std::string& unknown : outer.unknowns) {
            const bool is_new =
                std::find(verdict.unknowns.begin(), verdict.unknowns.end(), unknown) ==
                verdict.unknowns.end();
            if (is_new && verdict.unknowns.size() < kUnknownsMax) {
                verdict.unknowns.push_back(std::move(unknown));
            }
        }
    }
    verdict.header = header;
    verdict.sealed = sealed;
    return verdict;
}

UnknownRules unknown_rules(const Ruleset& rules, std::size_t listed_max) {
    UnknownRules found;
    for (std::uint32_t chain = 0; chain < rules.chains.size(); ++chain) {
        const auto& in_chain = rules.chains[chain].rules;
        for (std::uint32_t index = 0; index < in_chain.size(); ++index) {
            const std::string part = unknown_part(in_chain[index]);
            if (part.empty()) {
                continue;
            }
            ++found.count;
            if (found.listed.size() < listed_max) {
                found.listed.push_back(with_reason(firewall::describe(rules, {chain, index}), part)
                );
            }
        }
    }
    return found;
}

}  // namespace culvert::ctl
