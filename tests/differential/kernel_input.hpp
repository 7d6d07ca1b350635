// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's own answer to what firewall/evaluate.hpp says: packets are put into a TUN device of
// the calling thread's network namespace as if received, and raw sockets, which stand behind the
// hook INPUT, show which of them got through. Conntrack states are made, not claimed: `established`
// by a packet of the host to the sender, `invalid` by a wrong checksum, `untracked` by sources that
// the rule sets exempt. Needs root; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "firewall/header.hpp"

namespace culvert::test {

/// The interface that packets come in by.
inline constexpr const char* kInterface = "cvin0";
/// Packets to this address show that those before them are through; rule sets let them pass.
inline constexpr const char* kProbeDestination = "10.99.255.254";
/// Every address in them is the host's own.
inline constexpr const char* kHostNetwork = "10.99.0.0/16";
inline constexpr const char* kHostNetwork6 = "fd99::/16";
/// Sources that rule sets exempt from conntrack, and no others.
inline constexpr const char* kUntrackedNetwork = "172.31.0.0/16";
inline constexpr const char* kUntrackedNetwork6 = "fd31::/16";

/// What deliver() can send, TCP segments being the first of their connection.
inline constexpr std::uint8_t kProtocolVrrp = 112;  // Any protocol without ports or conntrack's.
inline constexpr std::uint8_t kProtocols[] = {
    firewall::kProtocolUdp,
    firewall::kProtocolGre,
    firewall::kProtocolEsp,
    firewall::kProtocolTcp,
    kProtocolVrrp,
};

class KernelInput {
public:
    KernelInput();
    ~KernelInput();
    KernelInput(const KernelInput&) = delete;
    KernelInput& operator=(const KernelInput&) = delete;

    /// Sends a packet for each of `headers`, in order, and says of each whether it was delivered.
    [[nodiscard]] std::vector<bool> deliver(const std::vector<firewall::Header>& headers);

private:
    void send(const firewall::Header& header, std::uint32_t id);
    /// A packet from the host to the header's sender, so that the header is of an answer.
    void establish(const firewall::Header& header);
    /// Notes which ids arrived, and throws away what the kernel sent by the TUN.
    void drain();
    void wait_for_probe();

    int tun_ = -1;
    std::vector<int> receivers_;
    int sender_ = -1;
    int sender6_ = -1;
    std::uint32_t next_id_ = 1;
    std::vector<bool> arrived_;  ///< By id, counted from first_id_.
    std::uint32_t first_id_ = 1;
};

}  // namespace culvert::test
