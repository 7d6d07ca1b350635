// SPDX-License-Identifier: GPL-2.0-or-later
//
// What time does to security associations: their ends, sequence numbers ahead of use, received
// numbers that are noted. See sa_database.hpp.

#include <algorithm>

#include "ctl/sa_database_impl.hpp"

namespace culvert::ctl {

namespace {

/// Received numbers reach the disk itself so often; a crash of the process loses less.
constexpr std::uint64_t kReceivedSyncS = 60;

}  // namespace

/// It is not used any more, and will not be: a configured key that has ended stays so after a
/// restart.
void SaDatabase::Impl::end(SaRecord& record, const std::string& why) {
    if (record.outbound && !record.by_ike && store.is_open() &&
        store.next(record.key) < record.limit) {
        if (const auto noted = store.reserve({{record.key, record.limit, false}}); !noted) {
            logger("esp").error("{}: {}", name_of(record), noted.error());
        }
    }
    drop(record);
    record.ended = true;
    dirty = true;
    record.trouble = why + (record.by_ike ? "" : ": it needs a new key");
}

void SaDatabase::Impl::watch(SaRecord& record) {
    read_use(record, now_s);
    const std::string hard = reached(record, record.hard, uptime_s);
    if (!hard.empty() || (record.outbound && record.used.sequence + 1 >= record.limit)) {
        end(record,
            hard.empty() ? "its last sequence number is used"
                         : "its hard lifetime of " + hard + " is over");
        if (record.by_ike) {
            expired.emplace_back(status_of(record, now_s, uptime_s), true);
        }
        return;
    }
    const std::string soft = reached(record, record.soft, uptime_s);
    if (record.soft_expired || (soft.empty() && !(record.outbound && runs_out(record)))) {
        return;
    }
    record.soft_expired = true;
    logger("esp").warn(
        "{}: {}; it has to be replaced",
        name_of(record),
        soft.empty() ? "seven eighths of its sequence numbers are used"
                     : "its soft lifetime of " + soft + " is over"
    );
    if (record.by_ike) {
        expired.emplace_back(status_of(record, now_s, uptime_s), false);
    }
}

/// Numbers are written down before half of those that are is used.
void SaDatabase::Impl::extend() {
    std::vector<SaRecord*> extended;
    std::vector<SequenceStore::Reservation> reservations;
    for (const auto& record : records) {
        if (!record->out) {
            continue;
        }
        const std::uint64_t next = record->out->next();
        const std::uint64_t end = record->out->end();
        if (end >= record->limit || end - std::min(end, next) > record->block / 2) {
            continue;
        }
        if (uptime_s - record->extended_s < kBlockLastsS) {
            const std::uint64_t most =
                record->parameters.extended ? kBlockExtendedMax : kBlockShortMax;
            record->block = std::min(record->block * 2, most);
        }
        extended.push_back(record.get());
        reservations.push_back({record->key, end_of_block(*record, next), record->by_ike});
    }
    if (extended.empty()) {
        return;
    }
    const auto reserved = store.reserve(reservations);
    for (std::size_t i = 0; i < extended.size(); ++i) {
        if (reserved) {
            extended[i]->out->allow_below(reservations[i].end);
            extended[i]->extended_s = uptime_s;
            extended[i]->warning.clear();
        } else {
            extended[i]->warning = reserved.error();
        }
    }
}

void SaDatabase::Impl::note_received() {
    for (const auto& record : records) {
        if (record->in) {
            store.note_received({record->key, record->in->highest(), record->by_ike});
        }
    }
    const bool synced = uptime_s - synced_s >= kReceivedSyncS;
    if (const auto written = store.write_received(synced); !written) {
        received_log.log(LogLimiter::Clock::now(), spdlog::level::warn, "{}", written.error());
    }
    if (synced) {
        synced_s = uptime_s;
    }
}

bool SaDatabase::tick(std::uint64_t now_s, std::uint64_t uptime_s) {
    Impl& impl = *impl_;
    const bool next_second = uptime_s != impl.uptime_s;
    impl.now_s = now_s;
    impl.uptime_s = uptime_s;
    for (const auto& record : impl.records) {
        if (record->lives()) {
            impl.watch(*record);
        }
    }
    impl.extend();
    if (next_second) {
        impl.note_received();
        impl.forget_retired();
    }
    // What is missing is tried again, and troubles are said, once a second.
    const bool changed = (next_second || impl.choice.undecided || impl.dirty) && impl.settle();
    impl.dirty = false;
    for (const auto& [status, hard] : std::exchange(impl.expired, {})) {
        if (on_expired) {
            on_expired(status, hard);
        }
    }
    return changed;
}

void SaDatabase::flush() {
    impl_->synced_s = 0;
    impl_->uptime_s = std::max(impl_->uptime_s, kReceivedSyncS);
    impl_->note_received();
}

}  // namespace culvert::ctl
