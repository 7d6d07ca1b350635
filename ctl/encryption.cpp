// SPDX-License-Identifier: GPL-2.0-or-later
//
// See encryption.hpp.

#include "ctl/encryption.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "ctl/ike.hpp"
#include "ctl/log.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

std::uint64_t seconds_of(clockid_t clock) {
    struct timespec now {};
    ::clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec);
}

std::optional<tunnels::IpAddress> local_of(const SwitchPort& port) {
    return port.resolution.state == Resolution::State::no_route ? port.tunnel.local_ip
                                                                : port.resolution.source;
}

std::string key_text(const std::optional<std::uint32_t>& key, bool by_flow) {
    return by_flow ? "flow" : key ? std::to_string(*key) : "";
}

}  // namespace

EspTunnel make_esp_tunnel(const SwitchPort& port, IkeControl control) {
    const TunnelConfig& config = port.tunnel;
    const auto& outer = tunnels::kProtocols[*tunnels::find_protocol(config.type)].outer;
    EspTunnel tunnel;
    tunnel.name = port.name;
    tunnel.type = config.type;
    tunnel.udp_port = outer.default_udp_port == 0 ? std::uint16_t{0} : config.dst_port;
    tunnel.local = local_of(port);
    tunnel.remote = config.remote_ip;
    tunnel.esp = config.esp;
    tunnel.by_ike = config.ike.has_value();
    tunnel.udp_encap = config.ike && config.ike->udp_encap;
    tunnel.reqid = reqid_of(port.name);
    tunnel.by_selector = control == IkeControl::follow;
    if (tunnel.by_ike && tunnel.local && !tunnel.by_selector) {
        tunnel.foreign_reqid =
            foreign_reqid_of(*config.ike, tunnel.udp_port, *tunnel.local, tunnel.remote);
    }
    if (config.remote_flow) {
        tunnel.trouble = "a tunnel without one remote_ip cannot be encrypted";
    }
    return tunnel;
}

IkeTunnel make_ike_tunnel(const SwitchPort& port, const tunnels::IpAddress& local) {
    const TunnelConfig& config = port.tunnel;
    const EspTunnel common = make_esp_tunnel(port, IkeControl::vici);
    const std::string in = key_text(config.in_key, config.in_key_flow);
    const std::string out = key_text(config.out_key, config.out_key_flow);
    IkeTunnel tunnel;
    tunnel.name = common.name;
    tunnel.type = common.type;
    tunnel.udp_port = common.udp_port;
    tunnel.key = in == out ? in : in + "/" + out;
    tunnel.local = local;
    tunnel.remote = common.remote;
    tunnel.config = *config.ike;
    tunnel.reqid = common.reqid;
    return tunnel;
}

Encryption::Encryption(EncryptionParts parts) : parts_(std::move(parts)), database_(store_) {
    database_.on_expired = [this](const SaStatus& status, bool hard) {
        if (xfrm_ == nullptr) {
            return;
        }
        if (const auto told = xfrm_->expire(status.spi, status.destination, hard); !told) {
            logger("esp").warn("{}", told.error());
        }
    };
    if (parts_.ike != nullptr) {
        parts_.ike->on_change = [this] { changed_ = true; };
        parts_.ike->on_listed = [this](const auto& spis) { remove_unlisted(spis); };
    }
}

Encryption::~Encryption() {
    if (parts_.ike != nullptr) {
        parts_.ike->on_change = nullptr;
        parts_.ike->on_listed = nullptr;
    }
    database_.flush();
}

void Encryption::configure(SwitchModel& model, const IkeDaemonConfig& ike) {
    const bool had_ike = by_ike_;
    const bool had_any = !tunnels_.empty();
    tunnels_.clear();
    by_ike_ = false;
    for (const auto& [index, port] : model.ports) {
        if (port.role == PortRole::tunnel && port.tunnel.is_encrypted()) {
            tunnels_.push_back(make_esp_tunnel(port, ike.control));
            by_ike_ = by_ike_ || tunnels_.back().by_ike;
        }
    }
    if (!tunnels_.empty()) {
        open_store();
    }
    if (!had_any && !tunnels_.empty()) {
        static_cast<void>(tick_database());  // It learns what time it is.
    }
    if (by_ike_) {
        static_cast<void>(open_kernel());
    }
    static_cast<void>(database_.configure(tunnels_));
    if (by_ike_ || had_ike) {
        tell_ike(model, ike);
    }
    if (had_any && tunnels_.empty()) {
        database_.flush();
    }
    for (auto& [index, port] : model.ports) {
        port.encryption = port.role == PortRole::tunnel && port.tunnel.is_encrypted()
                              ? std::optional(status_of(port))
                              : std::nullopt;
    }
}

/// Tried again until it works: another daemon may let go of the folder.
void Encryption::open_store() {
    if (store_.is_open() || !parts_.trouble.empty()) {
        database_.set_trouble(parts_.trouble);
        return;
    }
    const auto opened = parts_.state_folder.empty()
                            ? Result<void>(tl::unexpected(std::string("there is no state folder")))
                            : store_.open(parts_.state_folder);
    database_.set_trouble(opened ? "" : opened.error());
}

