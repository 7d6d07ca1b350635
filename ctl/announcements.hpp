// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hosts whose gratuitous ARP left by a balance-slb bond a moment ago. The neighbour switch may send
// it back by another member, where it would look as if the host had moved behind the bond. Control
// thread only.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "ctl/fdb.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

class Announcements {
public:
    static constexpr std::uint32_t kEchoS = 5;  ///< An echo comes back sooner.

    void note(std::uint16_t bridge, const FdbKey& host, std::uint32_t now_s) {
        const Key key{bridge, host.to_u64()};
        if (heard_.size() < dataplane::kAnnouncementsKept || heard_.contains(key)) {
            heard_[key] = now_s;
        }
    }

    [[nodiscard]] bool
    may_echo(std::uint16_t bridge, const FdbKey& host, std::uint32_t now_s) const {
        const auto found = heard_.find({bridge, host.to_u64()});
        return found != heard_.end() && now_s < found->second + kEchoS;
    }

    void expire(std::uint32_t now_s) {
        std::erase_if(heard_, [&](const auto& entry) { return now_s >= entry.second + kEchoS; });
    }

private:
    using Key = std::pair<std::uint16_t, std::uint64_t>;
    std::map<Key, std::uint32_t> heard_;  ///< When.
};

}  // namespace culvert::ctl
