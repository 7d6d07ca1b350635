// SPDX-License-Identifier: GPL-2.0-or-later
//
// See lacp.hpp. The selection logic is the simple one of a single aggregator: the member of the
// highest priority leads, and who has the same partner and key follows.

#include "ctl/lacp.hpp"

#include <algorithm>
#include <tuple>

namespace culvert::ctl {

namespace {

constexpr std::uint64_t kFastMs = 1000;
constexpr std::uint64_t kSlowMs = 30000;
constexpr std::uint64_t kMissedPdus = 3;  // So many are missed before the partner is.

/// Lower is better.
auto order(const LacpInfo& info) {
    return std::tuple(
        info.system_priority, info.system_id.to_u64(), info.port_priority, info.port_id
    );
}

/// Whether a PDU would tell the partner something new (IEEE 802.1AX-2014 section 6.4.15).
bool tells_the_same(const LacpInfo& a, const LacpInfo& b) {
    constexpr std::uint8_t kTold = lacp_state::kActivity | lacp_state::kTimeout |
                                   lacp_state::kSynchronized | lacp_state::kAggregation;
    return ((a.state ^ b.state) & kTold) == 0 && order(a) == order(b) && a.key == b.key;
}

}  // namespace

void Lacp::configure(const LacpSettings& settings) {
    stale_ = stale_ || settings.system_id != settings_.system_id ||
             settings.system_priority != settings_.system_priority ||
             settings.fallback_ab != settings_.fallback_ab;
    settings_ = settings;
}

void Lacp::expire(LacpMember& member, std::uint64_t now_ms) const {
    member.status = LacpMemberStatus::expired;
    member.partner.state |= lacp_state::kTimeout;
    member.partner.state &= static_cast<std::uint8_t>(~lacp_state::kSynchronized);
    member.silent_at_ms = now_ms + kMissedPdus * kFastMs;
}

void Lacp::set_default(LacpMember& member) {
    member.partner = {};
    member.status = LacpMemberStatus::defaulted;
    stale_ = true;
}

void Lacp::set_members(std::span<const LacpMemberInput> members, std::uint64_t now_ms) {
    std::vector<LacpMember> next;
    for (const LacpMemberInput& input : members) {
        const LacpMember* before = find(input.port);
        LacpMember member = before == nullptr ? LacpMember{} : *before;
        const bool renumbered = before == nullptr || before->input.port_id != input.port_id ||
                                before->input.port_priority != input.port_priority ||
                                before->input.key != input.key;
        if (renumbered) {
            stale_ = true;
            if (settings_.active || negotiated_) {
                expire(member, now_ms);
            }
        }
        const bool carrier = before != nullptr && before->input.up != input.up;
        if (carrier && (member.status == LacpMemberStatus::current || settings_.active)) {
            expire(member, now_ms);
            stale_ = true;
        }
        member.input = input;
        next.push_back(std::move(member));
    }
    stale_ = stale_ || next.size() != members_.size();
    members_ = std::move(next);
}

void Lacp::receive(std::uint16_t port, const LacpPdu& pdu, std::uint64_t now_ms) {
    const auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& member) {
        return member.input.port == port;
    });
    // A PDU may be faster than the news that the link is up: the next one comes.
    if (found == members_.end() || !found->input.up) {
        return;
    }
    LacpMember& member = *found;
    stale_ = stale_ || member.status != LacpMemberStatus::current;
    member.status = LacpMemberStatus::current;
    member.silent_at_ms = now_ms + kMissedPdus * (settings_.fast ? kFastMs : kSlowMs);
    member.told = pdu.partner;
    if (member.partner != pdu.actor) {
        member.partner = pdu.actor;
        stale_ = true;
    }
}

void Lacp::run(std::uint64_t now_ms, const Send& send) {
    for (LacpMember& member : members_) {
        if (member.status == LacpMemberStatus::defaulted || now_ms < member.silent_at_ms) {
            continue;
        }
        if (member.status == LacpMemberStatus::current) {
            expire(member, now_ms);
            stale_ = true;
        } else {
            set_default(member);
        }
    }
    if (stale_) {
        stale_ = false;
        attach();
    }
    for (LacpMember& member : members_) {
        const LacpInfo ours = actor(member);
        const bool due = now_ms >= member.send_at_ms || !tells_the_same(ours, member.told);
        if (!may_send(member) || !due) {
            continue;
        }
        member.told = ours;
        const bool fast = (member.partner.state & lacp_state::kTimeout) != 0;
        member.send_at_ms = now_ms + (fast ? kFastMs : kSlowMs);
        send(member.input.port, {ours, member.partner});
    }
}

