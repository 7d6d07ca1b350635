// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which flows depend on a MAC address, so that a change of the FDB removes exactly those. A flow is
// the number of its entry in the flow cache; flows of one source, and flows to one destination, are
// lists through an array beside the entries, 16 bytes for each, whose pages become resident as
// entries are used. Addresses of different bridges share a row: a flow removed too many costs one
// more upcall, a flow kept too many would go astray. Control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include <xmmintrin.h>

#include "ctl/address_map.hpp"
#include "ctl/fdb.hpp"
#include "dataplane/flow_key.hpp"

namespace culvert::ctl {

class FlowIndex {
public:
    /// For entries below `entries`.
    explicit FlowIndex(std::size_t entries)
        : links_(std::make_unique_for_overwrite<Links[]>(entries)) {}

    /// Starts loading the rows of a flow.
    void prefetch(const dataplane::FlowKey& flow) const noexcept {
        rows_.prefetch(source_of(flow));
        rows_.prefetch(destination_of(flow));
    }

    void insert(std::uint32_t entry, const dataplane::FlowKey& flow) {
        push<kFrom>(rows_.insert(source_of(flow)), entry);
        if (!flow.destination.is_group()) {
            push<kTo>(rows_.insert(destination_of(flow)), entry);
        }
    }

    /// `entry` was inserted for `flow`, and not erased since.
    void erase(std::uint32_t entry, const dataplane::FlowKey& flow) {
        remove<kFrom>(source_of(flow), entry);
        if (!flow.destination.is_group()) {
            remove<kTo>(destination_of(flow), entry);
        }
    }

    void clear() { rows_.clear(); }

    /// Some flow whose source or destination is `mac`.
    [[nodiscard]] std::optional<std::uint32_t> any_about(const FdbKey& mac) const noexcept {
        const Row* row = rows_.find(mac.to_u64());
        if (row == nullptr) {
            return std::nullopt;
        }
        return row->head[kFrom] != kNone ? row->head[kFrom] : row->head[kTo];
    }

    /// Calls `visit` with each flow whose source is `mac`, newest first, until it returns false.
    template <class Visit>
    void visit_from(const FdbKey& mac, const Visit& visit) const {
        const Row* row = rows_.find(mac.to_u64());
        for (std::uint32_t entry = row == nullptr ? kNone : row->head[kFrom];
             entry != kNone && visit(entry);
             entry = links_[entry].of[kFrom].next) {
        }
    }

    /// Without the array of links.
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return rows_.memory_bytes(); }

private:
    static constexpr std::uint32_t kNone = 0xffffffff;
    static constexpr unsigned kFrom = 0;
    static constexpr unsigned kTo = 1;

    // Without initial values, so that the array is not touched when it is made.
    struct Link {
        std::uint32_t next;
        std::uint32_t previous;
    };
    struct Links {
        Link of[2];
    };
    static_assert(std::is_trivially_default_constructible_v<Links>);
    struct Row {
        std::uint32_t head[2] = {kNone, kNone};
    };

    static std::uint64_t source_of(const dataplane::FlowKey& flow) noexcept {
        return FdbKey{flow.vlan, flow.source}.to_u64();
    }
    static std::uint64_t destination_of(const dataplane::FlowKey& flow) noexcept {
        return FdbKey{flow.vlan, flow.destination}.to_u64();
    }

    template <unsigned Side>
    void push(Row& row, std::uint32_t entry) noexcept {
        const std::uint32_t second = row.head[Side];
        links_[entry].of[Side] = {.next = second, .previous = kNone};
        if (second != kNone) {
            links_[second].of[Side].previous = entry;
        }
        row.head[Side] = entry;
    }

    template <unsigned Side>
    void remove(std::uint64_t address, std::uint32_t entry) {
        const Link link = links_[entry].of[Side];
        if (link.next != kNone) {
            links_[link.next].of[Side].previous = link.previous;
        }
        if (link.previous != kNone) {
            links_[link.previous].of[Side].next = link.next;
            return;
        }
        Row* row = rows_.find(address);
        if (row == nullptr) {
            return;
        }
        row->head[Side] = link.next;
        if (row->head[kFrom] == kNone && row->head[kTo] == kNone) {
            rows_.erase(address);
        }
    }

    std::unique_ptr<Links[]> links_;  ///< By entry; good for those that are in the index.
    AddressMap<Row> rows_;
};

}  // namespace culvert::ctl
