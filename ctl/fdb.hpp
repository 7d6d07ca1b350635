// SPDX-License-Identifier: GPL-2.0-or-later
//
// The forwarding database of one bridge: which port leads to a MAC address in a VLAN (IEEE
// 802.1Q 8.8). Learned entries age, and one makes room when the table is full; fixed ones
// (configured, or the bridge's own address) do neither. An address that was heard of again after
// it was learned is proven. While others are there to make room, a proven one that is in use stays,
// so that a flood of made-up addresses displaces itself and not the hosts. Control thread only;
// workers see its effect through flow entries.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "ctl/address_map.hpp"
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

struct FdbEntry {
    FdbKey key;
    std::uint16_t port = dataplane::kPortNone;
    bool fixed = false;
    bool proven = false;
    std::uint32_t last_seen_s = 0;
};

class Fdb {
public:
    /// Tells when packets last used flows from this address after these were made, if any did:
    /// workers do not report each packet.
    using LastUsed = std::function<std::optional<std::uint32_t>(const FdbKey&)>;

    explicit Fdb(std::size_t size_max) : size_max_(size_max) {}

    enum class Learned : std::uint8_t { unchanged, added, moved };
    struct LearnResult {
        Learned learned = Learned::unchanged;
        std::optional<FdbKey> evicted;  ///< This entry made room.
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

    /// Starts loading what find() of the key reads.
    void prefetch(const FdbKey& key) const noexcept { index_.prefetch(key.to_u64()); }

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
    [[nodiscard]] std::size_t learned() const { return fresh_.count + proven_.count; }
    void for_each(const std::function<void(const FdbEntry&)>& visit) const;

private:
    using Number = std::uint32_t;
    static constexpr Number kNone = 0xffffffff;

    struct Node {
        FdbEntry entry;
        Number next = kNone;
        Number previous = kNone;
    };
    /// A list through nodes_, least recently seen first.
    struct List {
        Number first = kNone;
        Number last = kNone;
        std::size_t count = 0;
    };

    [[nodiscard]] Number number_of(const FdbKey& key) const noexcept;
    [[nodiscard]] List& list_of(const FdbEntry& entry) noexcept;
    void append(Number number) noexcept;
    void unlink(Number number) noexcept;
    void insert(const FdbEntry& entry);
    void erase(Number number);
    void refresh(Number number, std::uint32_t seen_s) noexcept;
    [[nodiscard]] Number victim(std::uint32_t now_s, const LastUsed& last_used);
    FdbKey evict(std::uint32_t now_s, const LastUsed& last_used);
    void expire(
        List& list,
        std::uint32_t now_s,
        std::uint32_t ageing_s,
        const LastUsed& last_used,
        std::vector<FdbKey>& expired
    );
    std::vector<FdbKey> erase_if(const std::function<bool(const FdbEntry&)>& chosen);

    std::size_t size_max_;
    std::vector<Node> nodes_;
    Number free_ = kNone;  ///< Nodes that are in no list, linked by `next`.
    List fresh_;           ///< Learned, and not heard of again.
    List proven_;
    List fixed_;
    AddressMap<Number> index_;
};

}  // namespace culvert::ctl
