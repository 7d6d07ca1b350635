// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an operator may send to vlog/set: a specification must be refused or say all that it sets,
// and a line made by any pattern must be bounded by what the pattern asks for.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ctl/log_pattern.hpp"
#include "ctl/vlog.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto spec = culvert::ctl::parse_vlog(text); spec.has_value()) {
        if (spec->destinations.empty() || (spec->foreign && spec->area.empty())) {
            std::abort();
        }
    }
    culvert::ctl::LogLine line;
    line.area = "switch";
    line.message = "message";
    line.program = "ovs-vswitchd";
    // A conversion makes 256 bytes at most, and takes two at least.
    if (culvert::ctl::format_log_line(text, line).size() > 256 * (size + 1)) {
        std::abort();
    }
    return 0;
}
