// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any bytes into the parser of every protocol in the list, judged by what the TunnelProtocol
// contract promises. The first octet of the input is not part of the header, it chooses the key to
// write.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

std::vector<std::byte> prefix(std::span<const std::byte> bytes, std::size_t size) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

bool same(const Parsed& a, const Parsed& b) {
    return a.drop == b.drop && a.header_bytes == b.header_bytes && a.has_key == b.has_key &&
           a.verify_checksum == b.verify_checksum && a.key == b.key;
}

template <TunnelProtocol P>
void check_written(const HeaderConfig& config) {
    std::vector<std::byte> out(P::header_bytes(config));
    require(out.size() <= P::kHeaderBytesMax);
    P::write(config, out);
    const Parsed parsed = P::parse(out);
    require(parsed.drop == DropReason::none && parsed.header_bytes == out.size());
    require(parsed.key == config.key.value_or(0) && !parsed.verify_checksum);
    require(parsed.has_key == (P::kKeyAlwaysPresent || config.key.has_value()));
}

template <TunnelProtocol P>
void check(std::span<const std::byte> input, std::uint8_t choice) {
    const std::vector<std::byte> packet = prefix(input, input.size());
    const Parsed parsed = P::parse(packet);
    const std::uint8_t index = find_protocol(P::kName).value();
    require(parse_protocol(index, packet).drop == parsed.drop);
    if (parsed.drop != DropReason::none) {
        // More bytes behind a refused header may complete it, fewer never do.
        require(
            packet.empty() || P::parse(prefix(input, input.size() - 1)).drop != DropReason::none
        );
        return;
    }
    require(parsed.header_bytes <= packet.size() && parsed.header_bytes <= P::kHeaderBytesMax);
    require(std::uint64_t{parsed.key} >> P::kKeyBits == 0);
    require(parsed.has_key || (!P::kKeyAlwaysPresent && parsed.key == 0));
    require(same(parse_protocol(index, packet), parsed));
    // The header alone says the same; cut off anywhere, it is refused.
    require(same(P::parse(prefix(input, parsed.header_bytes)), parsed));
    for (std::size_t size = 0; size < parsed.header_bytes; ++size) {
        require(P::parse(prefix(input, size)).drop != DropReason::none);
    }
    HeaderConfig config;
    if (parsed.has_key) {
        config.key = (choice & 1U) != 0 ? parsed.key : parsed.key ^ (choice >> 1U);
    }
    check_written<P>(config);
}

template <class... P>
void check_all(ProtocolList<P...> /*list*/, std::span<const std::byte> in, std::uint8_t choice) {
    (check<P>(in, choice), ...);
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    culvert::tunnels::check_all(
        culvert::tunnels::Protocols{}, std::as_bytes(std::span(data, size)).subspan(1), data[0]
    );
    return 0;
}
