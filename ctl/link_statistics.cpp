// SPDX-License-Identifier: GPL-2.0-or-later
//
// See link_statistics.hpp. A message of RTM_GETSTATS has the counters alone, a tenth of what a link
// message holds.
#include "ctl/link_statistics.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "ctl/netlink_talk.hpp"

namespace culvert::ctl {

namespace {

LinkStatistics convert(const rtnl_link_stats64& stats) {
    return {
        .rx_packets = stats.rx_packets,
        .tx_packets = stats.tx_packets,
        .rx_bytes = stats.rx_bytes,
        .tx_bytes = stats.tx_bytes,
        .rx_errors = stats.rx_errors,
        .tx_errors = stats.tx_errors,
        .rx_dropped = stats.rx_dropped,
        .tx_dropped = stats.tx_dropped,
        .rx_multicast = stats.multicast,
        .collisions = stats.collisions,
        .rx_over_errors = stats.rx_over_errors,
        .rx_crc_errors = stats.rx_crc_errors,
        .rx_frame_errors = stats.rx_frame_errors,
        .rx_missed_errors = stats.rx_missed_errors,
    };
}

/// The counters of one interface.
int take_attribute(const nlattr* attribute, void* result) {
    if (mnl_attr_get_type(attribute) == IFLA_STATS_LINK_64) {
        // An older kernel's structure is shorter; what is taken of it is at its front.
        rtnl_link_stats64 stats{};
        const std::size_t bytes = mnl_attr_get_payload_len(attribute);
        std::memcpy(&stats, mnl_attr_get_payload(attribute), std::min(bytes, sizeof stats));
        *static_cast<LinkStatistics*>(result) = convert(stats);
    }
    return MNL_CB_OK;
}

void take(const nlmsghdr* message, LinkStatisticsMap& all) {
    if (message->nlmsg_type != RTM_NEWSTATS ||
        mnl_nlmsg_get_payload_len(message) < sizeof(if_stats_msg)) {
        return;
    }
    const auto* head = static_cast<const if_stats_msg*>(mnl_nlmsg_get_payload(message));
    LinkStatistics& statistics = all[static_cast<int>(head->ifindex)];
    mnl_attr_parse(message, sizeof(if_stats_msg), take_attribute, &statistics);
}

}  // namespace

dataplane::Result<LinkStatisticsMap> read_link_statistics() {
    NetlinkTalker talker;
    if (auto started = talker.start(); !started) {
        return tl::unexpected(started.error());
    }
    NetlinkRequest request(RTM_GETSTATS, NLM_F_DUMP);
    request.put_fixed<if_stats_msg>().filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
    LinkStatisticsMap all;
    const auto outcome = talker.talk(request, [&](const nlmsghdr* message) { take(message, all); });
    // EINTR: an interface came or went meanwhile; the counters of the others are right.
    if (!outcome && outcome.error().error != EINTR) {
        return tl::unexpected(
            "The counters of the host's interfaces cannot be read: " + outcome.error().text + "."
        );
    }
    return all;
}

}  // namespace culvert::ctl
