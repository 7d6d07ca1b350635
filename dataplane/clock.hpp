// SPDX-License-Identifier: GPL-2.0-or-later
//
// The coarse clock that workers and the control thread share: whole seconds of the time-stamp
// counter.
#pragma once

#include <cstdint>

#include <rte_cycles.h>

namespace culvert::dataplane {

[[nodiscard]] inline std::uint32_t coarse_clock_s(std::uint64_t cycles) noexcept {
    return static_cast<std::uint32_t>(cycles / rte_get_tsc_hz());
}

[[nodiscard]] inline std::uint32_t coarse_clock_s() noexcept {
    return coarse_clock_s(rte_rdtsc());
}

[[nodiscard]] inline std::uint64_t clock_ms() noexcept {
    return rte_rdtsc() / (rte_get_tsc_hz() / 1000);
}

}  // namespace culvert::dataplane
