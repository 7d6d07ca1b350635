// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which members of a bond carry traffic, as Open vSwitch decides it: links up and down with their
// delays, the active member, and for balanced bonds which member carries which bucket of flows.
// Pure: time, links, LACP's word and byte counts come in. Control thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ctl/bond_config.hpp"
#include "dataplane/bond_view.hpp"

namespace culvert::ctl {

enum class LacpStatus : std::uint8_t { off, configured, negotiated };

/// A member as it is.
struct BondMemberInput {
    std::uint16_t port = dataplane::kPortNone;
    std::string name;
    tunnels::MacAddress mac;
    bool up = false;              ///< The link.
    bool lacp_may_enable = true;  ///< LACP's word; true without it.
};

struct BondMember {
    BondMemberInput input;
    bool enabled = false;
    std::optional<std::uint64_t> delay_ends_ms;  ///< When it changes sides, if its link stays so.

    [[nodiscard]] bool may_enable() const { return input.up && input.lacp_may_enable; }
};

class Bond {
public:
    struct Bucket {
        std::uint16_t member = dataplane::kPortNone;  ///< Its port.
        std::uint64_t load_bytes = 0;                 ///< Decays by half at each rebalancing.
        std::uint64_t counted_bytes = 0;              ///< Of the counter, at the last account().
        bool used = false;  ///< Since it was given to the member: it stays there.
    };
    using Buckets = std::array<Bucket, dataplane::kBondBuckets>;

    void configure(const BondConfig& config, std::uint64_t now_ms);

    /// Goes on to now. Members are those there are, in the order of the configuration; what is
    /// known of those that stay is kept.
    void run(std::span<const BondMemberInput> members, LacpStatus lacp, std::uint64_t now_ms);

    /// Adds what was sent since: `read(bucket)` is the counter of all bytes.
    template <class Read>
    void account(const Read& read) {
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            account(buckets_[i], read(i));
        }
    }

    /// Moves load from busy to idle members, once its time has come. True: something was moved.
    bool rebalance(std::uint64_t now_ms);

    /// Whether neighbours have to learn anew where hosts are; asking resets it.
    [[nodiscard]] bool take_learning();

    // By hand; what the link says counts again from the next run() on.
    void enable(std::uint16_t port, bool enabled);
    /// Precondition: it is enabled.
    void set_active(std::uint16_t port);
    void migrate(std::size_t bucket, std::uint16_t port);

    [[nodiscard]] const BondConfig& config() const { return config_; }
    [[nodiscard]] LacpStatus lacp() const { return lacp_; }
    [[nodiscard]] const std::vector<BondMember>& members() const { return members_; }
    [[nodiscard]] const BondMember* find(std::uint16_t port) const;
    [[nodiscard]] const BondMember* active() const { return find(active_); }
    /// Of the member that is active, or was last.
    [[nodiscard]] const tunnels::MacAddress& active_mac() const { return active_mac_; }
    [[nodiscard]] const Buckets& buckets() const { return buckets_; }
    [[nodiscard]] std::uint64_t next_rebalance_ms() const { return next_rebalance_ms_; }

    /// Whether flows are shared out by load: balance-slb or balance-tcp, not fallen back.
    [[nodiscard]] bool rebalances() const;
    /// LACP is configured without success, and the bond is active-backup meanwhile.
    [[nodiscard]] bool falls_back() const;
    [[nodiscard]] dataplane::BondHash hash() const;
    /// What packets are taken for that come in by the member.
    [[nodiscard]] dataplane::MemberAdmits admits(const BondMember& member) const;
    /// The member's port for the bucket; kPortNone: nothing is sent.
    [[nodiscard]] std::uint16_t output(std::size_t bucket) const;

private:
    void take_members(std::span<const BondMemberInput> members);
    void follow_link(BondMember& member, std::uint64_t now_ms);
    void set_enabled(BondMember& member, bool enabled);
    [[nodiscard]] bool is_primary(const BondMember& member) const;
    [[nodiscard]] BondMember* choose_active();
    void elect();
    void assign_buckets();
    void reset_buckets(std::uint64_t now_ms);
    static void account(Bucket& bucket, std::uint64_t bytes);

    BondConfig config_;
    LacpStatus lacp_ = LacpStatus::off;
    std::vector<BondMember> members_;
    std::uint16_t active_ = dataplane::kPortNone;
    tunnels::MacAddress active_mac_;
    Buckets buckets_{};
    std::uint64_t next_rebalance_ms_ = 0;
    bool learning_ = false;
};

}  // namespace culvert::ctl
