// SPDX-License-Identifier: GPL-2.0-or-later
//
// See tunnel_encryption.hpp.

#include "ctl/tunnel_encryption.hpp"

#include <fmt/format.h>

namespace culvert::ctl {

std::map<std::string, std::string> interface_status_of(const TunnelEncryption& state) {
    std::map<std::string, std::string> status;
    const auto add_spi = [&](const char* key, std::uint32_t spi) {
        if (spi != 0) {
            status[key] = fmt::format("{:#010x}", spi);
        }
    };
    status["esp"] = state.word();
    add_spi("esp_spi_in", state.spi_in);
    add_spi("esp_spi_out", state.spi_out);
    if (state.algorithm) {
        status["esp_algorithm"] = std::string(tunnels::row_of(*state.algorithm).name);
    }
    if (!state.trouble.empty()) {
        status["esp_trouble"] = state.trouble;
    }
    return status;
}

}  // namespace culvert::ctl
