// SPDX-License-Identifier: GPL-2.0-or-later
//
// How a tunnel is encrypted, as values of the desired state: by keys that are configured, or by
// keys that an IKE daemon agrees on with the peer. Defaults here are the documented ones. Secrets
// are in no text that is made of these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "ctl/config_item.hpp"
#include "ctl/private_text.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::ctl {

enum class EspMode : std::uint8_t { transport, tunnel };  ///< "transport" | "tunnel"

/// When an SA ends (hard) or ought to be replaced (soft); what is absent has no end. Counted are
/// ESP packets from their IP header on; watched ten times a second, but for packets, which end
/// exactly.
struct SaLifetime {
    std::optional<std::uint64_t> bytes;
    std::optional<std::uint64_t> packets;
    std::optional<std::uint64_t> seconds;
    bool operator==(const SaLifetime&) const = default;
};

/// ESP in UDP (RFC 3948).
struct UdpEncapsulation {
    std::uint16_t local_port = tunnels::kEspUdpPort;
    std::uint16_t remote_port = tunnels::kEspUdpPort;
    bool operator==(const UdpEncapsulation&) const = default;
};

/// A pair of SAs with keys from files.                            [tunnel.esp]
struct EspConfig {
    tunnels::EspAlgorithm algorithm = tunnels::EspAlgorithm::aes_gcm_256;  ///< "aes-gcm-256"
    EspMode mode = EspMode::transport;
    std::uint32_t spi_in = 0;  ///< Required, 256-4294967295.
    std::uint32_t spi_out = 0;
    std::string key_in_file;  ///< Required. Hexadecimal; of root alone.
    std::string key_out_file;
    tunnels::Secret key_in;  ///< What was read from them.
    tunnels::Secret key_out;
    bool esn = true;                     ///< 64-bit sequence numbers.
    std::uint32_t replay_window = 1024;  ///< 64-4096 packets, a multiple of 64.
    std::optional<UdpEncapsulation>
        udp_encap;    ///< udp_encap = true, or { local_port, remote_port }
    SaLifetime soft;  ///< soft_bytes, soft_packets, soft_s: a warning.
    SaLifetime hard;  ///< hard_bytes, hard_packets, hard_s: not used any more.
    Origin origin;
    bool operator==(const EspConfig&) const = default;
};

inline constexpr std::size_t kPskBytesMax = 1024;  ///< A longer pre-shared key is refused.

/// Keys by IKEv2: with a pre-shared key, or with certificates.     [tunnel.ike]
struct IkeConfig {
    PrivateText psk;          ///< psk_file; OVSDB options:psk. Empty: certificates.
    std::string psk_file;     ///< TOML only.
    std::string remote_cert;  ///< Path: the peer's own certificate (OVSDB options:remote_cert).
    std::string remote_name;  ///< The CN of the peer's certificate, signed by ca_cert.
    bool udp_encap = false;   ///< Always ESP in UDP; else only behind a NAT.
    Origin origin;
    bool operator==(const IkeConfig&) const = default;
};

/// Who talks to the IKE daemon.
enum class IkeControl : std::uint8_t {
    vici,    ///< This daemon, by charon's vici socket.
    follow,  ///< Somebody else (ovs-monitor-ipsec); the SAs are taken from the kernel.
};

/// Of the whole switch.                                            [ike]
struct IkeDaemonConfig {
    IkeControl control = IkeControl::vici;      ///< "vici" | "follow"
    std::string vici = "/var/run/charon.vici";  ///< Path of the socket.
    std::string certificate;  ///< Path; OVSDB other_config:certificate, private_key, ca_cert.
    std::string private_key;
    std::string ca_cert;
    std::string proposals = "aes256gcm16-prfsha384-ecp384,aes128gcm16-prfsha256-x25519";
    std::string esp_proposals = "aes256gcm16-esn,aes256gcm16,aes128gcm16-esn,aes128gcm16";
    std::uint32_t rekey_s = 3600;  ///< 10-86400, of the child SAs.
    std::uint32_t dpd_s = 30;      ///< 0: no dead peer detection.
    Origin origin;
    bool operator==(const IkeDaemonConfig&) const = default;
};

}  // namespace culvert::ctl
