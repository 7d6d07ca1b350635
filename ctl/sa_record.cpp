// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is said and counted of one SA. See sa_record.hpp.

#include "ctl/sa_record.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace culvert::ctl {

namespace {

constexpr std::uint64_t kNumbersExtended = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kNumbersShort = std::uint64_t{1} << 32U;

std::uint64_t saturated(std::uint64_t number, std::uint64_t more) {
    return number > std::numeric_limits<std::uint64_t>::max() - more
               ? std::numeric_limits<std::uint64_t>::max()
               : number + more;
}

SaRecord configured(const EspTunnel& tunnel, const tunnels::Secret& key) {
    const EspConfig& config = *tunnel.esp;
    SaRecord record;
    record.tunnels = {tunnel.name};
    record.algorithm = config.algorithm;
    record.key = fingerprint_of(key);
    record.secret = key;
    record.window = config.replay_window;
    record.soft = config.soft;
    record.hard = config.hard;
    record.parameters.tunnel_mode = config.mode == EspMode::tunnel;
    record.parameters.extended = config.esn;
    return record;
}

/// How much of a lifetime is left; nothing for what has no end.
std::optional<std::uint64_t> left_of(const std::optional<std::uint64_t>& end, std::uint64_t used) {
    return end ? std::optional(*end - std::min(*end, used)) : std::nullopt;
}

std::uint64_t age_of(const SaRecord& record, std::uint64_t now_s, std::uint64_t uptime_s) {
    return record.by_ike ? now_s - std::min(now_s, record.added_s)
                         : uptime_s - std::min(uptime_s, record.arrived_s);
}

}  // namespace

bool SaRecord::serves(const std::string& tunnel) const {
    return std::find(tunnels.begin(), tunnels.end(), tunnel) != tunnels.end();
}

SaRecord configured_outbound(const EspTunnel& tunnel) {
    SaRecord record = configured(tunnel, tunnel.esp->key_out);
    record.outbound = true;
    record.parameters.spi = tunnel.esp->spi_out;
    record.parameters.source = *tunnel.local;
    record.parameters.destination = tunnel.remote;
    if (tunnel.esp->udp_encap) {
        record.parameters.udp_source = tunnel.esp->udp_encap->local_port;
        record.parameters.udp_destination = tunnel.esp->udp_encap->remote_port;
    }
    return record;
}

SaRecord configured_inbound(const EspTunnel& tunnel) {
    SaRecord record = configured(tunnel, tunnel.esp->key_in);
    record.parameters.spi = tunnel.esp->spi_in;
    record.parameters.source = tunnel.remote;
    record.parameters.destination = *tunnel.local;
    if (tunnel.esp->udp_encap) {
        record.parameters.udp_source = tunnel.esp->udp_encap->remote_port;
        record.parameters.udp_destination = tunnel.esp->udp_encap->local_port;
    }
    return record;
}

SaRecord kernel_record(const KernelSa& association) {
    SaRecord record;
    record.by_ike = true;
    record.parameters.spi = association.spi;
    record.parameters.source = association.source;
    record.parameters.destination = association.destination;
    record.parameters.tunnel_mode = association.tunnel_mode;
    record.parameters.extended = association.extended;
    record.parameters.udp_source = association.udp_source;
    record.parameters.udp_destination = association.udp_destination;
    record.algorithm = association.algorithm;
    record.algorithm_name = association.algorithm_name;
    record.key = fingerprint_of(association.key);
    record.secret = association.key;
    const std::uint32_t window =
        std::clamp(association.replay_window, kReplayWindowMin, tunnels::ReplayWindow::kPacketsMax);
    record.window = (window + 63U) / 64U * 64U;
    record.kernel_window = association.replay_window;
    record.kernel_sequence = association.next_sequence;
    record.kernel_received = association.received_sequence;
    record.soft = association.soft;
    record.hard = association.hard;
    record.reqid = association.reqid;
    record.selector = association.selector;
    record.added_s = association.added_s;
    return record;
}

bool same_association(const SaRecord& from, const SaRecord& to) {
    const dataplane::SaParameters& a = from.parameters;
    const dataplane::SaParameters& b = to.parameters;
    return from.key == to.key && from.algorithm == to.algorithm &&
           from.algorithm_name == to.algorithm_name && from.window == to.window && a.spi == b.spi &&
           a.source == b.source && a.destination == b.destination &&
           a.tunnel_mode == b.tunnel_mode && a.extended == b.extended &&
           a.udp_source == b.udp_source && a.udp_destination == b.udp_destination;
}

std::uint64_t sequence_limit(const SaRecord& record) {
    const std::uint64_t numbers = record.parameters.extended ? kNumbersExtended : kNumbersShort;
    return record.hard.packets ? std::min(numbers, saturated(*record.hard.packets, 1)) : numbers;
}

std::string refusal_of(const SaRecord& record) {
    if (!record.algorithm) {
        return fmt::format("the algorithm {} is not known here", record.algorithm_name);
    }
    const tunnels::EspAlgorithmRow& row = tunnels::row_of(*record.algorithm);
    if (!row.encrypts) {
        return fmt::format("the algorithm {} does not encrypt", row.name);
    }
    if (record.secret.size() != row.key_bytes()) {
        return fmt::format(
            "its key has {} bytes; {} needs {}", record.secret.size(), row.name, row.key_bytes()
        );
    }
    return {};
}

