// SPDX-License-Identifier: GPL-2.0-or-later
//
// MAC learning. See fdb.hpp.

#include "ctl/fdb.hpp"

#include <algorithm>

namespace culvert::ctl {

namespace {

// How many entries turn out to be in use before one goes unasked. An entry is proven once only, so
// that many of these at once are many less later.
constexpr unsigned kProvenAtOnce = 1024;
constexpr unsigned kRefreshedAtOnce = 16;

// The share of the table in which addresses may wait to be proven while all proven ones are in use.
constexpr std::size_t kFreshShare = 8;

// A proven address that was used so lately is in use. Stamps have seconds.
constexpr std::uint32_t kInUseS = 2;

}  // namespace

Fdb::Number Fdb::number_of(const FdbKey& key) const noexcept {
    const Number* number = index_.find(key.to_u64());
    return number == nullptr ? kNone : *number;
}

Fdb::List& Fdb::list_of(const FdbEntry& entry) noexcept {
    return entry.fixed ? fixed_ : entry.proven ? proven_ : fresh_;
}

void Fdb::append(Number number) noexcept {
    Node& node = nodes_[number];
    List& list = list_of(node.entry);
    node.next = kNone;
    node.previous = list.last;
    (list.last == kNone ? list.first : nodes_[list.last].next) = number;
    list.last = number;
    ++list.count;
}

void Fdb::unlink(Number number) noexcept {
    const Node& node = nodes_[number];
    List& list = list_of(node.entry);
    (node.previous == kNone ? list.first : nodes_[node.previous].next) = node.next;
    (node.next == kNone ? list.last : nodes_[node.next].previous) = node.previous;
    --list.count;
}

void Fdb::insert(const FdbEntry& entry) {
    Number number = free_;
    if (number == kNone) {
        number = static_cast<Number>(nodes_.size());
        nodes_.emplace_back();
    } else {
        free_ = nodes_[number].next;
    }
    nodes_[number].entry = entry;
    append(number);
    index_.insert(entry.key.to_u64()) = number;
}

void Fdb::erase(Number number) {
    unlink(number);
    index_.erase(nodes_[number].entry.key.to_u64());
    nodes_[number].next = free_;
    free_ = number;
}

void Fdb::refresh(Number number, std::uint32_t seen_s) noexcept {
    unlink(number);
    FdbEntry& entry = nodes_[number].entry;
    entry.last_seen_s = std::max(entry.last_seen_s, seen_s);
    entry.proven = true;
    append(number);
}

Fdb::LearnResult
Fdb::learn(const FdbKey& key, std::uint16_t port, std::uint32_t now_s, const LastUsed& last_used) {
    LearnResult result;
    const Number number = number_of(key);
    if (number != kNone) {
        FdbEntry& entry = nodes_[number].entry;
        if (entry.fixed) {
            return result;
        }
        if (entry.port != port) {
            entry.port = port;
            result.learned = Learned::moved;
        }
        // Most flows come from addresses that were seen this second: then nothing changes.
        if (!entry.proven || entry.last_seen_s < now_s) {
            refresh(number, now_s);
        }
        return result;
    }
    if (learned() >= size_max_) {
        result.evicted = evict(now_s, last_used);
    }
    insert({.key = key, .port = port, .last_seen_s = now_s});
    result.learned = Learned::added;
    return result;
}

void Fdb::refresh_if_present(const FdbKey& key, std::uint16_t port, std::uint32_t seen_s) {
    const Number number = number_of(key);
    if (number == kNone) {
        return;
    }
    const FdbEntry& entry = nodes_[number].entry;
    if (!entry.fixed && entry.port == port && entry.last_seen_s < seen_s) {
        refresh(number, seen_s);
    }
}

/// Who makes room. Those that were not heard of again go first, once they are more than a share of
/// the table or the proven ones are in use.
Fdb::Number Fdb::victim(std::uint32_t now_s, const LastUsed& last_used) {
    unsigned proven_now = 0;
    unsigned refreshed = 0;
    while (proven_now < kProvenAtOnce && refreshed < kRefreshedAtOnce) {
        const bool from_fresh = fresh_.count > size_max_ / kFreshShare || proven_.first == kNone;
        const Number oldest = from_fresh ? fresh_.first : proven_.first;
        if (oldest == kNone) {
            break;
        }
        const FdbEntry& entry = nodes_[oldest].entry;
        const auto used = last_used(entry.key);
        if (used && (from_fresh || *used > entry.last_seen_s)) {
            ++(from_fresh ? proven_now : refreshed);
            refresh(oldest, *used);
        } else if (from_fresh || entry.last_seen_s + kInUseS <= now_s) {
            return oldest;
        } else {
            break;
        }
    }
    return fresh_.first != kNone ? fresh_.first : proven_.first;
}

FdbKey Fdb::evict(std::uint32_t now_s, const LastUsed& last_used) {
    const Number number = victim(now_s, last_used);
    const FdbKey key = nodes_[number].entry.key;
    erase(number);
    return key;
}

bool Fdb::insert_fixed(const FdbKey& key, std::uint16_t port) {
    const Number number = number_of(key);
    if (number != kNone) {
        const FdbEntry& entry = nodes_[number].entry;
        if (entry.fixed && entry.port == port) {
            return false;
        }
        erase(number);
    }
    insert({.key = key, .port = port, .fixed = true});
    return true;
}

bool Fdb::erase(const FdbKey& key) {
    const Number number = number_of(key);
    if (number == kNone) {
        return false;
    }
    erase(number);
    return true;
}

const FdbEntry* Fdb::find(const FdbKey& key) const {
    const Number number = number_of(key);
    return number == kNone ? nullptr : &nodes_[number].entry;
}

void Fdb::expire(
    List& list,
    std::uint32_t now_s,
    std::uint32_t ageing_s,
    const LastUsed& last_used,
    std::vector<FdbKey>& expired
) {
    // Refreshing moves an entry to an end, so each entry is looked at once at most.
    for (std::size_t left = list.count; left != 0 && list.first != kNone; --left) {
        const Number oldest = list.first;
        const FdbEntry& entry = nodes_[oldest].entry;
        if (entry.last_seen_s + ageing_s > now_s) {
            break;
        }
        const auto used = last_used(entry.key);
        if (used && *used + ageing_s > now_s) {
            refresh(oldest, *used);
            continue;
        }
        expired.push_back(entry.key);
        erase(oldest);
    }
}

std::vector<FdbKey>
Fdb::expire(std::uint32_t now_s, std::uint32_t ageing_s, const LastUsed& last_used) {
    std::vector<FdbKey> expired;
    expire(fresh_, now_s, ageing_s, last_used, expired);
    expire(proven_, now_s, ageing_s, last_used, expired);
    // The size may have been lowered since they were learned.
    while (learned() > size_max_) {
        expired.push_back(evict(now_s, last_used));
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
    for (const List* list : {&fixed_, &proven_, &fresh_}) {
        for (Number number = list->first; number != kNone; number = nodes_[number].next) {
            visit(nodes_[number].entry);
        }
    }
}

}  // namespace culvert::ctl
