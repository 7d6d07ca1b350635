// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which flows depend on a MAC address, so that a change of the FDB removes exactly those. Addresses
// of different bridges share a row: a flow removed too many costs one more upcall, a flow kept too
// many would go astray. Control thread only.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ctl/fdb.hpp"
#include "dataplane/flow_key.hpp"

namespace culvert::ctl {

struct FlowKeyHash {
    std::size_t operator()(const dataplane::FlowKey& key) const noexcept {
        return dataplane::hash(key);
    }
};

class FlowIndex {
public:
    using Flows = std::unordered_set<dataplane::FlowKey, FlowKeyHash>;

    void insert(const dataplane::FlowKey& flow) {
        by_source_[FdbKey{flow.vlan, flow.source}].insert(flow);
        if (!flow.destination.is_group()) {
            by_destination_[FdbKey{flow.vlan, flow.destination}].insert(flow);
        }
    }

    void erase(const dataplane::FlowKey& flow) {
        erase_from(by_source_, {flow.vlan, flow.source}, flow);
        erase_from(by_destination_, {flow.vlan, flow.destination}, flow);
    }

    void clear() {
        by_source_.clear();
        by_destination_.clear();
    }

    /// Flows whose source is `mac`.
    [[nodiscard]] const Flows* from(const FdbKey& mac) const { return find(by_source_, mac); }

    /// Flows whose source or destination is `mac`.
    [[nodiscard]] std::vector<dataplane::FlowKey> about(const FdbKey& mac) const {
        std::vector<dataplane::FlowKey> flows;
        for (const Flows* found : {find(by_source_, mac), find(by_destination_, mac)}) {
            if (found != nullptr) {
                flows.insert(flows.end(), found->begin(), found->end());
            }
        }
        return flows;
    }

private:
    using Rows = std::unordered_map<FdbKey, Flows, FdbKeyHash>;

    static void erase_from(Rows& rows, const FdbKey& mac, const dataplane::FlowKey& flow) {
        const auto row = rows.find(mac);
        if (row == rows.end()) {
            return;
        }
        row->second.erase(flow);
        if (row->second.empty()) {
            rows.erase(row);
        }
    }

    [[nodiscard]] static const Flows* find(const Rows& rows, const FdbKey& mac) {
        const auto row = rows.find(mac);
        return row == rows.end() ? nullptr : &row->second;
    }

    Rows by_source_;
    Rows by_destination_;
};

}  // namespace culvert::ctl
