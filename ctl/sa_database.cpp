// SPDX-License-Identifier: GPL-2.0-or-later
//
// The database of security associations: what comes in and what is made of it. See sa_database.hpp;
// what is said of one SA is in sa_record.cpp, which tunnel gets which in sa_choice.cpp, what time
// does in sa_watch.cpp.

#include "ctl/sa_database.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "ctl/sa_database_impl.hpp"

namespace culvert::ctl {

namespace {

std::uint64_t first_block(const SaRecord& record) {
    return record.parameters.extended ? kBlockExtended : kBlockShort;
}

/// Takes the lifetimes of `to`.
void set_ends(SaRecord& record, const SaRecord& to) {
    if (record.hard == to.hard && record.soft == to.soft) {
        return;
    }
    record.hard = to.hard;
    record.soft = to.soft;
    record.soft_expired = false;
    record.limit = sequence_limit(record);
    if (record.out) {
        record.out->allow_below(std::min(record.out->end(), record.limit));
    }
}

bool before_name(const EspTunnel& a, const EspTunnel& b) {
    return a.name < b.name;
}

}  // namespace

// --- what comes in ---

void SaDatabase::Impl::insert(SaRecord record) {
    record.order = ++order;
    record.arrived_s = uptime_s;
    if (record.added_s == 0) {
        record.added_s = now_s;
    }
    record.limit = sequence_limit(record);
    record.block = first_block(record);
    record.trouble = refusal_of(record);
    if (!record.trouble.empty()) {
        record.secret.wipe();
        record.ended = true;
    }
    records.push_back(std::make_unique<SaRecord>(std::move(record)));
}

/// The object may be with workers until the next snapshot: what comes after it goes on behind the
/// numbers that it may use.
void SaDatabase::Impl::drop(SaRecord& record) {
    if (record.in) {
        store.note_received({record.key, record.in->highest(), record.by_ike});
    }
    record.out.reset();
    record.in.reset();
    record.secret.wipe();
}

/// An IKE daemon that changes an SA's addresses or ports deletes it and adds it anew with the same
/// key, so its numbers are remembered for a while.
void SaDatabase::Impl::retire(SaRecord& record) {
    drop(record);
    retired.emplace_back(record.key, uptime_s);
}

void SaDatabase::Impl::forget_retired() {
    std::erase_if(retired, [&](const auto& key_and_time) {
        const auto& key = key_and_time.first;
        if (uptime_s < key_and_time.second + kRememberS) {
            return false;
        }
        const bool is_back = std::any_of(records.begin(), records.end(), [&](const auto& record) {
            return record->key == key;
        });
        if (!is_back) {
            store.forget(key);
        }
        return true;
    });
}

/// One direction of a configured SA.
void SaDatabase::Impl::configure_one(const EspTunnel& tunnel, SaRecord wanted) {
    const auto found = std::find_if(records.begin(), records.end(), [&](const auto& record) {
        return !record->by_ike && record->outbound == wanted.outbound &&
               record->serves(tunnel.name);
    });
    if (found == records.end()) {
        insert(std::move(wanted));
        return;
    }
    SaRecord& there = **found;
    if (!same_association(there, wanted)) {
        drop(there);
        records.erase(found);
        insert(std::move(wanted));
        return;
    }
    set_ends(there, wanted);
}

bool SaDatabase::configure(std::vector<EspTunnel> tunnels) {
    std::sort(tunnels.begin(), tunnels.end(), before_name);
    if (tunnels == impl_->tunnels) {
        return false;
    }
    std::map<std::uint32_t, unsigned> reqids;
    for (const EspTunnel& tunnel : tunnels) {
        reqids[tunnel.reqid] += tunnel.by_ike ? 1 : 0;
    }
    std::set<std::string> configured;
    for (EspTunnel& tunnel : tunnels) {
        if (tunnel.by_ike && reqids[tunnel.reqid] > 1) {
            tunnel.trouble =
                "its name and another tunnel's have the same reqid, by which their keys "
                "would be mixed up: one of them has to be renamed";
        }
        if (tunnel.esp && tunnel.trouble.empty()) {
            configured.insert(tunnel.name);
        }
    }
    std::erase_if(impl_->records, [&](const auto& record) {
        const bool gone = !record->by_ike && !configured.contains(record->tunnels.front());
        if (gone) {
            impl_->drop(*record);
        }
        return gone;
    });
    for (const EspTunnel& tunnel : tunnels) {
        // While the way to the peer is unknown what there is stays: its numbers are worth keeping.
        if (configured.contains(tunnel.name) && tunnel.local) {
            impl_->configure_one(tunnel, configured_outbound(tunnel));
            impl_->configure_one(tunnel, configured_inbound(tunnel));
        }
    }
    impl_->tunnels = std::move(tunnels);
    impl_->assign();
    return impl_->settle();
}

void SaDatabase::Impl::take(const KernelSa& association) {
    SaRecord wanted = kernel_record(association);
    const auto found = std::find_if(records.begin(), records.end(), [&](const auto& record) {
        return record->by_ike && record->parameters.spi == wanted.parameters.spi &&
               record->parameters.destination == wanted.parameters.destination;
    });
    if (found == records.end()) {
        insert(std::move(wanted));
        return;
    }
    SaRecord& there = **found;
    if (!same_association(there, wanted)) {
        retire(there);
        records.erase(found);
        insert(std::move(wanted));
        return;
    }
    there.reqid = wanted.reqid;
    there.selector = wanted.selector;
    set_ends(there, wanted);
}

void SaDatabase::Impl::remove(const KernelSaRemoved& removed) {
    std::erase_if(records, [&](const auto& record) {
        const bool gone = record->by_ike && record->parameters.spi == removed.spi &&
                          record->parameters.destination == removed.destination;
        if (gone) {
            retire(*record);
        }
        return gone;
    });
}

bool SaDatabase::follow(const std::vector<XfrmEvent>& events) {
    for (const XfrmEvent& event : events) {
        if (const auto* association = std::get_if<KernelSa>(&event)) {
            impl_->take(*association);
        } else if (const auto* removed = std::get_if<KernelSaRemoved>(&event)) {
            impl_->remove(*removed);
        }
    }
    if (events.empty()) {
        return false;
    }
    impl_->assign();
    return impl_->settle();
}

void SaDatabase::forget_removed() {
    std::set<SaFingerprint> kept;
    for (const auto& record : impl_->records) {
        kept.insert(record->key);
    }
    impl_->store.forget_negotiated_but(kept);
}

std::vector<KernelSaRemoved> SaDatabase::unlisted(const std::vector<std::uint32_t>& spis) {
    const std::set<std::uint32_t> listed(spis.begin(), spis.end());
    std::vector<KernelSaRemoved> stale;
    for (const auto& record : impl_->records) {
        const bool missing =
            record->by_ike && !record->tunnels.empty() && !listed.contains(record->parameters.spi);
        // One that came while the list was made is in the next one.
        if (missing && record->missing) {
            stale.push_back({record->parameters.spi, record->parameters.destination});
        }
        record->missing = missing;
    }
    return stale;
}

// --- what is made of it ---

/// Which tunnels the kernel's SAs are for. One with a reqid of ours is for that tunnel alone.
void SaDatabase::Impl::assign() {
    std::multimap<std::uint32_t, const EspTunnel*> by_reqid;
    std::vector<const EspTunnel*> by_selector;
    for (const EspTunnel& tunnel : tunnels) {
        if (tunnel.by_ike) {
            by_reqid.emplace(tunnel.reqid, &tunnel);
        }
        if (tunnel.by_ike && tunnel.foreign_reqid != 0) {
            by_reqid.emplace(tunnel.foreign_reqid, &tunnel);
            by_reqid.emplace(tunnel.foreign_reqid + 1, &tunnel);
        }
        if (tunnel.by_ike && tunnel.by_selector && tunnel.trouble.empty()) {
            by_selector.push_back(&tunnel);
        }
    }
    for (const auto& record : records) {
        if (!record->by_ike) {
            continue;
        }
        record->tunnels.clear();
        const auto use = [&](const EspTunnel& tunnel, SaMatch match) {
            if (match != SaMatch::none && tunnel.trouble.empty()) {
                record->outbound = match == SaMatch::outbound;
                record->tunnels.push_back(tunnel.name);
            }
        };
        const auto [first, last] = by_reqid.equal_range(record->reqid);
        for (auto at = first; at != last; ++at) {
            use(*at->second, match_by_reqid(*record, *at->second));
        }
        if (first == last) {
            for (const EspTunnel* tunnel : by_selector) {
                use(*tunnel, match_by_selector(*record, *tunnel));
            }
        }
    }
}

/// Makes the objects that are missing. Outbound ones get their numbers when those are written down.
void SaDatabase::Impl::make_objects() {
    std::vector<SaRecord*> wanted;
    std::map<SaFingerprint, const SaRecord*> keys;
    std::map<std::pair<std::uint32_t, tunnels::IpAddress>, const SaRecord*> spis;
    const auto claim = [&](const SaRecord& record) -> const SaRecord* {
        const auto [key, is_new] = keys.try_emplace(record.key, &record);
        if (!is_new) {
            return key->second;
        }
        if (record.outbound) {
            return nullptr;
        }
        const auto [spi, is_first] =
            spis.try_emplace({record.parameters.spi, record.parameters.destination}, &record);
        return is_first ? nullptr : spi->second;
    };
    for (const auto& record : records) {
        if (record->lives()) {
            static_cast<void>(claim(*record));
        }
    }
    for (const auto& record : records) {
        if (record->lives() || record->ended || record->tunnels.empty()) {
            continue;
        }
        record->trouble = trouble;
        if (const SaRecord* other = trouble.empty() ? claim(*record) : nullptr) {
            record->trouble = fmt::format(
                "its {} the one of the {}",
                other->key == record->key ? "key is" : "SPI is",
                name_of(*other)
            );
        }
        if (record->trouble.empty()) {
            wanted.push_back(record.get());
        }
    }
    make_inbound(wanted);
    make_outbound(wanted);
}

void SaDatabase::Impl::make_inbound(const std::vector<SaRecord*>& wanted) {
    for (SaRecord* record : wanted) {
        if (record->outbound) {
            continue;
        }
        record->parameters.id = next_id++;
        // What was received before a restart stays received.
        record->in = std::make_shared<dataplane::InboundSa>(
            record->parameters,
            *record->algorithm,
            record->secret,
            record->window,
            std::max(store.received(record->key), record->kernel_received)
        );
        record->secret.wipe();
    }
}

void SaDatabase::Impl::make_outbound(const std::vector<SaRecord*>& wanted) {
    std::vector<std::pair<SaRecord*, std::uint64_t>> starts;
    std::vector<SequenceStore::Reservation> reservations;
    for (SaRecord* record : wanted) {
        if (!record->outbound) {
            continue;
        }
        // Also behind what the peer sent by the key, should the ends have changed theirs over.
        const std::uint64_t first = std::max(
            {store.next(record->key),
             store.received(record->key) + 1,
             record->by_ike ? record->kernel_sequence + 1 : 1}
        );
        if (first >= record->limit) {
            end(*record, "its last sequence number is used");
            continue;
        }
        starts.emplace_back(record, first);
        reservations.push_back({record->key, end_of_block(*record, first), record->by_ike});
    }
    if (starts.empty()) {
        return;
    }
    const auto reserved = store.reserve(reservations);
    for (const auto& [record, first] : starts) {
        if (!reserved) {
            record->trouble = reserved.error();
            continue;
        }
        record->parameters.id = next_id++;
        record->out = std::make_shared<dataplane::OutboundSa>(
            record->parameters, *record->algorithm, record->secret, first
        );
        record->out->allow_below(end_of_block(*record, first));
        record->secret.wipe();
        record->extended_s = uptime_s;
        record->used.sequence = first - 1;
    }
}

/// What came of all that, said in the log; whether anything is to be seen of it.
bool SaDatabase::Impl::settle() {
    make_objects();
    for (const auto& record : records) {
        const std::string& now = record->trouble.empty() ? record->warning : record->trouble;
        if (now != record->logged && !record->tunnels.empty()) {
            record->logged = now;
            if (!now.empty()) {
                logger("esp").warn("{}: {}", name_of(*record), now);
            }
        }
    }
    SaChoice next = choose_associations(records, tunnels, choice, uptime_s);
    const bool changed = !(next == choice);
    choice = std::move(next);
    return changed;
}

void SaDatabase::set_trouble(const std::string& trouble) {
    impl_->dirty = impl_->dirty || impl_->trouble != trouble;
    impl_->trouble = trouble;
}

// --- what is to be seen ---

SaDatabase::SaDatabase(SequenceStore& store) : impl_(std::make_unique<Impl>(store)) {}

SaDatabase::~SaDatabase() = default;

std::shared_ptr<const dataplane::EspPolicy> SaDatabase::policy_of(const std::string& tunnel) const {
    const auto found = impl_->choice.policies.find(tunnel);
    return found == impl_->choice.policies.end() ? nullptr : found->second;
}

TunnelEncryption SaDatabase::encryption_of(const std::string& tunnel) const {
    const auto found = impl_->choice.states.find(tunnel);
    return found == impl_->choice.states.end() ? TunnelEncryption{} : found->second;
}

dataplane::SaTable SaDatabase::table() const {
    const SaChoice& choice = impl_->choice;
    return {
        choice.inbound,
        {.remotes = choice.remotes, .host_spis = choice.host_spis, .may_grow = choice.may_grow}};
}

std::uint32_t SaDatabase::plain_mtu(const std::string& tunnel, std::uint32_t bytes) const {
    EspTunnel named;
    named.name = tunnel;
    const auto found =
        std::lower_bound(impl_->tunnels.begin(), impl_->tunnels.end(), named, before_name);
    if (found == impl_->tunnels.end() || found->name != tunnel) {
        return bytes;
    }
    const auto policy = policy_of(tunnel);
    return policy->out
               ? plain_bytes(policy->out->parameters(), policy->out->key().algorithm(), bytes)
               : plain_bytes_before_keys(*found, bytes);
}

std::vector<SaStatus> SaDatabase::list() const {
    std::vector<SaStatus> list;
    for (const auto& record : impl_->records) {
        if (record->tunnels.empty()) {
            continue;
        }
        read_use(*record, impl_->now_s);
        list.push_back(status_of(*record, impl_->now_s, impl_->uptime_s));
        for (const std::string& tunnel : record->tunnels) {
            const auto policy = policy_of(tunnel);
            list.back().current =
                list.back().current || (record->out && policy->out == record->out);
        }
    }
    return list;
}

std::vector<SaUse> SaDatabase::uses() {
    std::vector<SaUse> uses;
    for (const auto& record : impl_->records) {
        if (!record->by_ike || !record->lives()) {
            continue;
        }
        read_use(*record, impl_->now_s);
        if (record->used == record->told) {
            continue;
        }
        record->told = record->used;
        uses.push_back(
            {.spi = record->parameters.spi,
             .destination = record->parameters.destination,
             .bytes = record->used.bytes,
             .packets = record->used.packets,
             .used_s = record->used_s,
             .sequence = record->used.sequence,
             .outbound = record->outbound}
        );
    }
    return uses;
}

}  // namespace culvert::ctl
