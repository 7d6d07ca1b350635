// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any frame that the parsers accept makes a HeaderMatch; the same frame with some octets changed
// either does not match, or is parsed alike. The first octet of the input chooses the protocol, the
// second says how many changes (place, value to combine with) come before the frame.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tunnels/header_match.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

using Bytes = std::vector<std::byte>;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

struct Read {
    Outer outer;
    Parsed parsed;
    bool accepted = false;
};

Read read(std::uint8_t protocol, const Bytes& frame) {
    Read read;
    read.outer = parse_outer(frame, frame.size());
    if (read.outer.is_ip && read.outer.drop == DropReason::none &&
        read.outer.ip_protocol == kProtocols.at(protocol).outer.ip_protocol) {
        read.parsed = parse_protocol(
            protocol,
            std::span(frame).subspan(read.outer.payload_offset).first(read.outer.payload_bytes)
        );
        read.accepted = read.parsed.drop == DropReason::none;
    }
    return read;
}

void check(std::uint8_t protocol, std::span<const std::byte> changes, const Bytes& frame) {
    const Read before = read(protocol, frame);
    if (!before.accepted) {
        return;
    }
    const auto match = make_match(frame, before.outer, before.parsed, protocol);
    if (!match) {
        return;
    }
    Bytes changed = frame;
    for (std::size_t i = 0; i + 1 < changes.size(); i += 2) {
        changed[std::to_integer<std::size_t>(changes[i]) % changed.size()] ^= changes[i + 1];
    }
    if (!matches(*match, changed)) {
        return;
    }
    const Read after = read(protocol, changed);
    require(after.accepted);
    require(after.outer.source == before.outer.source);
    require(after.outer.destination == before.outer.destination);
    require(after.outer.udp_destination == before.outer.udp_destination);
    require(after.outer.payload_offset == before.outer.payload_offset);
    require(std::size_t{after.outer.payload_offset} + after.outer.payload_bytes == changed.size());
    require(after.outer.tos == outer_tos(*match, changed));
    require(!after.outer.udp_checksum_present && !after.parsed.verify_checksum);
    require(after.parsed.key == before.parsed.key && after.parsed.has_key == before.parsed.has_key);
    require(after.parsed.payload == before.parsed.payload);
    require(after.parsed.header_bytes == before.parsed.header_bytes);
    require(match->length == after.outer.payload_offset + after.parsed.header_bytes);
    require(!after.parsed.has_group_policy && !after.parsed.has_sequence);
    require(!after.parsed.has_critical_options);
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert::tunnels;
    const auto input = std::as_bytes(std::span(data, size));
    if (size < 2) {
        return 0;
    }
    const auto protocol =
        static_cast<std::uint8_t>(std::to_integer<std::size_t>(input[0]) % kProtocolCount);
    const std::size_t changes = std::to_integer<std::size_t>(input[1]) % 16 * 2;
    if (size <= 2 + changes) {
        return 0;
    }
    const auto frame = input.subspan(2 + changes);
    check(protocol, input.subspan(2, changes), Bytes(frame.begin(), frame.end()));
    return 0;
}
