// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the underlay makes of tunnel packets: fragments, and errors about those that did not fit.
#pragma once

#include <vector>

#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

/// The frame cut into IPv4 fragments whose payload is at most `step` bytes (a multiple of 8).
inline std::vector<Frame>
cut_v4(const Frame& frame, std::size_t step, unsigned identification = 77) {
    std::vector<Frame> pieces;
    const std::size_t payload = 14 + 20;
    for (std::size_t at = payload; at < frame.size(); at += step) {
        const std::size_t bytes = std::min(step, frame.size() - at);
        Frame piece = slice(frame, 0, payload);
        const Frame part = slice(frame, at, bytes);
        piece.insert(piece.end(), part.begin(), part.end());
        set_word(piece, 16, static_cast<unsigned>(20 + bytes));
        set_word(piece, 18, identification);
        const bool more = at + bytes < frame.size();
        set_word(piece, 20, static_cast<unsigned>((at - payload) / 8) | (more ? kMore : 0U));
        fix_ipv4_checksum(piece, 14);
        pieces.push_back(piece);
    }
    return pieces;
}

inline std::vector<Frame> cut_v6(const Frame& frame, std::size_t step) {
    std::vector<Frame> pieces;
    const std::size_t payload = 14 + 40;
    for (std::size_t at = payload; at < frame.size(); at += step) {
        const std::size_t bytes = std::min(step, frame.size() - at);
        Frame piece = slice(frame, 0, payload + 8);
        const Frame part = slice(frame, at, bytes);
        const bool more = at + bytes < frame.size();
        piece[payload] = frame[14 + 6];
        piece[payload + 1] = std::byte{0};
        set_word(piece, payload + 2, static_cast<unsigned>(at - payload) | (more ? 1U : 0U));
        set_word(piece, payload + 4, 0);
        set_word(piece, payload + 6, 99);
        piece[14 + 6] = std::byte{44};
        piece.insert(piece.end(), part.begin(), part.end());
        set_word(piece, 14 + 4, static_cast<unsigned>(bytes + 8));
        pieces.push_back(piece);
    }
    return pieces;
}

/// What a router says about `frame`, which we sent.
inline Frame too_big_v4(const Frame& frame, unsigned mtu) {
    const Frame quote = slice(frame, 14, 28);
    IpSpec spec;
    spec.source = ip("192.0.2.1");
    spec.destination = IpAddress::from_v4(&frame[14 + 12]);
    spec.protocol = 1;
    spec.bytes = 20 + 8 + quote.size();
    Frame packet = make_ip(spec);
    std::fill(packet.begin() + 20, packet.begin() + 28, std::byte{0});
    packet[20] = std::byte{3};
    packet[21] = std::byte{4};
    set_word(packet, 26, mtu);
    std::copy(quote.begin(), quote.end(), packet.begin() + 28);
    set_word(packet, 22, ~naive_sum(std::span(packet).subspan(20)) & 0xffffU);
    return ethernet(mac(0xfe), mac(0xaa), packet);
}
inline Frame too_big_v6(const Frame& frame, unsigned mtu) {
    const Frame quote = slice(frame, 14, 48);
    IpSpec spec;
    spec.source = ip("fd99::1");
    spec.destination = IpAddress::from_v6(&frame[14 + 8]);
    spec.protocol = 58;
    spec.bytes = 40 + 8 + quote.size();
    Frame packet = make_ip(spec);
    std::fill(packet.begin() + 40, packet.begin() + 48, std::byte{0});
    packet[40] = std::byte{2};
    set_word(packet, 46, mtu);
    std::copy(quote.begin(), quote.end(), packet.begin() + 48);
    const unsigned pseudo =
        naive_sum(std::span(packet).subspan(8, 32)) + 58U + static_cast<unsigned>(spec.bytes - 40);
    set_word(packet, 42, ~naive_sum(std::span(packet).subspan(40), pseudo) & 0xffffU);
    return ethernet(mac(0xfe), mac(0xaa), packet);
}

}  // namespace culvert::testing
