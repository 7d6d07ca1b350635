// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which sequence numbers of which outbound SA may have been used already, on disk: a number makes
// the IV, and one that is used twice with a key breaks its encryption. So numbers are written down
// before they are given out, many at once, and after a restart, however this process ended, the
// next one goes on behind them. An SA is known by a fingerprint of key, SPI and destination, from
// which the key cannot be found. Control thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataplane/result.hpp"
#include "tunnels/address.hpp"
#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

using dataplane::Result;

using SaFingerprint = std::array<std::byte, 32>;  ///< SHA-256.

[[nodiscard]] SaFingerprint fingerprint_of(
    const tunnels::Secret& key, std::uint32_t spi, const tunnels::IpAddress& destination
);

class SequenceStore {
public:
    /// Reads the file, which need not be there. A file that cannot be read or is damaged is an
    /// error: what it said is not known, so no SA may be used.
    [[nodiscard]] Result<void> open(const std::string& path);

    /// The first number that was never written down as used; 1 for an SA that is new.
    [[nodiscard]] std::uint64_t next(const SaFingerprint& association) const;

    struct Reservation {
        SaFingerprint association;
        std::uint64_t end = 0;  ///< Numbers below it may be used.
    };
    /// Writes all of them down (a new file, synced, renamed over the old one). After an error none
    /// of them may be used.
    [[nodiscard]] Result<void> reserve(const std::vector<Reservation>& reservations);
    /// SAs whose keys will never come back; with the next write.
    void forget(const SaFingerprint& association);

private:
    std::string path_;
    std::map<SaFingerprint, std::uint64_t> ends_;
};

}  // namespace culvert::ctl
