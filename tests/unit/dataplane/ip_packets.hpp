// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames with an IP packet or a fragment of one, built and read as flat bytes, sharing nothing with
// the code under test. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/unit/dataplane/mbuf_chain.hpp"
#include "tests/unit/dataplane/offload_frames.hpp"

namespace culvert::testing {

/// An IP packet behind Ethernet. Cutting pieces out of it gives its fragments.
struct IpPacket {
    bool v6 = false;
    bool tagged = false;
    bool df = false;
    std::uint8_t protocol = 17;
    std::uint8_t tos = 0;
    std::uint32_t identification = 0x1234;
    Bytes options{};  ///< IPv4, a multiple of 4 bytes.
    Bytes payload{};

    [[nodiscard]] std::size_t ip_offset() const { return tagged ? 18 : 14; }
    [[nodiscard]] Bytes whole() const { return build(0, payload.size(), false, false); }
    [[nodiscard]] Bytes piece(std::size_t offset, std::size_t bytes, bool more) const {
        return build(offset, bytes, more, true);
    }
    /// All of it in pieces of `step` bytes.
    [[nodiscard]] std::vector<Bytes> pieces(std::size_t step) const {
        std::vector<Bytes> all;
        for (std::size_t at = 0; at < payload.size(); at += step) {
            const std::size_t bytes = std::min(step, payload.size() - at);
            all.push_back(piece(at, bytes, at + bytes < payload.size()));
        }
        return all;
    }

private:
    [[nodiscard]] Bytes
    build(std::size_t offset, std::size_t bytes, bool more, bool is_fragment) const {
        Bytes frame = pattern(ip_offset(), 9);
        if (tagged) {
            put16(frame, 12, 0x8100);
        }
        put16(frame, ip_offset() - 2, v6 ? 0x86dd : 0x0800);
        const auto units = static_cast<std::uint32_t>(offset / 8);
        Bytes ip(v6 ? 40U : 20U);
        if (v6) {
            const std::uint32_t length = static_cast<std::uint32_t>(bytes) + (is_fragment ? 8 : 0);
            put32(ip, 0, 0x60000000U | std::uint32_t{tos} << 20U);
            put16(ip, 4, length);
            ip[6] = is_fragment ? 44 : protocol;
            ip[7] = 61;
            const Bytes addresses = pattern(32, 77);
            std::copy(addresses.begin(), addresses.end(), ip.begin() + 8);
            if (is_fragment) {
                ip.resize(48);
                ip[40] = protocol;
                put16(ip, 42, units << 3U | (more ? 1U : 0U));
                put32(ip, 44, identification);
            }
        } else {
            ip.insert(ip.end(), options.begin(), options.end());
            ip[0] = static_cast<std::uint8_t>(0x40 + ip.size() / 4);
            ip[1] = tos;
            put16(ip, 2, static_cast<std::uint32_t>(ip.size() + bytes));
            put16(ip, 4, identification);
            put16(ip, 6, (df ? 0x4000U : 0U) | (more ? 0x2000U : 0U) | units);
            ip[8] = 61;
            ip[9] = protocol;
            const Bytes addresses{192, 0, 2, 1, 198, 51, 100, 2};
            std::copy(addresses.begin(), addresses.end(), ip.begin() + 12);
            put16(ip, 10, ~plain_sum(ip, 0, ip.size(), 0));
        }
        frame.insert(frame.end(), ip.begin(), ip.end());
        const auto from = payload.begin() + static_cast<std::ptrdiff_t>(offset);
        frame.insert(frame.end(), from, from + static_cast<std::ptrdiff_t>(bytes));
        return frame;
    }
};

}  // namespace culvert::testing
