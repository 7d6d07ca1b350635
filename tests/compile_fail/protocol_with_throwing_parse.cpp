// SPDX-License-Identifier: GPL-2.0-or-later
//
// Must not compile: a parse() that may throw has no place on the packet path.
#include <cstddef>
#include <span>
#include <string_view>

#include "tunnels/protocols.hpp"

namespace culvert::tunnels {

struct Thrower {
    static constexpr std::string_view kName = "thrower";
    static constexpr OuterMatch kOuter{.ip_protocol = 253, .default_udp_port = 0};
    static constexpr Features kFeatures{};
    static constexpr unsigned kKeyBits = 8;
    static constexpr bool kKeyAlwaysPresent = true;
    static constexpr std::size_t kHeaderBytesMax = 1;
    static constexpr std::size_t kParseBytesMax = 1;
    static Parsed parse(std::span<const std::byte>) { return {}; }
    static bool mark_decisive(std::span<const std::byte>, std::span<std::byte>) noexcept {
        return true;
    }
    static std::size_t header_bytes(const HeaderConfig&) noexcept { return 1; }
    static void write(const HeaderConfig&, std::span<std::byte>) noexcept {}
    static bool needs_patch(const HeaderConfig&) noexcept { return false; }
    static void patch(std::span<std::byte>, const PacketFacts&) noexcept {}
    static std::size_t checksum_offset(const HeaderConfig&) noexcept { return 0; }
};

constexpr std::size_t kCount = ProtocolList<Gre, Vxlan, Thrower>::kCount;

}  // namespace culvert::tunnels
