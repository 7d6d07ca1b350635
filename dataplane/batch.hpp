// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packets of a burst that wait for their forwarding decision, as runs: packets of one flow that
// follow each other share its key, its hash and its look-up. One worker, for one burst.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <rte_mbuf.h>

#include "dataplane/flow_key.hpp"
#include "dataplane/limits.hpp"

namespace culvert::dataplane {

class Batch {
public:
    /// Precondition: it holds fewer than kBurstMax packets. `tagged`: the frame carries a VLAN tag.
    void add(rte_mbuf* packet, const FlowKey& key, bool tagged) noexcept {
        if (runs_ == 0 || keys_[runs_ - 1] != key || tagged_[runs_ - 1] != tagged) {
            keys_[runs_] = key;
            hashes_[runs_] = hash(key);
            tagged_[runs_] = tagged;
            begins_[runs_] = static_cast<std::uint8_t>(count_);
            ++runs_;
        }
        packets_[count_++] = packet;
    }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }  ///< Of packets.
    [[nodiscard]] std::size_t runs() const noexcept { return runs_; }

    /// By run.
    [[nodiscard]] std::span<const FlowKey> keys() const noexcept {
        return std::span(keys_).first(runs_);
    }
    [[nodiscard]] std::span<const std::uint32_t> hashes() const noexcept {
        return std::span(hashes_).first(runs_);
    }
    [[nodiscard]] bool tagged(std::size_t run) const noexcept { return tagged_[run]; }
    [[nodiscard]] std::span<rte_mbuf* const> packets(std::size_t run) const noexcept {
        const std::size_t end = run + 1 < runs_ ? begins_[run + 1] : count_;
        return std::span(packets_).subspan(begins_[run], end - begins_[run]);
    }
    [[nodiscard]] std::span<rte_mbuf* const> packets() const noexcept {
        return std::span(packets_).first(count_);
    }

private:
    std::array<FlowKey, kBurstMax> keys_;
    std::array<std::uint32_t, kBurstMax> hashes_;
    std::array<rte_mbuf*, kBurstMax> packets_;
    std::array<bool, kBurstMax> tagged_;
    std::array<std::uint8_t, kBurstMax> begins_;  ///< Of each run, in packets_.
    std::size_t runs_ = 0;
    std::size_t count_ = 0;
};
static_assert(kBurstMax < 256);

}  // namespace culvert::dataplane
