// SPDX-License-Identifier: GPL-2.0-or-later
//
// A bond as workers see it: which of its members carries what, and what may come in by them. The
// bond is a port of its bridge; flows know its index only, so that a failover is a new snapshot and
// touches no flow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/counters.hpp"
#include "dataplane/limits.hpp"

namespace culvert::dataplane {

enum class BondRole : std::uint8_t { none, bond, member };

/// What of a packet chooses the member it leaves by.
enum class BondHash : std::uint8_t {
    none,    ///< Nothing: one member carries everything.
    source,  ///< Source MAC and VLAN.
    flow,    ///< Addresses, protocol and ports.
};

/// What of the packets that arrive at a member goes on.
enum class MemberAdmits : std::uint8_t { nothing, unicast, everything };

/// Bytes sent by each bucket, counted by each worker in a row of its own; outlives snapshots.
class BondLoad {
public:
    explicit BondLoad(unsigned workers) : rows_(workers) {}

    void add(unsigned worker, std::size_t bucket, std::uint64_t bytes) noexcept {
        rows_[worker].bytes[bucket].add(bytes);
    }
    /// Of all workers.
    [[nodiscard]] std::uint64_t read(std::size_t bucket) const noexcept {
        std::uint64_t sum = 0;
        for (const Row& row : rows_) {
            sum += row.bytes[bucket].read();
        }
        return sum;
    }

private:
    struct alignas(64) Row {
        std::array<Counter, kBondBuckets> bytes;
    };
    std::vector<Row> rows_;
};

struct BondView {
    std::uint16_t port = kPortNone;  ///< The bond's own.
    BondHash hash = BondHash::none;
    /// A frame of ours may come back by another member (balance-slb): the slow path wants to hear
    /// of gratuitous ARPs that leave.
    bool reflects = false;
    std::uint32_t basis = 0;
    /// By bucket, the member's port; kPortNone: nothing can be sent. Without a hash all are one.
    std::array<std::uint16_t, kBondBuckets> members{};
    std::shared_ptr<BondLoad> load;  ///< Null without a hash.
    bool operator==(const BondView&) const = default;
};

}  // namespace culvert::dataplane
