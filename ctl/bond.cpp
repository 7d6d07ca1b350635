// SPDX-License-Identifier: GPL-2.0-or-later
//
// See bond.hpp. Rebalancing is in bond_balance.cpp.

#include "ctl/bond.hpp"

#include <algorithm>
#include <utility>

#include "ctl/log.hpp"

namespace culvert::ctl {

using dataplane::BondHash;
using dataplane::kPortNone;
using dataplane::MemberAdmits;

void Bond::configure(const BondConfig& config, std::uint64_t now_ms) {
    const BondConfig before = std::exchange(config_, config);
    if (before.mode != config.mode || before.hash_basis != config.hash_basis ||
        before.lacp_fallback_ab != config.lacp_fallback_ab ||
        (before.rebalance_ms == 0) != (config.rebalance_ms == 0) || next_rebalance_ms_ == 0) {
        reset_buckets(now_ms);
    } else if (before.rebalance_ms != config.rebalance_ms) {
        next_rebalance_ms_ = next_rebalance_ms_ - before.rebalance_ms + config.rebalance_ms;
    }
}

void Bond::reset_buckets(std::uint64_t now_ms) {
    for (Bucket& bucket : buckets_) {
        bucket.member = kPortNone;
        bucket.load_bytes = 0;
        bucket.used = false;
    }
    next_rebalance_ms_ = now_ms + config_.rebalance_ms;
}

void Bond::take_members(std::span<const BondMemberInput> members) {
    std::vector<BondMember> next;
    for (const BondMemberInput& input : members) {
        const BondMember* before = find(input.port);
        next.push_back(before == nullptr ? BondMember{} : *before);
        next.back().input = input;
        if (before == nullptr) {
            // A new member starts as its link is; delays are for changes.
            next.back().enabled = next.back().may_enable();
        }
    }
    const bool lost = std::any_of(members_.begin(), members_.end(), [&](const BondMember& old) {
        return old.enabled && std::none_of(next.begin(), next.end(), [&](const BondMember& kept) {
                   return kept.input.port == old.input.port;
               });
    });
    learning_ = learning_ || lost;
    members_ = std::move(next);
}

void Bond::set_enabled(BondMember& member, bool enabled) {
    member.delay_ends_ms.reset();
    if (member.enabled == enabled) {
        return;
    }
    member.enabled = enabled;
    learning_ = learning_ || !enabled;
    logger("bond").info(
        "{}: member {} {}", config_.name, member.input.name, enabled ? "enabled" : "disabled"
    );
}

void Bond::follow_link(BondMember& member, std::uint64_t now_ms) {
    const bool up = member.may_enable();
    if (up == member.enabled) {
        member.delay_ends_ms.reset();
        return;
    }
    if (!member.delay_ends_ms) {
        const std::uint32_t delay_ms = up ? config_.updelay_ms : config_.downdelay_ms;
        member.delay_ends_ms = now_ms + delay_ms;
        if (delay_ms != 0) {
            logger("bond").info(
                "{}: member {} will be {} if it stays {} for {} ms",
                config_.name,
                member.input.name,
                up ? "enabled" : "disabled",
                up ? "up" : "down",
                delay_ms
            );
        }
    }
    if (now_ms >= *member.delay_ends_ms) {
        set_enabled(member, up);
    }
}

void Bond::run(std::span<const BondMemberInput> members, LacpStatus lacp, std::uint64_t now_ms) {
    take_members(members);
    if (lacp_ != lacp) {
        lacp_ = lacp;
        if (falls_back()) {
            reset_buckets(now_ms);
        }
    }
    for (BondMember& member : members_) {
        follow_link(member, now_ms);
    }
    const BondMember* current = active();
    const bool better = config_.mode == BondMode::active_backup &&
                        std::any_of(members_.begin(), members_.end(), [&](const auto& member) {
                            return is_primary(member) && member.enabled && &member != current;
                        });
    if (current == nullptr || !current->enabled || better) {
        elect();
    }
    assign_buckets();
}

bool Bond::is_primary(const BondMember& member) const {
    return !config_.primary.empty() && member.input.name == config_.primary;
}

BondMember* Bond::choose_active() {
    const auto first = [&](const auto& fits) -> BondMember* {
        const auto found = std::find_if(members_.begin(), members_.end(), fits);
        return found == members_.end() ? nullptr : &*found;
    };
    const auto enabled = [](const BondMember& member) { return member.enabled; };
    BondMember* chosen =
        first([&](const BondMember& member) { return member.enabled && is_primary(member); });
    if (chosen == nullptr) {
        chosen = first([&](const BondMember& member) {
            return member.enabled && member.input.mac == active_mac_;
        });
    }
    if (chosen == nullptr) {
        chosen = first(enabled);
    }
    if (chosen == nullptr) {
        // Rather one whose updelay is not over than none.
        for (BondMember& member : members_) {
            if (member.delay_ends_ms && member.may_enable() &&
                (chosen == nullptr || *member.delay_ends_ms < *chosen->delay_ends_ms)) {
                chosen = &member;
            }
        }
    }
    return chosen;
}

void Bond::elect() {
    const std::uint16_t before = active_;
    BondMember* chosen = choose_active();
    if (chosen == nullptr) {
        active_ = kPortNone;
        if (before != kPortNone) {
            active_mac_ = {};
            logger("bond").warn("{}: all members are disabled", config_.name);
        }
        return;
    }
    set_enabled(*chosen, true);
    active_ = chosen->input.port;
    active_mac_ = chosen->input.mac;
    learning_ = true;
    if (before != active_) {
        logger("bond").info("{}: the active member is now {}", config_.name, chosen->input.name);
    }
}

/// Buckets of a member that can't send go to the others in turns, at once; those that carry
/// nothing are shared out evenly, so that a member that joins gets new flows.
void Bond::assign_buckets() {
    std::vector<std::uint16_t> enabled;
    for (const BondMember& member : members_) {
        if (member.enabled) {
            enabled.push_back(member.input.port);
        }
    }
    std::size_t turn = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
        Bucket& bucket = buckets_[i];
        if (enabled.empty()) {
            bucket.member = kPortNone;
        } else if (!bucket.used) {
            bucket.member = enabled[i % enabled.size()];
        } else if (std::find(enabled.begin(), enabled.end(), bucket.member) == enabled.end()) {
            bucket.member = enabled[turn++ % enabled.size()];
        }
    }
}

