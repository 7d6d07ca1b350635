// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any bytes into the parser of every protocol in the list, and every header that its features can
// make back through write(), patch() and parse(), judged by what the TunnelProtocol contract
// promises. The first octet of the input is not part of the header: it chooses among the features.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "tunnels/encap.hpp"
#include "tunnels/protocols.hpp"
#include "tunnels/tunnel_headers.hpp"

namespace culvert::tunnels {
namespace {

using Bytes = std::vector<std::byte>;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

/// In an allocation of exactly that size, so that AddressSanitizer sees a read behind it.
Bytes prefix(std::span<const std::byte> bytes, std::size_t size) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

bool same(const Parsed& a, const Parsed& b) {
    return a.drop == b.drop && a.payload == b.payload && a.header_bytes == b.header_bytes &&
           a.has_key == b.has_key && a.verify_checksum == b.verify_checksum && a.key == b.key &&
           a.has_sequence == b.has_sequence && a.sequence == b.sequence &&
           a.has_group_policy == b.has_group_policy && a.group_policy == b.group_policy &&
           a.has_critical_options == b.has_critical_options;
}

/// Whether each critical option is known, by another way than the walk of geneve_options.hpp: the
/// critical ones are collected first, and then all of them are said to be known, or all but one.
void check_options(std::span<const std::byte> options, bool critical) {
    std::vector<GeneveOptionType> types;
    std::size_t at = 0;
    while (at < options.size()) {
        const auto octet = [&](std::size_t i) {
            return std::to_integer<unsigned>(options[at + i]);
        };
        if ((octet(2) & 0x80U) != 0) {
            types.push_back(
                {static_cast<std::uint16_t>(octet(0) << 8U | octet(1)),
                 static_cast<std::uint8_t>(octet(2))}
            );
        }
        at += 4 + 4 * std::size_t{octet(3) & 0x1fU};
    }
    require(at == options.size());
    require(critical == !types.empty());
    require(geneve_options_known(options, types));
    if (!types.empty()) {
        std::vector<GeneveOptionType> fewer = types;
        std::erase(fewer, types.front());
        require(!geneve_options_known(options, fewer));
    }
    // Cut off within an option, nothing is known.
    if (!options.empty()) {
        require(!geneve_options_known(prefix(options, options.size() - 1), types));
    }
}

/// What is written with `config` and patched with `facts` parses back to them.
template <TunnelProtocol P>
void check_written(const HeaderConfig& config, PacketFacts facts) {
    constexpr std::size_t kGuard = 8;
    constexpr std::byte kFill{0xa5};
    const std::size_t size = P::header_bytes(config);
    require(size <= P::kHeaderBytesMax && size <= P::kParseBytesMax);
    Bytes buffer(size + 2 * kGuard, kFill);
    const auto out = std::span(buffer).subspan(kGuard, size);
    P::write(config, out);
    const Bytes unpatched(out.begin(), out.end());
    facts.nvgre_key = config.nvgre_key;
    if (!config.carry_group_policy) {
        facts.group_policy.reset();
    }
    P::patch(out, facts);
    for (std::size_t i = 0; i < kGuard; ++i) {
        require(buffer[i] == kFill && buffer[kGuard + size + i] == kFill);
    }
    const Bytes once(out.begin(), out.end());
    require(P::needs_patch(config) || once == unpatched);
    P::patch(out, facts);
    require(std::ranges::equal(out, once));

    const Parsed parsed = P::parse(once);
    require(parsed.drop == DropReason::none && parsed.header_bytes == size);
    require(parsed.payload == config.payload);
    require(parsed.has_key || !(P::kKeyAlwaysPresent || config.key.has_value()));
    const std::uint32_t key = config.key.value_or(0);
    require(parsed.key == (config.nvgre_key ? key << 8U | (facts.entropy & 0xffU) : key));
    require(parsed.verify_checksum == config.checksum);
    require((P::checksum_offset(config) != 0) == config.checksum);
    require(parsed.has_sequence == config.sequence);
    require(parsed.sequence == (config.sequence ? facts.sequence : 0));
    const auto policy = facts.group_policy.has_value() ? facts.group_policy : config.group_policy;
    require(parsed.has_group_policy == policy.has_value());
    require(parsed.group_policy == policy.value_or(0));

    // The same through the list and a template, in which it has to fit.
    const std::uint8_t index = find_protocol(P::kName).value();
    OuterConfig outer;
    outer.local.bytes[0] = outer.remote.bytes[0] = 0xfd;
    const EncapTemplate encap = build_template(index, LinkHeader{{}, {}, 7}, outer, config);
    Bytes headers = prefix(encap.bytes, encap.length);
    patch_tunnel(encap, headers, facts);
    require(std::ranges::equal(std::span(headers).subspan(encap.tunnel_offset), once));
}

/// A configuration that has what `parsed` has, as far as `choice` wants it.
template <TunnelProtocol P>
void check_choice(const Parsed& parsed, std::span<const std::byte> options, std::uint8_t choice) {
    constexpr Features kFeatures = P::kFeatures;
    HeaderConfig config;
    config.payload = kFeatures.ip && (!kFeatures.ethernet || (choice & 1U) != 0)
                         ? Payload::ip
                         : Payload::ethernet;
    config.checksum = kFeatures.checksum && (choice & 2U) != 0;
    config.sequence = kFeatures.sequence && (choice & 4U) != 0;
    config.nvgre_key = kFeatures.nvgre_key && (choice & 8U) != 0;
    if (kFeatures.group_policy && (choice & 16U) != 0) {
        config.group_policy = parsed.group_policy;
    }
    if (kFeatures.group_policy && (choice & 64U) != 0) {
        config.carry_group_policy = true;
    }
    if (kFeatures.options && options.size() <= kOptionsBytesMax) {
        config.options = options;
    }
    if (parsed.has_key) {
        config.key = config.nvgre_key ? parsed.key >> 8U : parsed.key;
    }
    PacketFacts facts;
    facts.is_v6 = (choice & 32U) != 0;
    facts.sequence = parsed.sequence ^ choice;
    facts.entropy = parsed.key ^ choice;
    if ((choice & 64U) != 0) {
        facts.group_policy = static_cast<std::uint16_t>(parsed.key ^ choice);
    }
    check_written<P>(config, facts);
}

template <TunnelProtocol P>
void check(std::span<const std::byte> input, std::uint8_t choice) {
    const Bytes packet = prefix(input, input.size());
    const Parsed parsed = P::parse(packet);
    const std::uint8_t index = find_protocol(P::kName).value();
    require(parse_protocol(index, packet).drop == parsed.drop);
    // What lies behind the longest header is not looked at.
    const Bytes readable = prefix(input, std::min<std::size_t>(input.size(), P::kParseBytesMax));
    require(P::parse(readable).drop == parsed.drop);
    if (parsed.drop != DropReason::none) {
        // More bytes behind a refused header may complete it, fewer never do.
        require(
            packet.empty() || P::parse(prefix(input, input.size() - 1)).drop != DropReason::none
        );
        return;
    }
    require(parsed.header_bytes <= packet.size() && parsed.header_bytes <= P::kParseBytesMax);
    require(std::uint64_t{parsed.key} >> P::kKeyBits == 0);
    require(parsed.has_key || (!P::kKeyAlwaysPresent && parsed.key == 0));
    require(parsed.payload == Payload::ip ? P::kFeatures.ip : P::kFeatures.ethernet);
    require(P::kFeatures.checksum || !parsed.verify_checksum);
    require(parsed.has_sequence ? P::kFeatures.sequence : parsed.sequence == 0);
    require(parsed.has_group_policy ? P::kFeatures.group_policy : parsed.group_policy == 0);
    require(P::kFeatures.options || !parsed.has_critical_options);
    require(same(parse_protocol(index, packet), parsed));
    // The header alone says the same; cut off anywhere, it is refused.
    require(same(P::parse(prefix(input, parsed.header_bytes)), parsed));
    for (std::size_t size = 0; size < parsed.header_bytes; ++size) {
        require(P::parse(prefix(input, size)).drop != DropReason::none);
    }
    Bytes options;
    if (P::kFeatures.options) {
        constexpr std::size_t kFixed = sizeof(GeneveHeader);
        const auto header = std::span(packet).first(parsed.header_bytes);
        options = prefix(header.subspan(kFixed), header.size() - kFixed);
        check_options(options, parsed.has_critical_options);
    }
    check_choice<P>(parsed, options, choice);
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
