// SPDX-License-Identifier: GPL-2.0-or-later
//
// CPUs by the affinity mask of the process (sched_getaffinity(2)).

#include "ctl/cpu_check.hpp"

#include <fmt/format.h>
#include <sched.h>

namespace culvert::ctl {

Result<void> check_cpus(const DesiredState& state, const std::string& file) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::string valid;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) {
            valid += (valid.empty() ? "" : ", ") + std::to_string(cpu);
        }
    }
    const auto check = [&](const char* key, const std::vector<unsigned>& cpus) -> Result<void> {
        for (const unsigned cpu : cpus) {
            if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) {
                return tl::unexpected(fmt::format(
                    "{}: {} names CPU {}, which this process may not use; valid: {}",
                    file,
                    key,
                    cpu,
                    valid
                ));
            }
        }
        return {};
    };
    if (auto checked = check("[daemon] control_cpus", state.daemon.control_cpus); !checked) {
        return checked;
    }
    return check("[workers] cpus", state.workers.cpus);
}

}  // namespace culvert::ctl
