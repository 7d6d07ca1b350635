// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a worker and the slow path say to each other, over two bounded single-producer
// single-consumer queues per worker. A miss goes up once per flow: the worker
// keeps the packets of that flow, in order, until the decision comes back, so no packet of a flow
// overtakes another one.
#pragma once

#include <cstdint>

#include <rte_mbuf.h>

#include "dataplane/flow_cache.hpp"
#include "dataplane/flow_key.hpp"
#include "dataplane/limits.hpp"
#include "dataplane/spsc_queue.hpp"
#include "tunnels/address.hpp"

namespace culvert::dataplane {

/// From a worker to the slow path.
struct Upcall {
    enum class Kind : std::uint8_t {
        miss,       ///< Decide for `key`. `packet` is lent: the worker holds it until the answer.
        resolve,    ///< The underlay next hop of tunnel port `port` is not resolved. `packet` is
                    ///< given.
        host,       ///< `address` is no known neighbour of the bridge of L3 tunnel port `port`.
                    ///< `packet`, a bare IP packet, is given.
        path_mtu,   ///< The path to the tunnel endpoint `address` carries `mtu` bytes. No packet.
        lacp,       ///< `packet`, an LACPDU that came in by the bond's member `port`, is given.
        announced,  ///< A gratuitous ARP of flow `key` leaves by a bond, which may bring it back.
                    ///< No packet.
    };
    FlowKey key{};
    rte_mbuf* packet = nullptr;
    std::uint32_t mtu = 0;   ///< L3 bytes.
    std::uint16_t slot = 0;  ///< miss: returned with the decision.
    std::uint16_t port = kPortNone;
    tunnels::IpAddress address{};
    Kind kind = Kind::miss;
};
static_assert(sizeof(Upcall) == 64);

/// From the slow path to a worker.
struct Decision {
    enum class Kind : std::uint8_t {
        decide,    ///< Release the packets held in `slot` by `action`.
        encap,     ///< Send `packet` through tunnel port `port`, which is now resolved.
        deliver,   ///< Give `packet`, which came by L3 tunnel port `port`, to its host.
        transmit,  ///< Send `packet`, made by the control thread, out of port `port`: a device or a
                   ///< bond.
    };
    Kind kind = Kind::decide;
    std::uint16_t slot = 0;
    std::uint16_t port = kPortNone;
    FlowAction action{};
    rte_mbuf* packet = nullptr;
    std::uint64_t version = 0;  ///< Not to be taken before the worker has this snapshot.
};
static_assert(sizeof(Decision) <= 32);

using UpcallQueue = SpscQueue<Upcall, kUpcallQueueSlots>;
using DecisionQueue = SpscQueue<Decision, kReturnQueueSlots>;

}  // namespace culvert::dataplane
