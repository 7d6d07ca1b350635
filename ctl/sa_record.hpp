// SPDX-License-Identifier: GPL-2.0-or-later
//
// One security association of the SaDatabase: what was agreed on, the object that workers use, its
// numbers and its ends. Control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ctl/sa_database.hpp"

namespace culvert::ctl {

/// Sequence numbers that are written down ahead of use at once, first; a faster SA gets more.
inline constexpr std::uint64_t kBlockExtended = std::uint64_t{1} << 22U;
inline constexpr std::uint64_t kBlockShort = std::uint64_t{1} << 20U;
inline constexpr std::uint64_t kBlockExtendedMax = std::uint64_t{1} << 28U;
inline constexpr std::uint64_t kBlockShortMax = std::uint64_t{1} << 24U;
/// A block that lasts for less is followed by one of twice the size.
inline constexpr std::uint64_t kBlockLastsS = 20;
/// The narrowest replay window of an SA that an IKE daemon made: several workers reorder packets.
inline constexpr std::uint32_t kReplayWindowMin = 1024;

struct SaUsed {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t sequence = 0;  ///< Last given out, or highest received.
    std::uint64_t replayed = 0;
    std::uint64_t late = 0;
    std::uint64_t not_authentic = 0;
    std::uint64_t malformed = 0;
    bool operator==(const SaUsed&) const = default;
};

struct SaRecord {
    bool by_ike = false;
    bool outbound = false;             ///< Of the kernel's: once it has a tunnel.
    std::vector<std::string> tunnels;  ///< That it is for; none: it is the host's own.
    dataplane::SaParameters parameters;
    std::optional<tunnels::EspAlgorithm> algorithm;
    std::string algorithm_name;
    SaFingerprint key{};
    tunnels::Secret secret;  ///< Until the object is made.
    std::uint32_t window = 0;
    SaLifetime soft;
    SaLifetime hard;

    std::uint32_t reqid = 0;  ///< Of the kernel's.
    KernelSelector selector;
    std::uint32_t kernel_window = 0;
    std::uint64_t kernel_sequence = 0;  ///< The last one that the kernel says was sent.
    std::uint64_t kernel_received = 0;  ///< The highest that it says came in.
    std::uint64_t added_s = 0;          ///< Since the epoch, as the kernel says.
    std::uint64_t order = 0;            ///< Of arrival.
    std::uint64_t arrived_s = 0;        ///< Uptime.

    std::shared_ptr<dataplane::OutboundSa> out;
    std::shared_ptr<dataplane::InboundSa> in;
    std::uint64_t limit = 0;  ///< Sequence numbers that may be used are below it.
    std::uint64_t block = 0;  ///< Written down at once.
    std::uint64_t extended_s = 0;
    bool missing = false;  ///< The IKE daemon did not list it.
    bool soft_expired = false;
    bool ended = false;        ///< It has reached its hard end, or can never be used.
    std::string trouble;       ///< Why it has no object, or has ended.
    std::string warning;       ///< What keeps it from going on for long.
    std::string logged;        ///< The trouble that the log has.
    SaUsed used;               ///< As of the last look.
    SaUsed told;               ///< As of the last uses().
    std::uint64_t used_s = 0;  ///< Since the epoch; when `used` changed last.

    [[nodiscard]] bool lives() const { return out || in; }
    [[nodiscard]] bool serves(const std::string& tunnel) const;
    /// Newer than `other`.
    [[nodiscard]] bool after(const SaRecord& other) const {
        return added_s != other.added_s ? added_s > other.added_s : order > other.order;
    }
};

/// Both directions of a tunnel's configured SA. Precondition: it has one, and a local address.
[[nodiscard]] SaRecord configured_outbound(const EspTunnel& tunnel);
[[nodiscard]] SaRecord configured_inbound(const EspTunnel& tunnel);
[[nodiscard]] SaRecord kernel_record(const KernelSa& association);

/// Whether `to` is the same SA with the same key: its object stays. Lifetimes may differ.
[[nodiscard]] bool same_association(const SaRecord& from, const SaRecord& to);

/// Where sequence numbers end: by their size or by the lifetime in packets.
[[nodiscard]] std::uint64_t sequence_limit(const SaRecord& record);

/// Why it can never be used; empty: it can.
[[nodiscard]] std::string refusal_of(const SaRecord& record);

/// Reads the counters that workers write.
void read_use(SaRecord& record, std::uint64_t now_s);

/// Which end was reached, in words ("10 packets"); empty: none. Of the kernel's SAs the kernel
/// watches the time.
[[nodiscard]] std::string
reached(const SaRecord& record, const SaLifetime& lifetime, std::uint64_t uptime_s);
/// Few sequence numbers are left.
[[nodiscard]] bool runs_out(const SaRecord& record);

[[nodiscard]] SaStatus
status_of(const SaRecord& record, std::uint64_t now_s, std::uint64_t uptime_s);
/// "SA 0x00001001 of tunnel t1", for the log.
[[nodiscard]] std::string name_of(const SaRecord& record);

/// SaDatabase::plain_mtu() by an outbound SA, and for as long as there is none.
[[nodiscard]] std::uint32_t plain_bytes(
    const dataplane::SaParameters& parameters, tunnels::EspAlgorithm algorithm, std::uint32_t bytes
);
[[nodiscard]] std::uint32_t plain_bytes_before_keys(const EspTunnel& tunnel, std::uint32_t bytes);

/// Whether an SA of the kernel is for a tunnel, and if so whether it is the outbound one.
enum class SaMatch : std::uint8_t { none, inbound, outbound };
[[nodiscard]] SaMatch match_by_reqid(const SaRecord& record, const EspTunnel& tunnel);
[[nodiscard]] SaMatch match_by_selector(const SaRecord& record, const EspTunnel& tunnel);

}  // namespace culvert::ctl