/// As tick().
bool Encryption::open_kernel() {
    if (xfrm_ != nullptr) {
        return false;
    }
    const auto opened = parts_.open_xfrm
                            ? parts_.open_xfrm()
                            : Result<Xfrm*>(tl::unexpected(std::string("there is no XFRM")));
    if (!opened) {
        const bool is_new = kernel_trouble_ != opened.error();
        if (is_new) {
            logger("esp").error("{}", opened.error());
        }
        kernel_trouble_ = opened.error();
        return is_new;
    }
    kernel_trouble_.clear();
    xfrm_ = *opened;
    static_cast<void>(database_.follow(xfrm_->read_events()));
    database_.forget_removed();
    return true;
}

bool Encryption::tick_database() {
    return database_.tick(seconds_of(CLOCK_REALTIME), seconds_of(CLOCK_BOOTTIME));
}

void Encryption::tell_ike(const SwitchModel& model, const IkeDaemonConfig& ike) {
    if (parts_.ike == nullptr) {
        return;
    }
    std::vector<IkeTunnel> wanted;
    std::map<std::string, tunnels::IpAddress> locals;
    for (const auto& [index, port] : model.ports) {
        const bool negotiates = port.role == PortRole::tunnel && port.tunnel.ike &&
                                ike.control == IkeControl::vici && !port.tunnel.remote_flow;
        if (!negotiates) {
            continue;
        }
        // A route that is away for a moment does not end what was negotiated.
        std::optional<tunnels::IpAddress> local = local_of(port);
        if (const auto last = ike_locals_.find(port.name); !local && last != ike_locals_.end()) {
            local = last->second;
        }
        if (local) {
            locals.emplace(port.name, *local);
            wanted.push_back(make_ike_tunnel(port, *local));
        }
    }
    ike_locals_ = std::move(locals);
    ike_configured_ = true;
    parts_.ike->configure(ike, wanted);
}

bool Encryption::read_files_anew() {
    if (parts_.ike != nullptr && by_ike_) {
        parts_.ike->read_files_anew();
    }
    return by_ike_;
}

bool Encryption::on_xfrm() {
    return xfrm_ != nullptr && database_.follow(xfrm_->read_events());
}

bool Encryption::tick() {
    if (parts_.ike != nullptr && ike_configured_) {
        parts_.ike->tick(
        );  // Also when its last tunnel is gone, of which the IKE daemon hears yet.
    }
    if (tunnels_.empty()) {
        return false;
    }
    const std::uint64_t uptime_s = seconds_of(CLOCK_BOOTTIME);
    const bool next_second = uptime_s != uptime_s_;
    uptime_s_ = uptime_s;
    if (next_second) {
        open_store();
    }
    bool changed = std::exchange(changed_, false);
    if (next_second && by_ike_) {
        changed = open_kernel() || changed;
        changed = on_xfrm() || changed;
    }
    changed = tick_database() || changed;
    if (next_second && xfrm_ != nullptr) {
        tell_kernel();
    }
    if (next_second) {
        acquire();
    }
    return changed;
}

/// An IKE daemon of somebody else waits for packets of the kernel's, of which there are none.
void Encryption::acquire() {
    for (const EspTunnel& tunnel : tunnels_) {
        const auto policy = database_.policy_of(tunnel.name);
        if (!parts_.acquire || !tunnel.by_ike || !tunnel.by_selector || !tunnel.local ||
            (policy && policy->out)) {
            continue;
        }
        if (auto asked = parts_.acquire(*tunnel.local, tunnel.remote, tunnel.udp_port); !asked) {
            logger("esp").debug("{}: {}", tunnel.name, asked.error());
        }
    }
}

/// What a charon that crashed has left in the kernel.
void Encryption::remove_unlisted(const std::vector<std::uint32_t>& spis) {
    for (const KernelSaRemoved& stale : database_.unlisted(spis)) {
        logger("esp").info("SA {:#010x} is not known to the IKE daemon: removed", stale.spi);
        if (xfrm_ == nullptr) {
            continue;
        }
        if (auto told = xfrm_->expire(stale.spi, stale.destination, true); !told) {
            logger("esp").debug("{}", told.error());
        }
    }
}

/// The IKE daemon asks the kernel for it, to see whether a peer is alive.
void Encryption::tell_kernel() {
    for (const SaUse& use : database_.uses()) {
        if (const auto told = xfrm_->note_use(use); !told) {
            logger("esp").debug("{}", told.error());
        }
    }
}

TunnelEncryption Encryption::status_of(const SwitchPort& port) const {
    TunnelEncryption status = database_.encryption_of(port.name);
    if (status.established || !port.tunnel.ike) {
        return status;
    }
    if (!kernel_trouble_.empty()) {
        status.trouble = kernel_trouble_;
    } else if (parts_.ike != nullptr) {
        const IkeStatus ike = parts_.ike->status(port.name);
        status.trouble = ike.trouble.empty() ? status.trouble : ike.trouble;
    }
    return status;
}

}  // namespace culvert::ctl