const LacpMember* Lacp::find(std::uint16_t port) const {
    const auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& member) {
        return member.input.port == port;
    });
    return found == members_.end() ? nullptr : &*found;
}

bool Lacp::may_enable(const LacpMember& member) const {
    const bool synchronized = (member.partner.state & lacp_state::kSynchronized) != 0;
    const bool falls_back = settings_.fallback_ab && member.status == LacpMemberStatus::defaulted;
    return member.attached && (synchronized || falls_back);
}

bool Lacp::may_send(const LacpMember& member) const {
    return member.input.up && (settings_.active || member.status != LacpMemberStatus::defaulted);
}

std::optional<std::uint16_t> Lacp::key() const {
    if (members_.empty()) {
        return std::nullopt;
    }
    const LacpMemberInput& first = members_.front().input;
    return first.key != 0 ? first.key : first.port_id;
}

LacpInfo Lacp::actor(const LacpMember& member) const {
    LacpInfo info;
    info.system_priority = settings_.system_priority;
    info.system_id = settings_.system_id;
    info.key = key().value_or(0);
    info.port_priority = member.input.port_priority;
    info.port_id = member.input.port_id;
    const auto set = [&](bool condition, unsigned bits) {
        info.state = static_cast<std::uint8_t>(info.state | (condition ? bits : 0U));
    };
    set(settings_.active, lacp_state::kActivity);
    set(settings_.fast, lacp_state::kTimeout);
    set(members_.size() > 1, lacp_state::kAggregation);
    set(member.attached, lacp_state::kSynchronized);
    set(member.attached || !negotiated_,
        unsigned{lacp_state::kCollecting} | lacp_state::kDistributing);
    set(member.status == LacpMemberStatus::defaulted, lacp_state::kDefaulted);
    set(member.status == LacpMemberStatus::expired, lacp_state::kExpired);
    return info;
}

/// That of the end whose system has the higher priority: both ends then choose the same link.
LacpInfo Lacp::priority(const LacpMember& member) const {
    const auto ours = std::tuple(settings_.system_priority, settings_.system_id.to_u64());
    const auto theirs =
        std::tuple(member.partner.system_priority, member.partner.system_id.to_u64());
    return ours < theirs ? actor(member) : member.partner;
}

void Lacp::attach() {
    // A member that works keeps others with another partner out.
    const LacpMember* lead = nullptr;
    for (const LacpMember& member : members_) {
        if (member.status == LacpMemberStatus::current && member.attached &&
            (lead == nullptr || order(priority(member)) < order(priority(*lead)))) {
            lead = &member;
        }
    }
    const auto working = lead == nullptr ? std::nullopt : std::optional(lead->partner.system_id);
    bool lead_enabled = lead != nullptr;
    std::vector<bool> enabled;
    enabled.reserve(members_.size());
    for (const LacpMember& member : members_) {
        enabled.push_back(may_enable(member));
    }
    for (std::size_t i = 0; i < members_.size(); ++i) {
        LacpMember& member = members_[i];
        member.attached = false;
        if (member.partner.system_id == settings_.system_id) {
            continue;  // A cable back to ourselves.
        }
        if (member.status == LacpMemberStatus::defaulted) {
            member.attached = settings_.fallback_ab;
            continue;
        }
        if (working && member.partner.system_id != *working) {
            continue;
        }
        member.attached = true;
        const bool better =
            lead == nullptr || enabled[i] > lead_enabled ||
            (enabled[i] == lead_enabled && order(priority(member)) < order(priority(*lead)));
        if (better) {
            lead = &member;
            lead_enabled = enabled[i];
        }
    }
    negotiated_ = lead != nullptr;
    if (lead == nullptr) {
        return;
    }
    const LacpInfo partner = lead->partner;
    for (LacpMember& member : members_) {
        const bool defaulted = member.status == LacpMemberStatus::defaulted;
        if ((defaulted && settings_.fallback_ab) || member.partner.key != partner.key ||
            member.partner.system_id != partner.system_id) {
            member.attached = false;
        }
    }
}

}  // namespace culvert::ctl