void Bond::account(Bucket& bucket, std::uint64_t bytes) {
    const std::uint64_t sent = bytes - std::exchange(bucket.counted_bytes, bytes);
    bucket.load_bytes += sent;
    bucket.used = bucket.used || sent != 0;
}

bool Bond::take_learning() {
    const bool balances_itself = lacp_ == LacpStatus::off && config_.mode != BondMode::balance_tcp;
    const bool fallen = config_.lacp_fallback_ab && lacp_ == LacpStatus::configured;
    return std::exchange(learning_, false) && (balances_itself || fallen) && active() != nullptr;
}

void Bond::enable(std::uint16_t port, bool enabled) {
    for (BondMember& member : members_) {
        if (member.input.port == port) {
            set_enabled(member, enabled);
        }
    }
}

void Bond::set_active(std::uint16_t port) {
    const BondMember* member = find(port);
    active_ = port;
    active_mac_ = member->input.mac;
    learning_ = true;
    logger("bond").info("{}: the active member is now {}", config_.name, member->input.name);
}

void Bond::migrate(std::size_t bucket, std::uint16_t port) {
    buckets_[bucket].member = port;
    buckets_[bucket].used = true;
}

const BondMember* Bond::find(std::uint16_t port) const {
    const auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& member) {
        return member.input.port == port;
    });
    return found == members_.end() ? nullptr : &*found;
}

bool Bond::falls_back() const {
    return config_.lacp_fallback_ab && config_.mode != BondMode::active_backup &&
           lacp_ == LacpStatus::configured;
}

bool Bond::rebalances() const {
    return config_.rebalance_ms != 0 && config_.mode != BondMode::active_backup &&
           !(config_.lacp_fallback_ab && lacp_ == LacpStatus::configured);
}

BondHash Bond::hash() const {
    if (config_.mode == BondMode::active_backup || lacp_ == LacpStatus::configured) {
        return BondHash::none;
    }
    return config_.mode == BondMode::balance_slb ? BondHash::source : BondHash::flow;
}

std::uint16_t Bond::output(std::size_t bucket) const {
    const bool idle = lacp_ == LacpStatus::configured
                          ? !config_.lacp_fallback_ab
                          : config_.mode == BondMode::balance_tcp && lacp_ == LacpStatus::off;
    if (idle) {
        return kPortNone;
    }
    return hash() == BondHash::none ? active_ : buckets_[bucket].member;
}

MemberAdmits Bond::admits(const BondMember& member) const {
    const bool is_active = member.input.port == active_;
    switch (lacp_) {
    case LacpStatus::negotiated:
        return member.enabled || member.may_enable() ? MemberAdmits::everything
                                                     : MemberAdmits::nothing;
    case LacpStatus::configured:
        if (!config_.lacp_fallback_ab) {
            return MemberAdmits::nothing;
        }
        break;
    case LacpStatus::off:
        if (config_.mode == BondMode::balance_tcp) {
            return MemberAdmits::nothing;
        }
        break;
    }
    if (is_active) {
        return MemberAdmits::everything;
    }
    return config_.mode == BondMode::balance_slb ? MemberAdmits::unicast : MemberAdmits::nothing;
}

}  // namespace culvert::ctl
