// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any frame into parse_outer, inspect_inner and set_ecn, judged by what must hold for each, and any
// outer configuration through build_outer and patch_outer back into parse_outer. The first two
// octets of the input choose how many of the frame's bytes are contiguous.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tunnels/ecn.hpp"
#include "tunnels/encap.hpp"
#include "tunnels/inner.hpp"
#include "tunnels/outer.hpp"

namespace culvert::tunnels {
namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

unsigned octet(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<unsigned>(bytes[at]);
}

unsigned word_at(std::span<const std::byte> bytes, std::size_t at) {
    return octet(bytes, at) << 8U | octet(bytes, at + 1);
}

/// RFC 1071 by the letter.
unsigned naive_sum(std::span<const std::byte> bytes) {
    unsigned sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += octet(bytes, i) << (i % 2 == 0 ? 8U : 0U);
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return sum;
}

/// Every length in an accepted packet agrees with the frame and with the header it comes from.
void check_accepted(std::span<const std::byte> frame, std::size_t total, const Outer& outer) {
    const auto ip = frame.subspan(outer.ip_offset);
    std::size_t ip_bytes = 0;
    std::size_t header_bytes = 40;
    if (outer.source.is_v4() && octet(ip, 0) >> 4U == 4) {
        header_bytes = (octet(ip, 0) & 0xfU) * std::size_t{4};
        ip_bytes = word_at(ip, 2);
        require(naive_sum(ip.first(header_bytes)) == 0xffff);
        require((word_at(ip, 6) & 0x3fffU) == 0);
        require(octet(ip, 9) == outer.ip_protocol);
    } else {
        require(octet(ip, 0) >> 4U == 6);
        ip_bytes = header_bytes + word_at(ip, 4);
        require(octet(ip, 6) == outer.ip_protocol);
    }
    require(outer.ip_offset + ip_bytes <= total);
    const bool udp = outer.ip_protocol == kIpProtocolUdp;
    require(outer.payload_offset == outer.ip_offset + header_bytes + (udp ? 8 : 0));
    require(std::size_t{outer.payload_offset} + outer.payload_bytes <= outer.ip_offset + ip_bytes);
    if (udp) {
        require(outer.udp_destination == word_at(ip, header_bytes + 2));
        require(outer.payload_bytes + 8U == word_at(ip, header_bytes + 4));
        require(outer.udp_checksum_present == (word_at(ip, header_bytes + 6) != 0));
    } else {
        require(outer.udp_destination == 0);
        require(outer.payload_bytes == ip_bytes - header_bytes);
    }
}

void check_parse(std::span<const std::byte> head, std::size_t total) {
    const Outer outer = parse_outer(head, total);
    if (!outer.is_ip) {
        require(outer.drop == DropReason::none && outer.destination.is_unset());
        require(outer.ip_protocol == 0 && outer.payload_bytes == 0);
        return;
    }
    if (outer.drop == DropReason::none) {
        check_accepted(head, total, outer);
        // What is accepted does not depend on bytes behind the headers.
        const std::vector<std::byte> headers(
            head.begin(), head.begin() + static_cast<std::ptrdiff_t>(outer.payload_offset)
        );
        require(parse_outer(headers, total).payload_bytes == outer.payload_bytes);
        // Nor is a packet accepted whose end is cut off.
        const std::size_t end = std::size_t{outer.payload_offset} + outer.payload_bytes;
        require(parse_outer(head, end - 1).drop != DropReason::none);
    } else {
        require(outer.payload_offset == 0 && outer.payload_bytes == 0);
        require(
            outer.drop == DropReason::outer_malformed || outer.drop == DropReason::outer_checksum ||
            outer.drop == DropReason::outer_fragment
        );
    }
}

/// Makes the IPv4 header checksum right, which the fuzzer would hardly find by mutation.
void repair_checksum(std::span<std::byte> frame) {
    const std::size_t ip = frame.size() >= 14 && word_at(frame, 12) == kEtherTypeVlan ? 18 : 14;
    if (frame.size() < ip + 20) {
        return;
    }
    const std::size_t header_bytes = (octet(frame, ip) & 0xfU) * std::size_t{4};
    if (word_at(frame, ip - 2) != kEtherTypeIpv4 || header_bytes < 20 ||
        frame.size() < ip + header_bytes) {
        return;
    }
    frame[ip + 10] = frame[ip + 11] = std::byte{0};
    const unsigned checksum = ~naive_sum(frame.subspan(ip, header_bytes)) & 0xffffU;
    frame[ip + 10] = static_cast<std::byte>(checksum >> 8U);
    frame[ip + 11] = static_cast<std::byte>(checksum & 0xffU);
    require(parse_outer(frame, frame.size()).drop != DropReason::outer_checksum);
}

/// What is said of the inner packet lies within it.
void check_inner(std::span<const std::byte> payload, Payload kind) {
    const Inner inner = inspect_inner(payload, kind);
    if (inner.version == 0) {
        require(inner.tos == 0 && inner.ttl == 0 && !inner.dont_fragment);
        return;
    }
    require(inner.version == 4 || inner.version == 6);
    const std::size_t fixed_bytes = inner.version == 4 ? 20 : 40;
    require(inner.ip_offset + fixed_bytes <= payload.size());
    require(kind == Payload::ethernet || inner.ip_offset == 0);
    // The rewrite of ECN is told back, and changes neither the hash nor whether the checksum holds.
    std::vector<std::byte> marked(payload.begin(), payload.end());
    const auto ip = std::span(marked).subspan(inner.ip_offset);
    if (inner.version != octet(ip, 0) >> 4U) {
        return;  // An EtherType that contradicts the version nibble: the caller refuses it.
    }
    const auto before = naive_sum(ip.first(fixed_bytes));
    set_ecn(ip, kEcnCe);
    const Inner after = inspect_inner(marked, kind);
    require(after.hash == inner.hash && after.version == inner.version);
    require(after.tos == (inner.tos | kEcnCe));
    require(inner.version == 6 || naive_sum(ip.first(fixed_bytes)) % 0xffff == before % 0xffff);
}

/// The hash does not see the IPv4 fields that differ between packets of one flow.
void check_hash(std::span<const std::byte> frame) {
    const std::uint32_t hash = inspect_inner(frame, Payload::ethernet).hash;
    if (frame.size() >= 34 && word_at(frame, 12) == kEtherTypeIpv4) {
        std::vector<std::byte> later(frame.begin(), frame.end());
        for (const std::size_t at : {0U, 15U, 16U, 17U, 18U, 19U, 22U, 24U, 25U}) {
            later[at] ^= std::byte{0xff};
        }
        require(inspect_inner(later, Payload::ethernet).hash == hash);
    }
}

/// Takes the configuration from the input, and requires that what is built parses back.
void check_build(std::span<const std::byte> input) {
    if (input.size() < 48) {
        return;
    }
    OuterConfig config;
    const bool v6 = (octet(input, 0) & 1U) != 0;
    config.local = v6 ? IpAddress::from_v6(&input[1]) : IpAddress::from_v4(&input[1]);
    config.remote = v6 ? IpAddress::from_v6(&input[17]) : IpAddress::from_v4(&input[17]);
    if (config.local.is_v4() != config.remote.is_v4()) {
        return;  // Outside of the contract: one family for both.
    }
    config.tos = static_cast<std::uint8_t>(input[33]);
    config.ttl = static_cast<std::uint8_t>(input[34]);
    config.df = (octet(input, 0) & 2U) != 0;
    config.udp_destination = static_cast<std::uint16_t>(word_at(input, 35));
    const LinkHeader link{{}, {}, static_cast<std::uint16_t>(word_at(input, 37) & 0xfffU)};
    const auto index = static_cast<std::uint8_t>(octet(input, 39) % kProtocolCount);
    if (input.size() >= 52) {
        const auto one = static_cast<std::uint16_t>(word_at(input, 48));
        const auto other = static_cast<std::uint16_t>(word_at(input, 50));
        config.udp_source_min = std::min(one, other);
        config.udp_source_max = std::max(one, other);
        if (config.udp_source_max - config.udp_source_min == 0xffff) {
            return;  // Outside of the contract: all ports.
        }
    }
    const EncapTemplate header = build_template(index, link, config, HeaderConfig{1});
    const std::size_t total = header.length + word_at(input, 40) % 65000U;
    std::vector<std::byte> out(header.bytes.begin(), header.bytes.begin() + header.length);
    const OuterPatch patch{
        .frame_bytes = total,
        .entropy = word_at(input, 42) * 0x10001U,
        .ip_id = static_cast<std::uint16_t>(word_at(input, 44)),
        .tos = static_cast<std::uint8_t>(input[46]),
        .ttl = static_cast<std::uint8_t>(input[47])};
    patch_outer(header, out, patch);
    const Outer outer = parse_outer(out, total);
    require(outer.is_ip && outer.drop == DropReason::none);
    require(outer.source == config.local && outer.destination == config.remote);
    require(outer.tos == patch.tos && outer.ttl == patch.ttl);
    require(header.tos == config.tos && header.ttl == config.ttl);
    if (header.udp_offset != 0) {
        const unsigned port = word_at(out, header.udp_offset);
        require(port >= config.udp_source_min && port <= config.udp_source_max);
        require(port == entropy_port(header, patch.entropy));
    }
    require(std::size_t{outer.payload_offset} + outer.payload_bytes == total);
    require(outer.ip_protocol == kProtocols[index].outer.ip_protocol);
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    culvert::tunnels::check_build(input);
    if (size < 2) {
        return 0;
    }
    const auto frame = input.subspan(2);
    const std::size_t contiguous =
        std::min<std::size_t>(culvert::tunnels::word_at(input, 0), frame.size());
    // A copy of exactly that size, so that AddressSanitizer sees a read behind it.
    std::vector<std::byte> head(
        frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(contiguous)
    );
    culvert::tunnels::check_parse(head, frame.size());
    culvert::tunnels::check_hash(head);
    culvert::tunnels::check_inner(head, culvert::tunnels::Payload::ethernet);
    culvert::tunnels::check_inner(head, culvert::tunnels::Payload::ip);
    culvert::tunnels::repair_checksum(head);
    culvert::tunnels::check_parse(head, frame.size());
    return 0;
}