void read_use(SaRecord& record, std::uint64_t now_s) {
    SaUsed used = record.used;
    const auto read = [](const std::atomic<std::uint64_t>& counter) {
        return counter.load(std::memory_order_relaxed);
    };
    if (record.out) {
        used.packets = read(record.out->packets);
        used.bytes = read(record.out->bytes);
        used.sequence = record.out->next() - 1;
    } else if (record.in) {
        used.packets = read(record.in->packets);
        used.bytes = read(record.in->bytes);
        used.sequence = record.in->highest();
        used.replayed = read(record.in->refusals.replayed);
        used.late = read(record.in->refusals.late);
        used.not_authentic = read(record.in->refusals.not_authentic);
        used.malformed = read(record.in->refusals.malformed);
    }
    if (used.packets != record.used.packets) {
        record.used_s = now_s;
    }
    record.used = used;
}

std::string reached(const SaRecord& record, const SaLifetime& lifetime, std::uint64_t uptime_s) {
    // Outbound packets are counted by their numbers, which a restart does not begin anew.
    const std::uint64_t packets = record.outbound ? record.used.sequence : record.used.packets;
    if (lifetime.packets && packets >= *lifetime.packets) {
        return fmt::format("{} packets", *lifetime.packets);
    }
    if (lifetime.bytes && record.used.bytes >= *lifetime.bytes) {
        return fmt::format("{} bytes", *lifetime.bytes);
    }
    if (lifetime.seconds && !record.by_ike && uptime_s - record.arrived_s >= *lifetime.seconds) {
        return fmt::format("{} s", *lifetime.seconds);
    }
    return {};
}

bool runs_out(const SaRecord& record) {
    const std::uint64_t numbers = record.parameters.extended ? kNumbersExtended : kNumbersShort;
    return record.used.sequence >= numbers - numbers / 8;
}

SaStatus status_of(const SaRecord& record, std::uint64_t now_s, std::uint64_t uptime_s) {
    SaStatus status;
    for (const std::string& tunnel : record.tunnels) {
        status.tunnel += (status.tunnel.empty() ? "" : ", ") + tunnel;
    }
    const dataplane::SaParameters& parameters = record.parameters;
    status.outbound = record.outbound;
    status.by_ike = record.by_ike;
    status.current = record.lives() && !record.outbound;
    status.spi = parameters.spi;
    status.source = parameters.source;
    status.destination = parameters.destination;
    status.algorithm = record.algorithm;
    status.algorithm_name = record.algorithm ? std::string(tunnels::row_of(*record.algorithm).name)
                                             : record.algorithm_name;
    status.mode = parameters.tunnel_mode ? EspMode::tunnel : EspMode::transport;
    status.extended = parameters.extended;
    status.replay_window = record.outbound ? 0 : record.window;
    status.udp_source = parameters.udp_source;
    status.udp_destination = parameters.udp_destination;
    status.age_s = age_of(record, now_s, uptime_s);
    status.packets = record.used.packets;
    status.bytes = record.used.bytes;
    status.sequence = record.used.sequence;
    status.replayed = record.used.replayed;
    status.late = record.used.late;
    status.not_authentic = record.used.not_authentic;
    status.malformed = record.used.malformed;
    status.soft = record.soft;
    status.hard = record.hard;
    status.left.bytes = left_of(record.hard.bytes, record.used.bytes);
    status.left.packets =
        left_of(record.hard.packets, record.outbound ? record.used.sequence : record.used.packets);
    status.left.seconds = left_of(record.hard.seconds, status.age_s);
    status.soft_expired = record.soft_expired;
    status.trouble = record.trouble.empty() ? record.warning : record.trouble;
    return status;
}

std::uint32_t plain_bytes(
    const dataplane::SaParameters& parameters, tunnels::EspAlgorithm algorithm, std::uint32_t bytes
) {
    constexpr std::uint32_t kUdpHeader = 8;
    const std::uint32_t ip = parameters.destination.is_v4() ? 20 : 40;
    const std::uint32_t front = ip + (parameters.udp_destination != 0 ? kUdpHeader : 0);
    const auto inside = static_cast<std::uint32_t>(
        tunnels::esp_payload_bytes_max(tunnels::row_of(algorithm), bytes - std::min(bytes, front))
    );
    return inside == 0 || parameters.tunnel_mode ? inside : ip + inside;
}

std::uint32_t plain_bytes_before_keys(const EspTunnel& tunnel, std::uint32_t bytes) {
    dataplane::SaParameters parameters;
    parameters.destination = tunnel.remote;
    // Of the algorithms that an IKE daemon may agree on, the one that adds most.
    tunnels::EspAlgorithm algorithm = tunnels::EspAlgorithm::aes_cbc_256_sha256;
    bool in_udp = tunnel.udp_encap;
    if (tunnel.esp) {
        algorithm = tunnel.esp->algorithm;
        parameters.tunnel_mode = tunnel.esp->mode == EspMode::tunnel;
        in_udp = tunnel.esp->udp_encap.has_value();
    }
    parameters.udp_destination = in_udp ? tunnels::kEspUdpPort : 0;
    return plain_bytes(parameters, algorithm, bytes);
}

std::string name_of(const SaRecord& record) {
    std::string tunnels;
    for (const std::string& tunnel : record.tunnels) {
        tunnels += (tunnels.empty() ? "" : ", ") + tunnel;
    }
    return fmt::format(
        "{} SA {:#010x} of tunnel {}",
        record.outbound ? "outbound" : "inbound",
        record.parameters.spi,
        tunnels
    );
}

}  // namespace culvert::ctl
