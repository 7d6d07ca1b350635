// SPDX-License-Identifier: GPL-2.0-or-later
//
// The mirror of the kernel's SAs. The kernel may hold several with one SPI and destination that
// differ in their marks; ESP packets do not, so here the last one said counts.
#include "ctl/xfrm_mirror.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace culvert::ctl {

void XfrmMirror::add(XfrmSa sa, std::vector<XfrmEvent>& events) {
    entries_[{sa.sa.destination, sa.sa.spi}] = {sa.sa.added_s, sa.replay, sa.mark, sa.sa.extended};
    events.emplace_back(std::move(sa.sa));
}

void XfrmMirror::apply(XfrmMessage message, std::vector<XfrmEvent>& events) {
    if (auto* sa = std::get_if<XfrmSa>(&message)) {
        add(std::move(*sa), events);
    } else if (const auto* removed = std::get_if<KernelSaRemoved>(&message)) {
        if (entries_.erase({removed->destination, removed->spi}) != 0) {
            events.emplace_back(*removed);
        }
    } else {
        renew({}, events);
    }
}

void XfrmMirror::renew(std::vector<XfrmSa> all, std::vector<XfrmEvent>& events) {
    const auto before = std::exchange(entries_, {});
    std::vector<XfrmEvent> present;
    for (XfrmSa& one : all) {
        add(std::move(one), present);
    }
    for (const auto& [id, entry] : before) {
        const auto now = entries_.find(id);
        if (now == entries_.end() || now->second.added_s != entry.added_s) {
            events.emplace_back(KernelSaRemoved{id.second, id.first});
        }
    }
    std::move(present.begin(), present.end(), std::back_inserter(events));
}

const XfrmMirror::Entry*
XfrmMirror::find(std::uint32_t spi, const tunnels::IpAddress& destination) const {
    const auto found = entries_.find({destination, spi});
    return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace culvert::ctl
