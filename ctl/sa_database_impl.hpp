// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a SaDatabase keeps. Only its own files include this: sa_database.cpp (what comes in, what is
// made of it, what is to be seen) and sa_watch.cpp (time).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ctl/log.hpp"
#include "ctl/sa_choice.hpp"
#include "ctl/sa_database.hpp"
#include "ctl/sa_record.hpp"

namespace culvert::ctl {

/// How long the numbers of a key are remembered that the kernel removed: it may add it again.
inline constexpr std::uint64_t kRememberS = 60;

struct SaDatabase::Impl {
    explicit Impl(SequenceStore& kept) : store(kept) {}

    void insert(SaRecord record);
    void drop(SaRecord& record);
    void retire(SaRecord& record);
    void forget_retired();
    void configure_one(const EspTunnel& tunnel, SaRecord wanted);
    void take(const KernelSa& association);
    void remove(const KernelSaRemoved& removed);
    void assign();
    void make_objects();
    void make_inbound(const std::vector<SaRecord*>& wanted);
    void make_outbound(const std::vector<SaRecord*>& wanted);
    void watch(SaRecord& record);
    void end(SaRecord& record, const std::string& why);
    void extend();
    void note_received();
    bool settle();

    SequenceStore& store;
    std::string trouble;
    std::vector<EspTunnel> tunnels;
    SaRecords records;
    SaChoice choice;  ///< What there is to see from outside.
    std::uint64_t now_s = 0;
    std::uint64_t uptime_s = 0;
    std::uint64_t order = 0;
    std::uint32_t next_id = 1;
    bool dirty = false;          ///< Something ended, or can be tried again, since the last look.
    std::uint64_t synced_s = 0;  ///< Uptime at which received numbers were synced last.
    LogLimiter received_log{logger("esp"), 1, std::chrono::minutes(1)};
    std::vector<std::pair<SaStatus, bool>> expired;  ///< To be told.
    /// Keys that the kernel removed, which the store forgets later; and since when.
    std::vector<std::pair<SaFingerprint, std::uint64_t>> retired;
};

/// Where the numbers end that are written down together, of those from `from` on.
[[nodiscard]] inline std::uint64_t end_of_block(const SaRecord& record, std::uint64_t from) {
    return record.limit - from > record.block ? from + record.block : record.limit;
}

}  // namespace culvert::ctl
