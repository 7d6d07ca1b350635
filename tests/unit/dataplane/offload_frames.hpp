// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames with work left undone, and a second, plain implementation of lengths and checksums to
// judge the result by. It shares nothing with the code under test: it reads flat bytes and sums
// 16-bit words one by one. Pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "dataplane/packet.hpp"
#include "tests/unit/dataplane/mbuf_chain.hpp"

namespace culvert::testing {

using dataplane::GsoType;
using dataplane::Offload;

inline constexpr std::uint8_t kFin = 0x01;
inline constexpr std::uint8_t kPush = 0x08;
inline constexpr std::uint8_t kAck = 0x10;
inline constexpr std::uint8_t kCwr = 0x80;

inline std::uint32_t get16(const Bytes& bytes, std::size_t at) {
    return static_cast<std::uint32_t>(bytes.at(at)) << 8U | bytes.at(at + 1);
}

inline void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8U & 0xffU);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value & 0xffU);
}

inline void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    put16(bytes, at, value >> 16U);
    put16(bytes, at + 2, value & 0xffffU);
}

inline std::uint32_t
plain_sum(const Bytes& bytes, std::size_t from, std::size_t to, std::uint32_t sum) {
    for (std::size_t i = from; i < to; ++i) {
        const std::uint32_t byte = bytes.at(i);
        sum += (i - from) % 2 == 0 ? byte << 8U : byte;
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return sum;
}

/// What a frame is made of.
struct OffloadFrame {
    std::vector<std::uint16_t> tags;  ///< EtherTypes of the VLAN tags.
    bool v6 = false;
    bool udp = false;
    std::size_t ip_options = 0;  ///< IPv4: bytes, a multiple of 4.
    Bytes extensions;            ///< IPv6: 8 bytes each, types in `extension_types`.
    std::vector<std::uint8_t> extension_types;
    std::size_t tcp_options = 0;
    std::uint8_t flags = kAck;
    std::uint32_t sequence = 0x01020304;
    std::uint16_t identification = 0x1234;
    Bytes addresses = pattern(32, 200);  ///< IPv4 has the first 8 bytes.
    Bytes payload;

    [[nodiscard]] std::size_t ip_offset() const { return 14 + 4 * tags.size(); }
    [[nodiscard]] std::size_t l4_offset() const {
        return ip_offset() + (v6 ? 40 + extensions.size() : 20 + ip_options);
    }
    [[nodiscard]] std::size_t l4_header_bytes() const { return udp ? 8 : 20 + tcp_options; }
    [[nodiscard]] std::size_t header_bytes() const { return l4_offset() + l4_header_bytes(); }
    [[nodiscard]] std::size_t checksum_field() const { return l4_offset() + (udp ? 6 : 16); }
    [[nodiscard]] std::uint8_t protocol() const { return udp ? 17 : 6; }

    /// The pseudo-header's sum, not complemented.
    [[nodiscard]] std::uint32_t pseudo_sum(const Bytes& bytes, std::size_t l4_bytes) const {
        const std::size_t begin = ip_offset() + (v6 ? 8 : 12);
        const std::size_t end = begin + (v6 ? 32 : 8);
        const auto length = static_cast<std::uint32_t>(l4_bytes);
        const std::uint32_t start = (length & 0xffffU) + (length >> 16U) + protocol();
        return plain_sum(bytes, begin, end, start);
    }

    [[nodiscard]] Offload offload(std::uint16_t gso_bytes = 0) const {
        const GsoType type = udp ? GsoType::udp_l4 : v6 ? GsoType::tcp6 : GsoType::tcp4;
        return {
            .checksum_start = static_cast<std::uint16_t>(l4_offset()),
            .checksum_offset = static_cast<std::uint8_t>(udp ? 6 : 16),
            .gso_type = gso_bytes == 0 ? GsoType::none : type,
            .gso_bytes = gso_bytes,
            .header_bytes = 0};
    }

    /// As a kernel hands it out: the checksum field holds the pseudo-header's sum.
    [[nodiscard]] Bytes build() const {
        Bytes bytes = pattern(12);
        for (std::size_t i = 0; i < tags.size(); ++i) {
            bytes.resize(bytes.size() + 4);
            put16(bytes, bytes.size() - 4, tags[i]);
            put16(bytes, bytes.size() - 2, 0x2064);
        }
        bytes.resize(header_bytes());
        put16(bytes, ip_offset() - 2, v6 ? 0x86dd : 0x0800);
        const std::size_t l4_bytes = l4_header_bytes() + payload.size();
        v6 ? build_ipv6(bytes, l4_bytes) : build_ipv4(bytes, l4_bytes);
        const std::size_t l4 = l4_offset();
        put16(bytes, l4, 50123);
        put16(bytes, l4 + 2, 443);
        if (udp) {
            put16(bytes, l4 + 4, static_cast<std::uint32_t>(l4_bytes));
        } else {
            put32(bytes, l4 + 4, sequence);
            put32(bytes, l4 + 8, 0xa1b2c3d4);
            bytes[l4 + 12] = static_cast<std::uint8_t>(l4_header_bytes() / 4 << 4U);
            bytes[l4 + 13] = flags;
            put16(bytes, l4 + 14, 8192);
            std::fill_n(bytes.data() + l4 + 20, tcp_options, std::uint8_t{1});
        }
        put16(bytes, checksum_field(), pseudo_sum(bytes, l4_bytes));
        bytes.insert(bytes.end(), payload.begin(), payload.end());
        return bytes;
    }

private:
    void build_ipv4(Bytes& bytes, std::size_t l4_bytes) const {
        const std::size_t ip = ip_offset();
        const std::size_t header = 20 + ip_options;
        bytes[ip] = static_cast<std::uint8_t>(0x40U | header / 4);
        put16(bytes, ip + 2, static_cast<std::uint32_t>(header + l4_bytes));
        put16(bytes, ip + 4, identification);
        put16(bytes, ip + 6, 0x4000);
        bytes[ip + 8] = 64;
        bytes[ip + 9] = protocol();
        std::copy_n(addresses.begin(), 8, bytes.data() + ip + 12);
        std::fill_n(bytes.data() + ip + 20, ip_options, std::uint8_t{1});
        put16(bytes, ip + 10, ~plain_sum(bytes, ip, ip + header, 0) & 0xffffU);
    }
    void build_ipv6(Bytes& bytes, std::size_t l4_bytes) const {
        const std::size_t ip = ip_offset();
        put32(bytes, ip, 0x60012345);
        put16(bytes, ip + 4, static_cast<std::uint32_t>(extensions.size() + l4_bytes));
        bytes[ip + 6] = extension_types.empty() ? protocol() : extension_types[0];
        bytes[ip + 7] = 64;
        std::copy(addresses.begin(), addresses.end(), bytes.data() + ip + 8);
        std::copy(extensions.begin(), extensions.end(), bytes.data() + ip + 40);
        for (std::size_t i = 0; i < extension_types.size(); ++i) {
            const bool last = i + 1 == extension_types.size();
            bytes[ip + 40 + 8 * i] = last ? protocol() : extension_types[i + 1];
        }
    }
};

/// Why a frame is not one that `frame` describes with lengths and checksums right; empty when it
/// is.
inline std::string defect(const Bytes& bytes, const OffloadFrame& frame) {
    const std::size_t ip = frame.ip_offset();
    const std::size_t l4 = frame.l4_offset();
    if (bytes.size() < frame.header_bytes()) {
        return "cut off";
    }
    if (frame.v6) {
        if (get16(bytes, ip + 4) != bytes.size() - ip - 40) {
            return "IPv6 payload length";
        }
    } else {
        if (get16(bytes, ip + 2) != bytes.size() - ip) {
            return "IPv4 total length";
        }
        if (plain_sum(bytes, ip, ip + 20 + frame.ip_options, 0) != 0xffff) {
            return "IPv4 header checksum";
        }
    }
    if (frame.udp && get16(bytes, l4 + 4) != bytes.size() - l4) {
        return "UDP length";
    }
    if (frame.udp && get16(bytes, l4 + 6) == 0) {
        return "UDP checksum absent";
    }
    const std::uint32_t pseudo = frame.pseudo_sum(bytes, bytes.size() - l4);
    return plain_sum(bytes, l4, bytes.size(), pseudo) == 0xffff ? "" : "L4 checksum";
}

inline OffloadFrame random_frame(std::mt19937& random, std::size_t payload_bytes) {
    OffloadFrame frame;
    constexpr std::uint16_t kTagTypes[] = {0x8100, 0x88a8};
    for (std::size_t count = random() % 3; count != 0; --count) {
        frame.tags.push_back(kTagTypes[random() % 2]);
    }
    frame.v6 = random() % 2 == 0;
    frame.udp = random() % 2 == 0;
    if (frame.v6) {
        for (std::size_t count = random() % 3; count != 0; --count) {
            constexpr std::uint8_t kTypes[] = {0, 60, 43};
            frame.extension_types.push_back(kTypes[random() % 3]);
            frame.extensions.resize(frame.extensions.size() + 8);
        }
    } else {
        frame.ip_options = random() % 11 * 4;
    }
    frame.tcp_options = frame.udp ? 0 : random() % 11 * 4;
    frame.flags = static_cast<std::uint8_t>(random() & 0xffU);
    frame.sequence = random() % 4 == 0 ? 0xffffff00 : static_cast<std::uint32_t>(random());
    frame.identification = random() % 4 == 0 ? 0xffff : static_cast<std::uint16_t>(random());
    frame.payload.resize(payload_bytes);
    for (Bytes* bytes : {&frame.payload, &frame.addresses}) {
        std::generate(bytes->begin(), bytes->end(), [&] {
            return static_cast<std::uint8_t>(random());
        });
    }
    return frame;
}

inline OffloadFrame plain_frame(bool v6, bool udp, std::size_t payload_bytes) {
    OffloadFrame frame;
    frame.v6 = v6;
    frame.udp = udp;
    frame.payload = pattern(payload_bytes);
    return frame;
}

}  // namespace culvert::testing
