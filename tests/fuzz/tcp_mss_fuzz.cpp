// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any IP packet through clamp_mss: nothing but an MSS and the checksum may change, the sum of the
// TCP header stays what it was, and a second time changes nothing. Input: the MTU in 2 octets, 1
// octet whose lowest bit is checksum_partial, then the packet.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tunnels/checksum.hpp"
#include "tunnels/tcp_mss.hpp"

namespace culvert::tunnels {
namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

/// 0 and 0xffff are the same in one's complement.
unsigned tcp_sum(std::span<const std::byte> packet, std::size_t tcp) {
    const unsigned sum = checksum_fold(checksum_add(0, packet.subspan(tcp)));
    return sum == 0xffff ? 0 : sum;
}

void check(std::span<const std::byte> input, std::uint32_t mtu, bool partial) {
    std::vector<std::byte> packet(input.begin(), input.end());
    const bool changed = clamp_mss(packet, mtu, partial);
    if (!changed) {
        require(std::vector<std::byte>(input.begin(), input.end()) == packet);
        return;
    }
    const bool v4 = std::to_integer<unsigned>(packet[0]) >> 4U == 4;
    const std::size_t tcp = v4 ? (std::to_integer<std::size_t>(packet[0]) & 0xfU) * 4 : 40;
    std::size_t differences = 0;
    for (std::size_t i = 0; i < packet.size(); ++i) {
        if (packet[i] != input[i]) {
            require(i >= tcp + 16 && i < tcp + 60);
            const bool in_checksum = i < tcp + 18;
            require(in_checksum ? !partial : i >= tcp + 20);
            ++differences;
        }
    }
    require(differences != 0);
    require(partial || tcp_sum(packet, tcp) == tcp_sum(input, tcp));
    require(!clamp_mss(packet, mtu, partial));
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kControlBytes = 3;
    if (size < kControlBytes) {
        return 0;
    }
    const std::uint32_t mtu = std::uint32_t{data[0]} << 8U | data[1];
    const auto packet = std::as_bytes(std::span(data + kControlBytes, size - kControlBytes));
    culvert::tunnels::check(packet, mtu, (data[2] & 1U) != 0);
    return 0;
}
