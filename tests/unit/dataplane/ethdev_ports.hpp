// SPDX-License-Identifier: GPL-2.0-or-later
//
// What tests of the ethdev port share: ports by their devargs, frames, and a folder for sockets and
// files.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/unit/dataplane/port_packets.hpp"

namespace culvert::testing {

using dataplane::EthdevPortOptions;
using dataplane::Port;

/// An IPv4 frame with UDP or TCP (without options) of this size in all.
inline std::vector<std::uint8_t>
make_udp_or_tcp(std::size_t bytes, std::uint8_t seed, std::uint8_t protocol = 17) {
    constexpr std::array<std::uint8_t, 34> kHeaders{2, 0, 0,    0, 0, 2, 2, 0, 0, 0, 0, 1,
                                                    8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64};
    const std::size_t total = bytes - 14;
    std::vector<std::uint8_t> frame(bytes);
    std::copy(kHeaders.begin(), kHeaders.end(), frame.begin());
    frame[16] = static_cast<std::uint8_t>(total >> 8U);
    frame[17] = static_cast<std::uint8_t>(total & 0xffU);
    frame[23] = protocol;
    frame[26] = 10;
    frame[30] = 10;
    for (std::size_t i = 34; i < bytes; ++i) {
        frame[i] = static_cast<std::uint8_t>(i * 11 + i / 256 + seed);
    }
    const std::size_t udp_bytes = total - 20;
    frame[38] = static_cast<std::uint8_t>(udp_bytes >> 8U);
    frame[39] = static_cast<std::uint8_t>(udp_bytes & 0xffU);
    if (protocol == 6) {
        frame[46] = 0x50;
        frame[47] = 0x10;
    }
    return frame;
}

inline EthdevPortOptions options_for(const std::string& devargs) {
    EthdevPortOptions options;
    options.name = "p0";
    options.devargs = devargs;
    return options;
}

inline dataplane::Result<std::unique_ptr<Port>> open(const EthdevPortOptions& options) {
    return dataplane::open_ethdev_port(options, packet_pools());
}

inline std::unique_ptr<Port> open_or_throw(const EthdevPortOptions& options) {
    auto port = open(options);
    if (!port) {
        throw std::runtime_error(port.error());
    }
    return std::move(*port);
}

inline rte_mbuf* receive_one(Port& port) {
    rte_mbuf* packet = nullptr;
    return port.receive(0, std::span(&packet, 1)) == 1 ? packet : nullptr;
}

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "culvert_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary directory");
        }
        directory_ = name;
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(directory_); }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    [[nodiscard]] std::string path(const std::string& name) const { return directory_ / name; }

private:
    std::filesystem::path directory_;
};

}  // namespace culvert::testing
