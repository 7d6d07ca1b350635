// SPDX-License-Identifier: GPL-2.0-or-later
//
// MAC learning. See fdb.hpp.

#include "ctl/fdb.hpp"

#include <algorithm>

namespace culvert::ctl {

namespace {

// How many of the oldest entries are asked for recent use before one of them goes anyway.
constexpr unsigned kEvictionTries = 16;

}  // namespace

Fdb::LearnResult
Fdb::learn(const FdbKey& key, std::uint16_t port, std::uint32_t now_s, const LastUsed& last_used) {
    LearnResult result;
    const auto found = index_.find(key);
    if (found != index_.end()) {
        const auto entry = found->second;
        if (entry->fixed) {
            return result;
        }
        if (entry->port != port) {
            entry->port = port;
            result.learned = Learned::moved;
        }
        refresh(entry, now_s);
        return result;
    }
    if (ages_.size() >= size_max_) {
        result.evicted = evict_oldest(last_used);
    }
    index_[key] = ages_.insert(ages_.end(), {key, port, false, now_s});
    result.learned = Learned::added;
    return result;
}

void Fdb::refresh(Entries::iterator entry, std::uint32_t seen_s) {
    entry->last_seen_s = std::max(entry->last_seen_s, seen_s);
    ages_.splice(ages_.end(), ages_, entry);
}

void Fdb::refresh_if_present(const FdbKey& key, std::uint16_t port, std::uint32_t seen_s) {
    const auto found = index_.find(key);
    if (found != index_.end() && !found->second->fixed && found->second->port == port &&
        found->second->last_seen_s < seen_s) {
        refresh(found->second, seen_s);
    }
}

std::optional<FdbKey> Fdb::evict_oldest(const LastUsed& last_used) {
    for (unsigned i = 0; i < kEvictionTries && ages_.size() > 1; ++i) {
        const auto oldest = ages_.begin();
        const auto used = last_used(oldest->key);
        if (!used || *used <= oldest->last_seen_s) {
            break;
        }
        refresh(oldest, *used);
    }
    if (ages_.empty()) {
        return std::nullopt;
    }
    const FdbKey key = ages_.front().key;
    erase(key);
    return key;
}

bool Fdb::insert_fixed(const FdbKey& key, std::uint16_t port) {
    const auto found = index_.find(key);
    if (found != index_.end()) {
        if (found->second->fixed && found->second->port == port) {
            return false;
        }
        erase(key);
    }
    index_[key] = fixed_.insert(fixed_.end(), {key, port, true, 0});
    return true;
}

bool Fdb::erase(const FdbKey& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) {
        return false;
    }
    (found->second->fixed ? fixed_ : ages_).erase(found->second);
    index_.erase(found);
    return true;
}

const FdbEntry* Fdb::find(const FdbKey& key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &*found->second;
}

std::vector<FdbKey>
Fdb::expire(std::uint32_t now_s, std::uint32_t ageing_s, const LastUsed& last_used) {
    std::vector<FdbKey> expired;
    // Refreshing moves an entry to the end, so each entry is looked at once at most.
    for (std::size_t left = ages_.size(); left != 0; --left) {
        const auto oldest = ages_.begin();
        if (oldest->last_seen_s + ageing_s > now_s) {
            break;
        }
        const auto used = last_used(oldest->key);
        if (used && *used + ageing_s > now_s) {
            refresh(oldest, *used);
            continue;
        }
        expired.push_back(oldest->key);
        erase(expired.back());
    }
    // The size may have been lowered since they were learned.
    while (ages_.size() > size_max_) {
        expired.push_back(*evict_oldest(last_used));
    }
    return expired;
}

std::vector<FdbKey> Fdb::erase_if(const std::function<bool(const FdbEntry&)>& chosen) {
    std::vector<FdbKey> keys;
    for_each([&](const FdbEntry& entry) {
        if (chosen(entry)) {
            keys.push_back(entry.key);
        }
    });
    for (const FdbKey& key : keys) {
        erase(key);
    }
    return keys;
}

std::vector<FdbKey> Fdb::flush() {
    return erase_if([](const FdbEntry& entry) { return !entry.fixed; });
}

std::vector<FdbKey> Fdb::flush_port(std::uint16_t port) {
    return erase_if([port](const FdbEntry& entry) { return entry.port == port; });
}

void Fdb::for_each(const std::function<void(const FdbEntry&)>& visit) const {
    for (const FdbEntry& entry : fixed_) {
        visit(entry);
    }
    for (const FdbEntry& entry : ages_) {
        visit(entry);
    }
}

}  // namespace culvert::ctl
