// SPDX-License-Identifier: GPL-2.0-or-later
//
// The TUN device, the raw sockets and the packets of kernel_input.hpp.
#include "tests/differential/kernel_input.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net_namespace.hpp"

namespace culvert::test {
namespace {

using firewall::Address;
using firewall::Family;
using firewall::Header;
using firewall::State;
using firewall::Value;

constexpr std::size_t kDrainPackets = 32;  // Between two looks at the sockets: far below a queue.
constexpr std::size_t kReceiveBytes = std::size_t{4} << 20U;
constexpr std::size_t kIdBytes = 4;
constexpr std::size_t kIpv4Bytes = 20;
constexpr std::size_t kIpv6Bytes = 40;

using Bytes = std::vector<std::uint8_t>;

void put(Bytes& bytes, Value value, unsigned count) {
    for (unsigned at = count; at-- > 0;) {
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * at)));
    }
}

void set16(Bytes& bytes, std::size_t at, std::uint16_t value) {
    bytes.at(at) = static_cast<std::uint8_t>(value >> 8U);
    bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}

std::uint16_t checksum(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        sum += at % 2 == 0 ? bytes[at] * 256U : bytes[at];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

unsigned address_bytes(Family family) {
    return firewall::bits_of(family) / 8;
}

// What is behind the IP header; the id stands last. `at_checksum`: of the checksum, 0 without one.
Bytes payload_of(const Header& header, std::uint32_t id, std::size_t& at_checksum) {
    Bytes bytes;
    at_checksum = 0;
    switch (header.protocol) {
    case firewall::kProtocolUdp:
        put(bytes, header.source_port, 2);
        put(bytes, header.destination_port, 2);
        put(bytes, 8 + kIdBytes, 2);
        put(bytes, 0, 2);
        at_checksum = 6;
        break;
    case firewall::kProtocolTcp:
        put(bytes, header.source_port, 2);
        put(bytes, header.destination_port, 2);
        put(bytes, id, 4);          // Sequence number.
        put(bytes, 0, 4);           // Acknowledgement.
        put(bytes, 0x5002ffff, 4);  // Five words, SYN, window.
        put(bytes, 0, 4);
        at_checksum = 16;
        break;
    case firewall::kProtocolGre:
        put(bytes, 0x6558, 4);
        break;
    case firewall::kProtocolEsp:
        put(bytes, 0x1000 + id, 4);  // SPI.
        put(bytes, 1, 4);
        break;
    default:
        put(bytes, 0x21010000, 4);
        break;
    }
    put(bytes, id, kIdBytes);
    return bytes;
}

void write_checksum(const Header& header, Bytes& payload, std::size_t at) {
    Bytes all;
    const unsigned width = address_bytes(header.source.family);
    put(all, header.source.value, width);
    put(all, header.destination.value, width);
    put(all, header.protocol, 2);
    put(all, payload.size(), 2);
    all.insert(all.end(), payload.begin(), payload.end());
    std::uint16_t sum = checksum(all);
    sum = sum == 0 ? 0xffff : sum;
    if (header.state == State::invalid) {
        sum = sum == 1 ? 2 : static_cast<std::uint16_t>(sum - 1);
    }
    set16(payload, at, sum);
}

Bytes packet_of(const Header& header, std::uint32_t id) {
    std::size_t at_checksum = 0;
    Bytes payload = payload_of(header, id, at_checksum);
    if (at_checksum != 0) {
        write_checksum(header, payload, at_checksum);
    }
    Bytes packet;
    if (header.source.family == Family::ipv4) {
        put(packet, 0x4500, 2);
        put(packet, kIpv4Bytes + payload.size(), 2);
        put(packet, 0x4000, 4);  // No id, may not be fragmented.
        put(packet, 64, 1);
        put(packet, header.protocol, 1);
        put(packet, 0, 2);
        put(packet, header.source.value, 4);
        put(packet, header.destination.value, 4);
        set16(packet, 10, checksum(packet));
    } else {
        put(packet, 0x60000000, 4);
        put(packet, payload.size(), 2);
        put(packet, header.protocol, 1);
        put(packet, 64, 1);
        put(packet, header.source.value, 16);
        put(packet, header.destination.value, 16);
    }
    packet.insert(packet.end(), payload.begin(), payload.end());
    return packet;
}

int open_tun() {
    const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    require(tun >= 0, "/dev/net/tun cannot be opened");
    ifreq request{};
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    std::string(kInterface).copy(request.ifr_name, IFNAMSIZ - 1);
    require(ioctl(tun, TUNSETIFF, &request) == 0, "a TUN device cannot be made");
    return tun;
}

int open_raw(int domain, int protocol) {
    const int raw = socket(domain, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    require(raw >= 0, "a raw socket cannot be made");
    const int bytes = static_cast<int>(kReceiveBytes);
    require(
        setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0,
        "the buffer of a raw socket cannot be set"
    );
    return raw;
}

std::uint32_t id_at_end(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint32_t>(firewall::value_of(&*(bytes.end() - kIdBytes), kIdBytes));
}

}  // namespace

KernelInput::KernelInput() : tun_(open_tun()) {
    const std::string name = kInterface;
    run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf." + name + ".rp_filter=0");
    run("ip link set " + name + " up");
    run("ip route add local " + std::string(kHostNetwork) + " dev lo");
    run("ip -6 route add local " + std::string(kHostNetwork6) + " dev lo");
    run("ip route add default dev " + name);
    run("ip -6 route add default dev " + name);
    for (const std::uint8_t protocol : kProtocols) {
        receivers_.push_back(open_raw(AF_INET, protocol));
        receivers_.push_back(open_raw(AF_INET6, protocol));
    }
    sender_ = open_raw(AF_INET, IPPROTO_RAW);
    sender6_ = open_raw(AF_INET6, IPPROTO_RAW);
}

KernelInput::~KernelInput() {
    for (const int receiver : receivers_) {
        close(receiver);
    }
    close(sender_);
    close(sender6_);
    close(tun_);
}

void KernelInput::send(const Header& header, std::uint32_t id) {
    const Bytes packet = packet_of(header, id);
    require(
        write(tun_, packet.data(), packet.size()) == static_cast<ssize_t>(packet.size()),
        "a packet cannot be put into the TUN device"
    );
}

void KernelInput::establish(const Header& header) {
    Header outgoing = header;
    std::swap(outgoing.source, outgoing.destination);
    std::swap(outgoing.source_port, outgoing.destination_port);
    outgoing.state = State::fresh;
    const Bytes packet = packet_of(outgoing, 0);
    ssize_t sent = -1;
    if (header.source.family == Family::ipv4) {
        sockaddr_in peer{};
        peer.sin_family = AF_INET;
        std::copy_n(packet.data() + 16, 4, reinterpret_cast<std::uint8_t*>(&peer.sin_addr));
        sent = sendto(
            sender_,
            packet.data(),
            packet.size(),
            0,
            reinterpret_cast<sockaddr*>(&peer),
            sizeof peer
        );
    } else {
        sockaddr_in6 peer{};
        peer.sin6_family = AF_INET6;
        std::copy_n(packet.data() + 24, 16, peer.sin6_addr.s6_addr);
        sent = sendto(
            sender6_,
            packet.data(),
            packet.size(),
            0,
            reinterpret_cast<sockaddr*>(&peer),
            sizeof peer
        );
    }
    require(sent == static_cast<ssize_t>(packet.size()), "the host cannot send a packet");
}

void KernelInput::drain() {
    std::array<std::uint8_t, 2048> buffer;
    for (const int receiver : receivers_) {
        ssize_t length = 0;
        while ((length = recv(receiver, buffer.data(), buffer.size(), 0)) >= 0) {
            const std::size_t size = static_cast<std::size_t>(length);
            if (size < kIdBytes) {
                continue;
            }
            const std::uint32_t id = id_at_end(std::span(buffer).first(size));
            if (id >= first_id_ && id - first_id_ < arrived_.size()) {
                arrived_[id - first_id_] = true;
            }
        }
    }
    while (read(tun_, buffer.data(), buffer.size()) > 0) {
    }
}

void KernelInput::wait_for_probe() {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::seconds(30);
    for (drain(); !arrived_.back(); drain()) {
        if (Clock::now() > deadline) {
            throw std::runtime_error("the rule sets do not let the probe pass");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

std::vector<bool> KernelInput::deliver(const std::vector<Header>& headers) {
    first_id_ = next_id_;
    arrived_.assign(headers.size() + 1, false);
    for (std::size_t at = 0; at < headers.size(); ++at) {
        if (headers[at].state == State::established) {
            establish(headers[at]);
        }
        send(headers[at], next_id_++);
        if (at % kDrainPackets == kDrainPackets - 1) {
            drain();
        }
    }
    Header probe;
    probe.source = *firewall::parse_address("192.0.2.1");
    probe.destination = *firewall::parse_address(kProbeDestination);
    probe.protocol = kProtocolVrrp;
    send(probe, next_id_++);
    wait_for_probe();
    std::vector<bool> delivered = arrived_;
    delivered.pop_back();
    return delivered;
}

}  // namespace culvert::test
