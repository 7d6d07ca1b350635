// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads [tunnel.esp], [tunnel.ike] and [ike]. What would leave a tunnel without the encryption that
// its section promises is refused. One thread at a time.
#include "ctl/toml_esp.hpp"

#include <algorithm>

#include "ctl/sentence.hpp"
#include "ctl/toml_items.hpp"
#include "tunnels/esp/algorithm.hpp"
#include "tunnels/esp/replay_window.hpp"

namespace culvert::ctl {

namespace {

/// Lower ones are reserved (RFC 4303 section 2.1).
constexpr Range kSpiRange{256, 0xffffffff};
constexpr Range kPortRange{1, 65535};
constexpr Range kWindowRange{
    tunnels::ReplayWindow::kPacketsMin, tunnels::ReplayWindow::kPacketsMax};
constexpr std::uint32_t kWindowStep = 64;
constexpr Range kLifetimeRange{1, 0x7fffffffffffffff};
constexpr Range kRekeyRange{10, 86400};
constexpr Range kDpdRange{0, 86400};

void read_algorithm(const TomlTable& table, tunnels::EspAlgorithm& out) {
    std::vector<std::string_view> valid;
    for (const tunnels::EspAlgorithmRow& row : tunnels::kEspAlgorithms) {
        if (row.encrypts) {
            valid.push_back(row.name);
        }
    }
    std::string name;
    table.read("algorithm", name);
    if (name.empty()) {
        return;
    }
    const std::optional<tunnels::EspAlgorithm> algorithm = tunnels::find_esp_algorithm(name);
    if (!algorithm) {
        table.invalid("algorithm", "is unknown", listing(valid));
    } else if (!tunnels::row_of(*algorithm).encrypts) {
        table.invalid(
            "algorithm", "does not encrypt, it only proves where packets are from", listing(valid)
        );
    } else {
        out = *algorithm;
    }
}

void read_udp_encap(
    const TomlTable& table, std::string_view owner, std::optional<UdpEncapsulation>& out
) {
    if (!table.is_table("udp_encap")) {
        bool wanted = false;
        table.read("udp_encap", wanted, "true, false or { local_port = 4500, remote_port = 4500 }");
        if (wanted) {
            out.emplace();
        }
        return;
    }
    for (const TomlTable& ports : table.sections("udp_encap", kUdpEncapSection, owner)) {
        out.emplace();
        ports.read("local_port", kPortRange, out->local_port);
        ports.read("remote_port", kPortRange, out->remote_port);
    }
}

/// The keys of a lifetime that begin with `prefix`, "soft" or "hard".
struct LifetimeKeys {
    std::string_view bytes;
    std::string_view packets;
    std::string_view seconds;
};
constexpr LifetimeKeys kSoftKeys{"soft_bytes", "soft_packets", "soft_s"};
constexpr LifetimeKeys kHardKeys{"hard_bytes", "hard_packets", "hard_s"};

void read_lifetime(const TomlTable& table, const LifetimeKeys& keys, SaLifetime& out) {
    table.read(keys.bytes, kLifetimeRange, out.bytes);
    table.read(keys.packets, kLifetimeRange, out.packets);
    table.read(keys.seconds, kLifetimeRange, out.seconds);
}

void check_lifetime(
    const TomlTable& table,
    std::string_view soft_key,
    const std::optional<std::uint64_t>& soft,
    std::string_view hard_key,
    const std::optional<std::uint64_t>& hard
) {
    if (soft && hard && *soft > *hard) {
        table.invalid(
            soft_key,
            "is above " + std::string(hard_key) + " = " + std::to_string(*hard) +
                ", so that it would never be reached",
            "1-" + std::to_string(*hard)
        );
    }
}

void read_lifetimes(const TomlTable& table, EspConfig& esp) {
    read_lifetime(table, kSoftKeys, esp.soft);
    read_lifetime(table, kHardKeys, esp.hard);
    check_lifetime(table, kSoftKeys.bytes, esp.soft.bytes, kHardKeys.bytes, esp.hard.bytes);
    check_lifetime(table, kSoftKeys.packets, esp.soft.packets, kHardKeys.packets, esp.hard.packets);
    check_lifetime(table, kSoftKeys.seconds, esp.soft.seconds, kHardKeys.seconds, esp.hard.seconds);
}

EspConfig read_esp(const TomlTable& table, std::string_view owner) {
    EspConfig esp;
    esp.origin = table.origin();
    read_algorithm(table, esp.algorithm);
    table.read("mode", kEspModeWords, esp.mode);
    table.require("spi_in", kSpiRange.text());
    table.read("spi_in", kSpiRange, esp.spi_in);
    table.require("spi_out", kSpiRange.text());
    table.read("spi_out", kSpiRange, esp.spi_out);
    table.require("key_in_file", "the path of a file with a key in hexadecimal");
    read_path(table, "key_in_file", kPathBytesMax, esp.key_in_file);
    table.require("key_out_file", "the path of a file with a key in hexadecimal");
    read_path(table, "key_out_file", kPathBytesMax, esp.key_out_file);
    if (esp.key_out_file == esp.key_in_file) {
        table.invalid(
            "key_out_file",
            "is key_in_file too, and two senders with one key break its encryption",
            "a key for each direction"
        );
    }
    table.read("esn", esp.esn);
    table.read("replay_window", kWindowRange, esp.replay_window);
    if (esp.replay_window % kWindowStep != 0) {
        table.invalid(
            "replay_window",
            "is not a multiple of " + std::to_string(kWindowStep),
            kWindowRange.text() + ", a multiple of " + std::to_string(kWindowStep)
        );
    }
    read_udp_encap(table, owner, esp.udp_encap);
    read_lifetimes(table, esp);
    return esp;
}

IkeConfig read_ike(const TomlTable& table) {
    IkeConfig ike;
    ike.origin = table.origin();
    read_path(table, "psk_file", kPathBytesMax, ike.psk_file);
    read_path(table, "remote_cert", kPathBytesMax, ike.remote_cert);
    table.read("remote_name", ike.remote_name);
    table.read("udp_encap", ike.udp_encap);
    for (const std::string_view key : {"remote_cert", "remote_name"}) {
        if (table.has("psk_file")) {
            table.refuse(
                key,
                "cannot stand beside psk_file; valid: a pre-shared key or certificates, not both"
            );
        }
    }
    if (table.has("remote_cert")) {
        table.refuse(
            "remote_name",
            "cannot stand beside remote_cert; valid: the peer's own certificate, or the name in "
            "one that ca_cert signed"
        );
    }
    return ike;
}

}  // namespace

void read_encryption(const TomlTable& table, TunnelConfig& tunnel) {
    for (const TomlTable& section : table.sections("esp", kTunnelEspSection, tunnel.name)) {
        tunnel.esp = read_esp(section, tunnel.name);
    }
    for (const TomlTable& section : table.sections("ike", kTunnelIkeSection, tunnel.name)) {
        tunnel.ike = read_ike(section);
    }
    if (tunnel.esp) {
        table.refuse(
            "ike",
            "cannot stand beside esp, whose keys are configured; valid: [tunnel.esp] or "
            "[tunnel.ike], not both"
        );
    }
    if (!tunnel.remote_flow) {
        return;
    }
    for (const std::string_view key : {"esp", "ike"}) {
        table.refuse(
            key,
            "needs one peer, and remote_ip = \"flow\" is any; valid: an address in remote_ip, or "
            "no encryption"
        );
    }
}

IkeDaemonConfig read_ike_daemon(const TomlTable& table) {
    IkeDaemonConfig ike;
    ike.origin = table.origin();
    table.read("control", kIkeControlWords, ike.control);
    read_path(table, "vici", kSocketPathBytesMax, ike.vici);
    read_path(table, "certificate", kPathBytesMax, ike.certificate);
    read_path(table, "private_key", kPathBytesMax, ike.private_key);
    read_path(table, "ca_cert", kPathBytesMax, ike.ca_cert);
    table.read("proposals", ike.proposals);
    table.read("esp_proposals", ike.esp_proposals);
    table.read("rekey_s", kRekeyRange, ike.rekey_s);
    table.read("dpd_s", kDpdRange, ike.dpd_s);
    const bool has_certificate = table.has("certificate");
    if (has_certificate != table.has("private_key")) {
        table.fail(
            has_certificate ? "certificate" : "private_key",
            has_certificate
                ? "certificate needs the key that belongs to it; valid: private_key beside it"
                : "private_key needs the certificate that it belongs to; valid: certificate beside "
                  "it"
        );
    }
    return ike;
}

}  // namespace culvert::ctl
