// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which of the security associations each tunnel uses: what the SaDatabase shows to the rest. A
// pure function of records and of what was chosen before. Control thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ctl/sa_record.hpp"

namespace culvert::ctl {

/// A newer outbound SA is used after this time even when the older one is still there and nothing
/// came by the newer inbound one.
inline constexpr std::uint64_t kNewerOutboundS = 10;

using SaRecords = std::vector<std::unique_ptr<SaRecord>>;

struct SaChoice {
    std::map<std::string, std::shared_ptr<const dataplane::EspPolicy>> policies;  ///< By tunnel.
    std::map<std::string, TunnelEncryption> states;
    std::vector<std::shared_ptr<dataplane::InboundSa>> inbound;
    std::vector<tunnels::IpAddress> remotes;  ///< Of encrypted tunnels.
    std::vector<std::uint32_t> host_spis;     ///< Sorted.
    bool may_grow = false;
    bool undecided = false;  ///< A newer outbound SA waits for its time. Not compared.

    [[nodiscard]] bool operator==(const SaChoice& other) const;
};

/// Policies that stay as they were stay the same object. An outbound SA is used as long as it lives
/// or until the peer has shown that it has a newer one: of two ends one has new SAs first, and the
/// other could not open what is sent by them yet.
[[nodiscard]] SaChoice choose_associations(
    const SaRecords& records,
    const std::vector<EspTunnel>& tunnels,
    const SaChoice& before,
    std::uint64_t uptime_s
);

}  // namespace culvert::ctl
