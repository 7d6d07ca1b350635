// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which sequence numbers of which SA may have been used already, on disk. An outbound number makes
// the IV, and one that is used twice with a key breaks its encryption. So numbers are written down
// before they are given out, many at once, and after a restart, however this process ended, the
// next one goes on behind them. Of an inbound SA the highest number received is noted now and then:
// a replay window begins there, which old packets do not pass, and which knows the high half of
// extended numbers. A key is known by a fingerprint, from which it cannot be found. Control thread
// only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ctl/descriptor.hpp"
#include "dataplane/result.hpp"
#include "tunnels/esp/secret.hpp"

namespace culvert::ctl {

using dataplane::Result;

using SaFingerprint = std::array<std::byte, 32>;  ///< SHA-256.

/// Of the key and its salt alone: one that gets another SPI or peer keeps its numbers, as it is
/// key, salt and number that must not come together twice.
[[nodiscard]] SaFingerprint fingerprint_of(const tunnels::Secret& key);

class SequenceStore {
public:
    /// Takes the folder for this process, which nobody else may have then, and reads what is in it;
    /// makes it (mode 0700) when it is not there. A file that cannot be read or is damaged is an
    /// error: what it said is not known, so no SA may be used. Can be called again after an error.
    [[nodiscard]] Result<void> open(const std::string& folder);
    [[nodiscard]] bool is_open() const { return lock_.is_open(); }

    /// The first number that was never written down as used; 1 for a key that is new.
    [[nodiscard]] std::uint64_t next(const SaFingerprint& key) const;

    struct Reservation {
        SaFingerprint key{};
        std::uint64_t end = 0;    ///< Numbers below it may be used.
        bool negotiated = false;  ///< By an IKE daemon: such a key never comes back.
    };
    /// Writes all of them down (a new file, synced, renamed over the old one). After an error none
    /// of them may be used.
    [[nodiscard]] Result<void> reserve(const std::vector<Reservation>& reservations);

    /// The highest number that was noted; 0: none.
    [[nodiscard]] std::uint64_t received(const SaFingerprint& key) const;
    struct Received {
        SaFingerprint key{};
        std::uint64_t highest = 0;
        bool negotiated = false;
    };
    /// Notes them in memory; write_received() writes. Never goes back.
    void note_received(const Received& received);
    /// Writes what was noted since the last time. It outlives this process; `synced`: the host too.
    [[nodiscard]] Result<void> write_received(bool synced);

    /// A key that will never come back; with the next write.
    void forget(const SaFingerprint& key);
    /// All negotiated keys but these.
    void forget_negotiated_but(const std::set<SaFingerprint>& kept);

    struct Entry {
        std::uint64_t number = 0;
        bool negotiated = false;
    };
    using Entries = std::map<SaFingerprint, Entry>;

private:
    [[nodiscard]] Result<void> read(const std::string& folder);

    std::string folder_;
    Descriptor lock_;  ///< Of the lock file.
    Entries ends_;
    Entries received_;
    bool received_changed_ = false;
};

/// The text of such a file and back: a line with the version, a line for each key in hexadecimal,
/// and a line with the SHA-256 of all before.
[[nodiscard]] std::string write_sequences(const SequenceStore::Entries& entries);
/// Nothing that is not whole and as written; the sentence says what is wrong.
[[nodiscard]] Result<SequenceStore::Entries> parse_sequences(const std::string& text);

}  // namespace culvert::ctl
