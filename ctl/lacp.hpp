// SPDX-License-Identifier: GPL-2.0-or-later
//
// Link aggregation control (IEEE 802.1AX) of one bond, as Open vSwitch's behaves: each member is
// current, expired or defaulted by what its partner says and when; those whose partner is the lead
// member's are attached and may carry traffic. Pure: time comes in, PDUs come in and go out by
// calls. Control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ctl/lacp_pdu.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

struct LacpSettings {
    bool active = false;  ///< Else passive: speaks when spoken to.
    bool fast = false;
    bool fallback_ab = false;
    tunnels::MacAddress system_id;
    std::uint16_t system_priority = 0;
    bool operator==(const LacpSettings&) const = default;
};

/// A member as it is configured and as its link is.
struct LacpMemberInput {
    std::uint16_t port = dataplane::kPortNone;
    std::string name;
    std::uint16_t port_id = 0;
    std::uint16_t port_priority = 0;
    std::uint16_t key = 0;  ///< 0: the first member's port id.
    bool up = false;
};

enum class LacpMemberStatus : std::uint8_t { current, expired, defaulted };

struct LacpMember {
    LacpMemberInput input;
    LacpMemberStatus status = LacpMemberStatus::defaulted;
    bool attached = false;
    LacpInfo partner;
    LacpInfo told;  ///< Of us, as the partner knows it: what differs is sent at once.
    std::uint64_t send_at_ms = 0;
    std::uint64_t silent_at_ms = 0;  ///< When the partner is missed.
};

class Lacp {
public:
    using Send = std::function<void(std::uint16_t port, const LacpPdu& pdu)>;

    void configure(const LacpSettings& settings);

    /// The members there are now; what is known of those that stay is kept.
    void set_members(std::span<const LacpMemberInput> members, std::uint64_t now_ms);

    void receive(std::uint16_t port, const LacpPdu& pdu, std::uint64_t now_ms);

    /// Timers, who is attached, and what has to be sent. Several times a second.
    void run(std::uint64_t now_ms, const Send& send);

    [[nodiscard]] bool negotiated() const { return negotiated_; }
    [[nodiscard]] const LacpSettings& settings() const { return settings_; }
    [[nodiscard]] const std::vector<LacpMember>& members() const { return members_; }
    [[nodiscard]] const LacpMember* find(std::uint16_t port) const;
    /// Whether the member may carry traffic.
    [[nodiscard]] bool may_enable(const LacpMember& member) const;
    /// What we say of ourselves on this member.
    [[nodiscard]] LacpInfo actor(const LacpMember& member) const;
    /// The aggregation key; nothing without a member.
    [[nodiscard]] std::optional<std::uint16_t> key() const;

private:
    void expire(LacpMember& member, std::uint64_t now_ms) const;
    void set_default(LacpMember& member);
    [[nodiscard]] LacpInfo priority(const LacpMember& member) const;
    [[nodiscard]] bool may_send(const LacpMember& member) const;
    void attach();

    LacpSettings settings_;
    std::vector<LacpMember> members_;  ///< The first one gives the key.
    bool negotiated_ = false;
    bool stale_ = true;  ///< attach() has to be called.
};

}  // namespace culvert::ctl
