// SPDX-License-Identifier: GPL-2.0-or-later
//
// The forwarding database of one bridge: which port leads to a MAC address in a VLAN (IEEE
// 802.1Q 8.8). Learned entries age and the oldest makes room when the table is full; fixed ones
// (configured, or the bridge's own address) do neither. Control thread only; workers see its effect
// through flow entries.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dataplane/limits.hpp"
#include "tunnels/address.hpp"

namespace culvert::ctl {

struct FdbKey {
    std::uint16_t vlan = 0;
    tunnels::MacAddress mac;
    bool operator==(const FdbKey&) const = default;
    /// VLAN and address in one integer.
    [[nodiscard]] std::uint64_t to_u64() const noexcept {
        return (std::uint64_t{vlan} << 48U) | mac.to_u64();
    }
};

struct FdbKeyHash {
    std::size_t operator()(const FdbKey& key) const noexcept {
        return std::hash<std::uint64_t>{}(key.to_u64() * 0x9e3779b97f4a7c15ULL);
    }
};

struct FdbEntry {
    FdbKey key;
    std::uint16_t port = dataplane::kPortNone;
    bool fixed = false;
    std::uint32_t last_seen_s = 0;
};

class Fdb {
public:
    /// Tells when flows from this address were last used, if any: workers do not report each
    /// packet.
    using LastUsed = std::function<std::optional<std::uint32_t>(const FdbKey&)>;

    explicit Fdb(std::size_t size_max) : size_max_(size_max) {}

    enum class Learned : std::uint8_t { unchanged, added, moved };
    struct LearnResult {
        Learned learned = Learned::unchanged;
        std::optional<FdbKey> evicted;  ///< The oldest entry made room.
    };
    /// A frame from `key` arrived on `port`. A fixed entry stays where it is.
    LearnResult
    learn(const FdbKey& key, std::uint16_t port, std::uint32_t now_s, const LastUsed& last_used);

    /// `key` was still sending on `port` at `seen_s`, as a flow entry that goes away tells.
    void refresh_if_present(const FdbKey& key, std::uint16_t port, std::uint32_t seen_s);

    /// Adds or moves a fixed entry. Returns whether anything changed.
    bool insert_fixed(const FdbKey& key, std::uint16_t port);
    bool erase(const FdbKey& key);

    [[nodiscard]] const FdbEntry* find(const FdbKey& key) const;

    /// Removes learned entries not seen for `ageing_s`, and the oldest beyond the size; returns
    /// their keys.
    std::vector<FdbKey>
    expire(std::uint32_t now_s, std::uint32_t ageing_s, const LastUsed& last_used);

    /// Removes learned entries (all, or those of `port`; fixed ones of that port too) and returns
    /// their keys.
    std::vector<FdbKey> flush();
    std::vector<FdbKey> flush_port(std::uint16_t port);

    void set_size_max(std::size_t size_max) { size_max_ = size_max; }
    [[nodiscard]] std::size_t size() const { return index_.size(); }
    [[nodiscard]] std::size_t learned() const { return ages_.size(); }
    void for_each(const std::function<void(const FdbEntry&)>& visit) const;

private:
    using Entries = std::list<FdbEntry>;

    void refresh(Entries::iterator entry, std::uint32_t seen_s);
    std::optional<FdbKey> evict_oldest(const LastUsed& last_used);
    std::vector<FdbKey> erase_if(const std::function<bool(const FdbEntry&)>& chosen);

    std::size_t size_max_;
    Entries ages_;  ///< Learned entries, least recently seen first.
    Entries fixed_;
    std::unordered_map<FdbKey, Entries::iterator, FdbKeyHash> index_;
};

}  // namespace culvert::ctl
