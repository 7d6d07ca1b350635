// SPDX-License-Identifier: GPL-2.0-or-later
//
// See open_failure.hpp.
#include "ctl/open_failure.hpp"

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "dataplane/kernel_device.hpp"

namespace culvert::ctl {

namespace {

// Error numbers end here on every architecture of Linux that DPDK has; more are not looked for.
constexpr int kErrorMax = 133;

// What is said in words of its own.
constexpr std::array<std::pair<std::string_view, int>, 5> kWords{{
    {"does not exist", ENODEV},
    {"is gone", ENODEV},
    {"went away", ENODEV},
    // A name that another device has: what the kernel says of it to Open vSwitch.
    {"exists already", EINVAL},
    {"the name is not valid", EINVAL},
}};

}  // namespace

std::string open_failure_reason(const std::string& sentence) {
    for (const auto& [words, error] : kWords) {
        if (sentence.find(words) != std::string::npos) {
            return dataplane::error_text(error);
        }
    }
    std::string longest;
    for (int error = 1; error <= kErrorMax; ++error) {
        std::string text = dataplane::error_text(error);
        if (text.size() > longest.size() && sentence.find(text) != std::string::npos) {
            longest = std::move(text);
        }
    }
    return longest.empty() ? sentence : longest;
}

std::string
open_failure(const PortConfig& config, const std::string& name, const std::string& sentence) {
    if (config.kind == PortKind::dpdk && !config.devargs.starts_with("net_vhost")) {
        return "Error attaching device '" + config.devargs + "' to DPDK";
    }
    return "could not open network device " + name + " (" + open_failure_reason(sentence) + ")";
}

}  // namespace culvert::ctl
