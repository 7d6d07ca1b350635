// SPDX-License-Identifier: GPL-2.0-or-later
//
// How many packet buffers a host gets when the configuration does not say, and the pools of them.
// Control thread only.
#pragma once

#include <cstdint>

#include "dataplane/port.hpp"

namespace culvert::dataplane {

/// What buffers are needed for.
struct PoolDemand {
    unsigned workers = 1;
    unsigned kernel_ports = 0;       ///< Linux interfaces and TAP devices.
    unsigned device_queues = 0;      ///< Receive and transmit queues of DPDK devices, all together.
    std::uint64_t memory_bytes = 0;  ///< Of the machine.
};

/// Enough for what waits by the bounds of limits.hpp (of the queues between workers, for one full
/// one each), unless that is more than a sixteenth of the machine's memory.
[[nodiscard]] std::uint32_t automatic_packet_buffers(const PoolDemand& demand) noexcept;

/// Memory of the machine.
[[nodiscard]] std::uint64_t machine_memory_bytes() noexcept;

/// Bytes that one packet takes in both pools, headers of the pools included.
[[nodiscard]] std::uint64_t packet_buffer_bytes() noexcept;

/// A pool of `count` buffers with `data_room` bytes each, or nullptr. `contiguous`: no buffer lies
/// across a page, as devices need it that know physical addresses. On pages of 4 KiB only one
/// buffer would fit on each then, so without hugepages, which such devices need anyway, it is off.
[[nodiscard]] rte_mempool*
create_packet_pool(const char* name, std::uint32_t count, std::uint16_t data_room, bool contiguous);

}  // namespace culvert::dataplane
