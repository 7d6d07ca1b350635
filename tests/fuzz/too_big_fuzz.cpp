// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any IP packet into parse_too_big, as it is and with its checksums made right, so that they do not
// keep the fuzzer from what is behind them. Judged by what must hold for each accepted one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "tunnels/checksum.hpp"
#include "tunnels/esp/esp.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/outer.hpp"
#include "tunnels/too_big.hpp"

namespace culvert::tunnels {
namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void check(std::span<const std::byte> packet) {
    const auto result = parse_too_big(packet);
    if (!result) {
        return;
    }
    const bool v4 = std::to_integer<unsigned>(packet[0]) >> 4U == 4;
    require(result->mtu >= (v4 ? 68U : 1280U));
    require(!v4 || (result->mtu <= 0xffff && result->local.is_v4() && result->remote.is_v4()));
    const bool udp = result->ip_protocol == kIpProtocolUdp;
    require(udp || result->ip_protocol == kIpProtocolGre || result->ip_protocol == kIpProtocolEsp);
    require(udp || (result->udp_source == 0 && result->udp_destination == 0));
    // An outer and a quoted header, that of ICMP, and 8 bytes.
    require(packet.size() >= (v4 ? 20 + 8 + 20 + 8 : 40 + 8 + 40 + 8));
}

void store_checksum(std::byte* to, std::uint64_t sum) {
    const auto checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
    std::memcpy(to, &checksum, sizeof checksum);
}

void repair(std::vector<std::byte>& packet) {
    std::size_t icmp = sizeof(Ipv6Header);
    std::uint64_t sum = 0;
    const auto all = std::span(packet);
    if (packet.size() < icmp + 8) {
        return;
    }
    if (std::to_integer<unsigned>(packet[0]) >> 4U == 4) {
        icmp = (std::to_integer<std::size_t>(packet[0]) & 0xfU) * 4;
        if (icmp < sizeof(Ipv4Header) || packet.size() < icmp + 8) {
            return;
        }
        store(all.data() + 2, Be16(static_cast<std::uint16_t>(packet.size())));
        store(all.data() + 10, Be16{});
        store_checksum(all.data() + 10, checksum_add(0, all.first(icmp)));
    } else {
        const auto bytes = static_cast<std::uint32_t>(packet.size() - icmp);
        store(all.data() + 4, Be16(static_cast<std::uint16_t>(bytes)));
        const auto ip = load<Ipv6Header>(all.data());
        const auto source = IpAddress::from_v6(ip.source.data());
        const auto destination = IpAddress::from_v6(ip.destination.data());
        sum = pseudo_header_sum(source, destination, 58, bytes);
    }
    store(all.data() + icmp + 2, Be16{});
    store_checksum(all.data() + icmp + 2, checksum_add(sum, all.subspan(icmp)));
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    culvert::tunnels::check(input);
    std::vector<std::byte> repaired(input.begin(), input.end());
    culvert::tunnels::repair(repaired);
    culvert::tunnels::check(repaired);
    return 0;
}
