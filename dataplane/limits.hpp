// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every bound of the dataplane, in one place. What happens when a bound is reached stands beside
// it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace culvert::dataplane {

inline constexpr std::size_t kBurstMax = 32;  ///< Packets taken from a port at once.
inline constexpr std::size_t kPortsMax =
    4096;  ///< Ports and tunnels together; one more is refused.
inline constexpr std::size_t kBridgesMax = 256;  ///< One more is refused.
inline constexpr std::size_t kWorkersMax = 32;   ///< One more is refused.
inline constexpr std::size_t kQueuesPerPortMax = kWorkersMax;
inline constexpr std::uint16_t kPortNone = 0xffff;
inline constexpr std::uint16_t kVlanNone = 0;  ///< Untagged inside a bridge.

inline constexpr std::size_t kMbufDataBytes =
    2048;  ///< Data room of one buffer, headroom not counted.
/// Buffers of the packet pool that can be configured; fewer or more are refused.
inline constexpr std::uint32_t kPacketBuffersMin = 4096;
inline constexpr std::uint32_t kPacketBuffersMax = 1048576;
inline constexpr std::size_t kSuperFrameBytesMax =
    65536 + 256;  ///< Largest GSO frame taken from the kernel.
inline constexpr std::size_t kSegmentsPerPacketMax = kSuperFrameBytesMax / kMbufDataBytes + 1;

/// Packets between the two ends of patch ports, of a worker; one more is dropped
/// (patch_queue_full).
inline constexpr std::size_t kPatchQueueSlots = 4096;
/// Packets that arrive by patch ports because of one burst; what crosses beyond is dropped
/// (patch_queue_full), so that a loop that floods does not keep a worker from its ports.
inline constexpr std::size_t kPatchedPerBurstMax = 4 * kPatchQueueSlots;
/// Patch ports that a packet may cross; at one more it is dropped (patch_loop).
inline constexpr unsigned kPatchHopsMax = 8;
/// What a balanced bond shares out over its members.
inline constexpr std::size_t kBondBuckets = 256;
inline constexpr std::size_t kBondMembersMax = 32;  ///< One more is refused.
/// Gratuitous learning packets that a bond sends after a failover; addresses beyond are announced
/// by their own traffic. So many at once, ten times a second.
inline constexpr std::size_t kLearningPacketsMax = 32768;
inline constexpr std::size_t kLearningPacketsAtOnce = 512;
/// Hosts whose gratuitous ARP left by a bond lately; of one more the echo is taken for a move.
inline constexpr std::size_t kAnnouncementsKept = 4096;

/// Tunnel peers whose headers a worker recognises without parsing; of others they are parsed.
inline constexpr std::size_t kKnownPeers = 64;

/// SAs whose packets a worker recognises without parsing; of others they are parsed.
inline constexpr std::size_t kKnownEsp = 64;

/// Answers about tunnel peers, or flows, that a worker keeps (admission_memo.hpp); of others the
/// host's rules are gone through again.
inline constexpr std::size_t kAdmissionsKept = 4096;

/// ESP packets of a worker that wait for a key which may arrive, and how long: an IKE daemon and a
/// disk are in between. Of more, or
/// then: esp_unknown_spi.
inline constexpr std::size_t kEspWaitingMax = 512;
inline constexpr std::uint64_t kEspWaitMs = 1000;

/// What the length field of an outer IPv4 header can say (of IPv6 a little more fits).
inline constexpr std::size_t kOuterPacketBytesMax = 65535;

inline constexpr std::size_t kPendingFlowsMax =
    512;  ///< New flows a worker waits for; more: upcall_held_full.
/// Packets held for one of them, and for all of a worker's; more: upcall_held_full.
inline constexpr std::size_t kHeldPerFlowMax = 256;
inline constexpr std::size_t kHeldPerWorkerMax = 2048;
inline constexpr std::size_t kUpcallQueueSlots = 1024;  ///< Full: upcall_queue_full.
/// Packets on their way from one worker to another. Full: spread_queue_full.
inline constexpr std::size_t kSpreadQueueSlots = 2048;
inline constexpr std::size_t kReturnQueueSlots = 2048;  ///< Control waits and retries.
/// Packets held for one unresolved next hop, and for all of them; more: neighbour_queue_full.
inline constexpr std::size_t kNeighbourQueueMax = 512;
inline constexpr std::size_t kNeighbourHeldMax = 2048;
inline constexpr std::uint32_t kNeighbourWaitMs = 3000;  ///< Then neighbour_timeout.

/// Fragments of one packet: enough for 65535 bytes at an MTU of 1280; more are not made.
inline constexpr std::size_t kFragmentsMax = 64;
/// Packets in reassembly of a worker, for UDP and for the rest each; the fragment of one more is
/// dropped. A packet of more than RTE_LIBRTE_IP_FRAG_MAX_FRAG (8) fragments is dropped.
inline constexpr std::uint32_t kReassemblyEntries = 256;
inline constexpr std::uint32_t kReassemblyBuckets = 16;
inline constexpr std::uint32_t kReassemblyBucketEntries = 16;
/// Fragments that wait in all of them; one more is dropped, so that fragments cannot take all
/// buffers.
inline constexpr std::uint32_t kReassemblyHeldMax = 1024;
inline constexpr std::uint32_t kReassemblyMs = 1000;  ///< Then the fragments are dropped.
/// ICMP errors that a worker sends; more are not sent.
inline constexpr std::uint64_t kIcmpErrorsPerSecond = 1000;
inline constexpr std::uint64_t kIcmpErrorsBurst = 100;

inline constexpr std::size_t kFlowsMin = 1024;
inline constexpr std::size_t kFlowsDefault = 1048576;
inline constexpr std::size_t kFlowsMax = 16777216;

static_assert(kReturnQueueSlots >= kPendingFlowsMax + kUpcallQueueSlots);

}  // namespace culvert::dataplane
