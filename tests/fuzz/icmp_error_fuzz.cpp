// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any frame into write_icmp_error. An error that comes out has right lengths and checksums, is a
// quote of the frame, and is itself never answered. Input: an octet with the error in its lowest
// bit and the IP offset in the rest, 2 octets of MTU, then the frame.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "tunnels/checksum.hpp"
#include "tunnels/headers.hpp"
#include "tunnels/icmp_error.hpp"

namespace culvert::tunnels {
namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void check_ip(std::span<const std::byte> ip, std::span<const std::byte> offending) {
    std::span<const std::byte> message;
    std::uint64_t pseudo = 0;
    if (std::to_integer<unsigned>(ip[0]) >> 4U == 4) {
        require(ip.size() <= kIcmpv4ErrorBytesMax);
        require(load<Ipv4Header>(ip.data()).total_length.host() == ip.size());
        require(checksum_fold(checksum_add(0, ip.first(20))) == 0xffff);
        message = ip.subspan(20);
    } else {
        require(ip.size() <= kIcmpv6ErrorBytesMax);
        const auto header = load<Ipv6Header>(ip.data());
        message = ip.subspan(sizeof header);
        require(header.payload_length.host() == message.size());
        pseudo = pseudo_header_sum(
            IpAddress::from_v6(header.source.data()),
            IpAddress::from_v6(header.destination.data()),
            58,
            header.payload_length.host()
        );
    }
    require(checksum_fold(checksum_add(pseudo, message)) == 0xffff);
    const auto quote = message.subspan(8);
    require(quote.size() <= offending.size());
    require(std::equal(quote.begin(), quote.end(), offending.begin()));
}

void check(std::span<const std::byte> frame, const IcmpErrorRequest& request) {
    std::array<std::byte, kIcmpErrorFrameBytesMax> out;
    // Longer offsets than two tags make fill the room sooner; that is refused, not overrun.
    const std::size_t bytes = write_icmp_error(frame, request, out);
    if (bytes == 0) {
        return;
    }
    require(bytes > request.ip_offset && bytes <= out.size());
    const auto error = std::span<const std::byte>(out).first(bytes);
    check_ip(error.subspan(request.ip_offset), frame.subspan(request.ip_offset));
    require(std::equal(frame.begin(), frame.begin() + 6, error.begin() + 6));
    require(std::equal(frame.begin() + 6, frame.begin() + 12, error.begin()));
    std::array<std::byte, kIcmpErrorFrameBytesMax> second;
    require(write_icmp_error(error, request, second) == 0);
    require(write_icmp_error(frame, request, std::span(second).first(bytes - 1)) == 0);
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using culvert::tunnels::IcmpError;
    constexpr std::size_t kControlBytes = 3;
    if (size < kControlBytes) {
        return 0;
    }
    const culvert::tunnels::IcmpErrorRequest request{
        .error = (data[0] & 1U) != 0 ? IcmpError::ttl_exceeded : IcmpError::too_big,
        .ip_offset = static_cast<std::uint16_t>(data[0] >> 1U),
        .mtu = std::uint32_t{data[1]} << 8U | data[2],
        .source = std::nullopt};
    culvert::tunnels::check(
        std::as_bytes(std::span(data + kControlBytes, size - kControlBytes)), request
    );
    return 0;
}
