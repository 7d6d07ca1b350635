// SPDX-License-Identifier: GPL-2.0-or-later
//
// Calls of the C library's heap and lock functions by threads other than the main one, from our
// code, from DPDK and from any other library: this program's definitions of these functions stand
// in for the library's. What they count they also do. Any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace culvert::testing {

struct CallCounts {
    std::uint64_t heap = 0;   ///< malloc() and its relatives, hence operator new, and free().
    std::uint64_t locks = 0;  ///< Mutexes, read-write locks, spin locks.
};

/// Calls so far. The main thread only.
[[nodiscard]] CallCounts call_counts() noexcept;

/// Where the counted functions begin, and those of DPDK's own heap, which cannot be stood in for.
[[nodiscard]] std::vector<std::uintptr_t> heap_functions();
[[nodiscard]] std::vector<std::uintptr_t> lock_functions();

}  // namespace culvert::testing
