// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which ESP security associations the kernel has, as far as one must know to say what has changed
// when its messages were lost, and to speak of one to the kernel. Holds no keys. Control thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "ctl/kernel_sa.hpp"
#include "ctl/xfrm_message.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

class XfrmMirror {
public:
    struct Entry {
        std::uint64_t added_s = 0;
        XfrmReplay replay;
        std::optional<XfrmMark> mark;
        bool extended = false;
        bool operator==(const Entry&) const = default;
    };

    /// Takes in a message, and appends what it comes to: a flush is the removal of each, and an SA
    /// that was not there is not removed.
    void apply(XfrmMessage message, std::vector<XfrmEvent>& events);
    /// Takes in all SAs that there are now. What comes of it: removals of those that are gone or
    /// were made anew, and all that there are, known or not.
    void renew(std::vector<XfrmSa> all, std::vector<XfrmEvent>& events);
    /// Null: there is none.
    [[nodiscard]] const Entry* find(std::uint32_t spi, const tunnels::IpAddress& destination) const;
    [[nodiscard]] std::size_t size() const { return entries_.size(); }

private:
    using Id = std::pair<tunnels::IpAddress, std::uint32_t>;

    void add(XfrmSa sa, std::vector<XfrmEvent>& events);

    std::map<Id, Entry> entries_;
};

}  // namespace culvert::ctl
