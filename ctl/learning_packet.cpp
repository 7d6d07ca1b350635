// SPDX-License-Identifier: GPL-2.0-or-later
//
// See learning_packet.hpp.

#include "ctl/learning_packet.hpp"

#include <algorithm>

namespace culvert::ctl {

namespace {

constexpr std::size_t kFrameBytesMin = 60;  // Without the check sequence.

class Writer {
public:
    explicit Writer(LearningPacket& packet) : packet_(packet) {}

    void put(std::uint8_t octet) { packet_.bytes[packet_.length++] = std::byte{octet}; }
    void put16(std::uint16_t value) {
        put(static_cast<std::uint8_t>(value >> 8U));
        put(static_cast<std::uint8_t>(value & 0xffU));
    }
    void put_mac(const tunnels::MacAddress& mac) {
        for (const std::uint8_t octet : mac.bytes) {
            put(octet);
        }
    }

private:
    LearningPacket& packet_;
};

}  // namespace

LearningPacket
write_learning_packet(const tunnels::MacAddress& host, std::optional<std::uint16_t> vlan) {
    LearningPacket packet;
    Writer writer(packet);
    writer.put_mac({{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}});
    writer.put_mac(host);
    if (vlan) {
        writer.put16(0x8100);
        writer.put16(*vlan);
    }
    writer.put16(0x8035);  // Reverse ARP.
    writer.put16(1);       // Ethernet
    writer.put16(0x0800);  // to IPv4,
    writer.put(6);
    writer.put(4);
    writer.put16(3);  // asked for.
    writer.put_mac(host);
    packet.length += 4;  // No address.
    writer.put_mac(host);
    packet.length += 4;
    packet.length = std::max(packet.length, kFrameBytesMin);
    return packet;
}

}  // namespace culvert::ctl
