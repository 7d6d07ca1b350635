// SPDX-License-Identifier: GPL-2.0-or-later
//
// The encryption of a switch's tunnels: gives the SaDatabase the tunnels as they are resolved, and
// what the kernel has; tells the IKE daemon which tunnels want keys; tells the kernel how its SAs
// are used. What it stands on is opened when the first encrypted tunnel needs it. Control thread
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ctl/sa_database.hpp"
#include "ctl/switch_model.hpp"
#include "ctl/xfrm.hpp"

namespace culvert::ctl {

class Ike;
struct IkeTunnel;

/// What encryption works with; all outlive it. What is missing is trouble for the tunnels that need
/// it, which stay shut.
struct EncryptionParts {
    std::string state_folder;                  ///< Of sequence numbers; empty: none.
    std::string trouble;                       ///< Why nothing can be encrypted; empty: it can.
    std::function<Result<Xfrm*>()> open_xfrm;  ///< Called until it succeeds. May be empty.
    Ike* ike = nullptr;
    /// Asks an IKE daemon of somebody else for a tunnel's SA (acquire.hpp). May be empty.
    std::function<Result<void>(
        const tunnels::IpAddress& local, const tunnels::IpAddress& remote, std::uint16_t udp_port
    )>
        acquire;
};

class Encryption {
public:
    explicit Encryption(EncryptionParts parts);
    ~Encryption();
    Encryption(const Encryption&) = delete;
    Encryption& operator=(const Encryption&) = delete;

    /// Takes the model's tunnels as they are now, before a snapshot is made of them, and writes to
    /// each how its encryption stands.
    void configure(SwitchModel& model, const IkeDaemonConfig& ike);
    /// Xfrm's descriptor is readable. True: a snapshot is due.
    [[nodiscard]] bool on_xfrm();
    /// About ten times a second. As on_xfrm().
    [[nodiscard]] bool tick();

    [[nodiscard]] const SaDatabase& associations() const { return database_; }
    /// Files may hold something else than before. True: configure() is to be called for it.
    [[nodiscard]] bool read_files_anew();

private:
    void open_store();
    bool open_kernel();
    bool tick_database();
    void tell_kernel();
    [[nodiscard]] TunnelEncryption status_of(const SwitchPort& port) const;
    void acquire();
    void remove_unlisted(const std::vector<std::uint32_t>& spis);
    void tell_ike(const SwitchModel& model, const IkeDaemonConfig& ike);

    EncryptionParts parts_;
    SequenceStore store_;
    SaDatabase database_;
    Xfrm* xfrm_ = nullptr;
    std::vector<EspTunnel> tunnels_;
    bool by_ike_ = false;  ///< Some tunnel has its keys by IKE.
    std::string kernel_trouble_;
    std::map<std::string, tunnels::IpAddress> ike_locals_;  ///< Where tunnels sent from last.
    std::uint64_t uptime_s_ = 0;
    bool ike_configured_ = false;
    bool changed_ = false;  ///< The IKE daemon's part of what is shown.
};

/// What of a tunnel of the model decides about its encryption. Precondition: it is encrypted.
[[nodiscard]] EspTunnel make_esp_tunnel(const SwitchPort& port, IkeControl control);
/// Precondition: it has its keys by IKE, and `local` is where it sends from.
[[nodiscard]] IkeTunnel make_ike_tunnel(const SwitchPort& port, const tunnels::IpAddress& local);

}  // namespace culvert::ctl
